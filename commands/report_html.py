"""A report as one page that needs nothing else: no script, no font, no request; light or dark as the reader has it."""

from __future__ import annotations

from html import escape
from typing import Final

from domain.reports.charts import svg
from domain.reports.model import Report, Section, cell_text

_STYLE: Final = """
:root { color-scheme: light dark; --ground: #ffffff; --text: #1a1d21; --faint: #5b636d; --rule: #d9dde2;
  --zero: #8a939e; --c0: #0067a5; --c1: #b34700; --c2: #00785a; --c3: #8f3f8f; --c4: #7a6200; --c5: #4d5560;
  --heat: #b34700; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171a; --text: #e6e9ed; --faint: #a0a9b4; --rule: #2c3238;
  --zero: #6d7783; --c0: #5eb3f0; --c1: #f0955a; --c2: #4fcba5; --c3: #dd9be0; --c4: #d8bd4e; --c5: #aab3bd;
  --heat: #f0955a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 24px 20px 60px; max-width: 800px; background: var(--ground); color: var(--text);
  font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 17px; margin: 34px 0 2px; }
p { margin: 2px 0 8px; color: var(--faint); }
.scroll { overflow-x: auto; } summary { cursor: pointer; color: var(--faint); margin: 4px 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { text-align: left; padding: 4px 16px 4px 0; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { color: var(--faint); font-weight: 600; } .n { text-align: right; }
td.reason { white-space: normal; min-width: 160px; }
svg { width: 100%; min-width: 620px; height: auto; margin: 8px 0 4px; display: block;
  font: 11px system-ui, sans-serif; }
.tick { fill: var(--faint); } .full { fill: var(--ground); } .end { text-anchor: end; } .mid { text-anchor: middle; }
.grid { stroke: var(--rule); } .zero { stroke: var(--zero); } .bound { stroke: var(--text); stroke-width: 1.5; }
.line { fill: none; stroke-width: 2; } .heat { fill: var(--heat); }
.c0 { fill: var(--c0); } .c1 { fill: var(--c1); } .c2 { fill: var(--c2); } .c3 { fill: var(--c3); }
.c4 { fill: var(--c4); } .c5 { fill: var(--c5); }
.l0 { stroke: var(--c0); } .l1 { stroke: var(--c1); stroke-dasharray: 7 3; }
.l2 { stroke: var(--c2); stroke-dasharray: 2 3; } .l3 { stroke: var(--c3); stroke-dasharray: 9 3 2 3; }
.l4 { stroke: var(--c4); } .l5 { stroke: var(--c5); }
@media (max-width: 600px) { td:not(.n) { white-space: normal; } th, td { padding-right: 10px; } }
@media print { body { max-width: none; } section { break-inside: avoid; } }
"""
_TEXT_LONG: Final = 40
_ROWS_OPEN: Final = 12  # rows of a table that stands open


def page_of(report: Report) -> str:
    """Return a report as a page."""
    title = escape(report.title)
    sections = "".join(map(_section, report.sections))
    return (
        '<!doctype html>\n<html lang="en" data-ready><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Zerohour: {title}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{title}</h1><p>Desks: {escape(', '.join(report.desks)) or 'none'}. A rate stands with what it was counted"
        f" from and its 95 % interval. Times are New York's.</p>{sections}</body></html>\n"
    )


def _section(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    if section.says:
        parts.append(f"<p>{escape(section.says)}</p>")
    if section.chart is not None:
        parts.append(f'<div class="scroll">{svg(section.chart, section.title)}</div>')
    if section.table.rows:
        parts.append(_table(section))
    return f"<section>{''.join(parts)}</section>"


def _table(section: Section) -> str:
    columns = section.table.columns
    head = "".join(
        f'<th scope="col"{" class=n" if column.is_number else ""}>{escape(column.title)}</th>' for column in columns
    )
    rows = []
    for row in section.table.rows:
        cells = []
        for column, value in zip(columns, row, strict=True):
            text = escape(cell_text(column.kind, value))
            kind = " class=n" if column.is_number else " class=reason" if len(text) > _TEXT_LONG else ""
            cells.append(f"<td{kind}>{text}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    table = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    if len(rows) <= _ROWS_OPEN:
        return table
    return f"<details><summary>All {len(rows)} rows</summary>{table}</details>"
