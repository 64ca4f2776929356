"""`main.py notebooks`: execute the notebooks on a data folder and render them, so that a reader sees them at once.

The notebooks themselves are kept without outputs. A page is Markdown: text and code as they stand, tables and text
below them, plots as PNG files beside it.
"""

from __future__ import annotations

import base64
import os
import re
from argparse import Namespace
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from commands.cli import CommandError
from commands.sql import existing

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
PAGES = ROOT / "docs" / "notebooks"
TIMEOUT_S = 300
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_NOTE = (
    "<!-- Rendered by `python main.py notebooks` from notebooks/{name}.ipynb; change the notebook, not this page. -->"
)


def act(arguments: Namespace) -> int:
    """Execute and render the notebooks, one line each."""
    known = {path.stem: path for path in sorted(NOTEBOOKS.glob("*.ipynb"))}
    unknown = [name for name in arguments.names if name not in known]
    if unknown:
        raise CommandError(f"There is no notebook {unknown[0]!r}; there are: {', '.join(known)}.")
    data, out = existing(arguments), arguments.out or PAGES
    out.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or known:
        page = render(name, executed(known[name], data), out)
        print(f"{page} ({len(list(out.glob(f'{name}-*.png')))} plots)")
    return 0


def executed(path: Path, data: Path) -> Any:
    """Return a notebook with its outputs on a data folder.

    Raises:
        CommandError: a cell failed.
    """
    notebook: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    before = os.environ.get("NOTEBOOK_DATA")
    os.environ["NOTEBOOK_DATA"] = str(data.resolve())
    try:
        # The kernel listens on loopback, with a key; that it says so each time is left out.
        client = NotebookClient(
            notebook, timeout=TIMEOUT_S, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}},
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
        )  # fmt: skip
        return client.execute()
    except CellExecutionError as error:
        last = [line for line in _COLOUR.sub("", str(error)).splitlines() if line.strip()][-1]
        raise CommandError(f"{path.name} fails on {data}: {last}", 1) from None
    finally:
        if before is None:
            del os.environ["NOTEBOOK_DATA"]
        else:
            os.environ["NOTEBOOK_DATA"] = before


def render(name: str, notebook: Any, out: Path) -> Path:
    """Write a notebook's page and its plots; plots of an earlier rendering go."""
    for old in out.glob(f"{name}-*.png"):
        old.unlink()
    blocks: list[str] = []
    plots_n = 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            blocks.append(cell.source.replace("](../docs/", "](../"))
            continue
        blocks.append(f"```python\n{cell.source}\n```")
        has_plot = any("image/png" in output.get("data", {}) for output in cell.outputs)
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                plots_n += 1
                file = out / f"{name}-{plots_n}.png"
                file.write_bytes(base64.b64decode(data["image/png"]))
                blocks.append(f"![{name}, plot {plots_n}]({file.name})")
            elif "text/markdown" in data:
                blocks.append(data["text/markdown"])
            elif "text/plain" in data and not has_plot:  # beside a plot it is the name of its last part
                blocks.append(_fenced(data["text/plain"]))
            elif output.output_type == "stream":
                blocks.append(_fenced(output.text))
    page = out / f"{name}.md"
    title, *rest = blocks
    heading, _, intro = title.partition("\n")
    text = "\n\n".join([heading, _NOTE.format(name=name), intro.strip(), *rest])
    page.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    return page


def _fenced(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"
