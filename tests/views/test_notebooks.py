"""Every notebook runs on a small day, has plots, is kept without outputs, and its page is in the docs."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from commands.notebooks import NOTEBOOKS, PAGES, executed, render

pytestmark = pytest.mark.slow

NAMES = (
    "alert_performance", "fill_quality", "gamma_heatmap", "gate_tuning", "latency", "trace_explorer", "warehouse_tour",
)  # fmt: skip


def test_the_seven_notebooks_are_there() -> None:
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_on_a_small_day_and_shows_plots_and_tables(folder: Path, tmp_path: Path, name: str) -> None:
    page = render(name, executed(NOTEBOOKS / f"{name}.ipynb", folder), tmp_path)
    plots = sorted(tmp_path.glob(f"{name}-*.png"))
    assert len(plots) >= 2
    assert all(plot.stat().st_size > 5_000 for plot in plots)
    text = page.read_text()
    assert all(f"({plot.name})" in text for plot in plots)
    assert "Traceback" not in text


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_kept_without_outputs_and_its_page_shows_its_code(name: str) -> None:
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)
    page = (PAGES / f"{name}.md").read_text()
    assert [cell.source for cell in cells if cell.source not in page] == [], "stale: run `main.py notebooks`"
    for plot in PAGES.glob(f"{name}-*.png"):
        assert f"({plot.name})" in page


def test_a_notebook_says_what_to_do_where_nothing_is_stored(tmp_path: Path) -> None:
    from commands.cli import CommandError  # noqa: PLC0415

    with pytest.raises(CommandError, match="Nothing is stored yet"):
        executed(NOTEBOOKS / "latency.ipynb", tmp_path)
