"""What every notebook begins with: the data folder, the session to look at, and how tables and plots look.

The folder is `NOTEBOOK_DATA`, else the last demo day (`data/demo`). A supervisor may be writing to it meanwhile.
"""

from __future__ import annotations

import os
from datetime import date, datetime
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import pyarrow as pa
from matplotlib.axes import Axes

from storage.views.database import Database

ROOT = Path(__file__).resolve().parents[1]
# Of Okabe and Ito: told apart by people who see colours differently, too.
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#6B7280"
COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, GREY)

matplotlib.rcParams.update({
    "figure.figsize": (9, 4.2), "figure.dpi": 110, "axes.grid": True, "grid.alpha": 0.25, "axes.spines.top": False,
    "axes.spines.right": False, "axes.prop_cycle": plt.cycler(color=COLOURS), "font.size": 10, "axes.titlesize": 11,
    "axes.titlelocation": "left", "legend.frameon": False, "figure.constrained_layout.use": True,
})  # fmt: skip


def database() -> Database:
    """Return the views over the data folder."""
    return Database(Path(os.environ.get("NOTEBOOK_DATA") or ROOT / "data" / "demo"))


def newest(db: Database) -> date:
    """Return the newest session that has data.

    Raises:
        LookupError: nothing was stored yet.
    """
    sessions = db.sessions()
    if not sessions:
        raise LookupError("Nothing is stored yet: `make run` plays a day, NOTEBOOK_DATA names another data folder.")
    return sessions[-1]


class Shown:
    """A table as a notebook and a page show it."""

    def __init__(self, table: pa.Table, rows_max: int) -> None:
        self._table = table
        self._rows_max = rows_max

    def _repr_markdown_(self) -> str:
        names = self._table.column_names
        lines = ["| " + " | ".join(names) + " |", "| " + " | ".join("---" for _ in names) + " |"]
        rows = self._table.slice(0, self._rows_max).to_pylist()
        lines += ["| " + " | ".join(_cell(value) for value in row.values()) + " |" for row in rows]
        if self._table.num_rows > self._rows_max:
            lines += ["", f"{self._rows_max} of {self._table.num_rows} rows"]
        if not self._table.num_rows:
            lines += ["", "no rows"]
        return "\n".join(lines)


def show(table: pa.Table, rows_max: int = 12) -> Shown:
    """Return a table for the end of a cell."""
    return Shown(table, rows_max)


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:,.0f}" if abs(value) >= 1e5 else f"{value:.4g}" if abs(value) < 100 else f"{value:,.2f}"
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M:%S")
        case int():
            return f"{value:,}"
        case _:
            return str(value).replace("|", "\\|")


def clock_axis(axes: Axes) -> None:
    """Let the x axis read as New York's clock."""
    axes.xaxis.set_major_formatter(mdates.DateFormatter("%H:%M"))
    axes.set_xlabel("New York")


def say_none(axes: Axes, text: str) -> None:
    """Say in a plot that there is nothing to show yet."""
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color=GREY)
    axes.set_axis_off()
