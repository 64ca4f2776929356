"""Charts of a report as SVG: no script, no font, no address; colours are classes that the page gives a meaning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final, assert_never

from domain.reports.model import Chart, Form, Series

WIDTH: Final = 720
HEIGHT: Final = 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 16, 42
_CHARACTER: Final = 6.4  # how wide one is
POINTS_MAX: Final = 600  # of a line; more are thinned out, the last one stays
_LABELS_MAX: Final = 9


def svg(chart: Chart, title: str) -> str:
    """Return a chart with a summary for those who do not see it."""
    match chart.form:
        case Form.LINES:
            body, height = _lines(chart), HEIGHT
        case Form.BARS:
            body, height = _bars(chart), HEIGHT
        case Form.HEAT:
            body, height = _heat(chart), _TOP + _BOTTOM + 24 * len(chart.series)
        case _:
            assert_never(chart.form)
    about = escape(summary(chart, title), quote=True)
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{about}"><title>{about}</title>{body}</svg>'


def summary(chart: Chart, title: str) -> str:
    """Return a chart in one sentence: per series its last value (of a line) or its largest."""
    said = []
    for series in chart.series:
        known = [value for value in series.values if value is not None]
        if known:
            value = known[-1] if chart.form is Form.LINES else max(known)
            said.append(
                f"{series.name} {'ends at' if chart.form is Form.LINES else 'at most'} {_tick(value, chart.unit)}"
            )
    return f"{title}: {', '.join(said) or 'nothing'}"


# -- axes ---------------------------------------------------------------------------------------


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round values that hold a range, about so many."""
    if high - low < max(abs(low), 1.0) * 1e-6:  # nothing that a picture could show
        high = low + max(abs(low), 1.0)
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if raw <= power * factor * (1 + 1e-9))
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(n * step, 10) for n in range(first, last + 1)]


def _tick(value: float, unit: str) -> str:
    text = f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:,.2f}"
    return f"{text} {unit}".rstrip()


def _frame(ticks: Sequence[float], unit: str) -> str:
    """Return the horizontal lines with their values."""
    parts = []
    for value in ticks:
        y = _y(value, ticks)
        zero = " zero" if value == 0 else ""
        parts.append(f'<line class="grid{zero}" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        text = _tick(value, unit if unit == "%" else "")
        parts.append(f'<text class="tick end" x="{_LEFT - 6}" y="{y + 4:.1f}">{escape(text)}</text>')
    return "".join(parts)


def _y(value: float, ticks: Sequence[float]) -> float:
    share = (value - ticks[0]) / (ticks[-1] - ticks[0])
    return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)


def _label_row(labels: Sequence[str], xs: Sequence[float], y: float) -> str:
    """Return labels below their places; too many are thinned out."""
    every = max(1, math.ceil(len(labels) / _LABELS_MAX))
    return "".join(_label(labels[n], xs[n], y) for n in range(0, len(labels), every))


def _names(labels: Sequence[str], xs: Sequence[float], slot: float, y: float) -> str:
    """Return names below their places, all of them: every other one lower where they are too wide."""
    if len(labels) > 2 * _LABELS_MAX:
        return _label_row(labels, xs, y)
    is_wide = max(map(len, labels)) * _CHARACTER > slot
    return "".join(_label(label, xs[n], y + (14 if is_wide and n % 2 else 0)) for n, label in enumerate(labels))


def _label(text: str, x: float, y: float) -> str:
    return f'<text class="tick mid" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _legend(series: Sequence[Series]) -> str:
    if len(series) < 2:
        return ""
    x, parts = float(_LEFT), []
    for n, one in enumerate(series):
        parts.append(f'<rect class="c{n % 6}" x="{x:.0f}" y="2" width="10" height="8"/>')
        parts.append(f'<text class="tick" x="{x + 14:.0f}" y="10">{escape(one.name)}</text>')
        x += 30 + 7 * len(one.name)
    return "".join(parts)


# -- forms --------------------------------------------------------------------------------------


def _lines(chart: Chart) -> str:
    every = max(1, math.ceil(len(chart.labels) / POINTS_MAX))
    last = len(chart.labels) - 1
    kept = [n for n in range(len(chart.labels)) if n % every == 0 or n == last]
    values = [v for one in chart.series for v in one.values if v is not None]
    ticks = nice_ticks(min([0.0, *values]), max([0.0, *values]))
    wide = WIDTH - _LEFT - _RIGHT
    xs = {n: _LEFT + wide * at / len(kept) for at, n in enumerate(kept)}  # a total stands until the next one
    parts = [_frame(ticks, chart.unit), _legend(chart.series)]
    for number, one in enumerate(chart.series):
        path, before = [], None
        for n in kept:
            value = one.values[n]
            if value is None:
                continue
            y = _y(value, ticks)
            path.append(f"M{xs[n]:.1f},{y:.1f}" if before is None else f"H{xs[n]:.1f}V{y:.1f}")
            before = value
        if path:
            parts.append(f'<path class="line l{number % 6}" d="{"".join(path)}H{WIDTH - _RIGHT}"/>')
    parts.append(_label_row([chart.labels[n] for n in kept], [xs[n] for n in kept], HEIGHT - _BOTTOM + 18))
    return "".join(parts)


def _bars(chart: Chart) -> str:
    bounds = [b for one in chart.series for pair in one.bounds if pair is not None for b in pair]
    values = [v for one in chart.series for v in one.values if v is not None]
    ticks = nice_ticks(min([0.0, *values]), max([0.0, *values, *bounds]))
    slot = (WIDTH - _LEFT - _RIGHT) / max(1, len(chart.labels))
    bar = min(40.0, slot * 0.8 / max(1, len(chart.series)))
    parts = [_frame(ticks, chart.unit), _legend(chart.series)]
    zero = _y(0.0, ticks)
    for number, one in enumerate(chart.series):
        for n, value in enumerate(one.values):
            if value is None:
                continue
            x = _LEFT + slot * (n + 0.5) + bar * (number - len(chart.series) / 2)
            y = _y(value, ticks)
            about = f"{one.name} {chart.labels[n]}: {_tick(value, chart.unit)}"
            parts.append(
                f'<rect class="c{number % 6}" x="{x:.1f}" y="{min(y, zero):.1f}" width="{bar * 0.9:.1f}"'
                f' height="{abs(zero - y):.1f}"><title>{escape(about)}</title></rect>'
            )
            pair = one.bounds[n] if n < len(one.bounds) else None
            if pair is not None:
                middle, low, high = x + bar * 0.45, _y(pair[0], ticks), _y(pair[1], ticks)
                parts.append(
                    f'<line class="bound" x1="{middle:.1f}" x2="{middle:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
                )
    xs = [_LEFT + slot * (n + 0.5) for n in range(len(chart.labels))]
    parts.append(_names(chart.labels, xs, slot, HEIGHT - _BOTTOM + 18))
    return "".join(parts)


def _heat(chart: Chart) -> str:
    """Return rows of cells: the more, the fuller; each with its number."""
    left = 170
    most = max((v for one in chart.series for v in one.values if v is not None), default=0) or 1
    wide = (WIDTH - left - _RIGHT) / max(1, len(chart.labels))
    parts = []
    for row, one in enumerate(chart.series):
        y = _TOP + 24 * row
        parts.append(f'<text class="tick end" x="{left - 8}" y="{y + 15}">{escape(one.name)}</text>')
        for n, value in enumerate(one.values):
            if not value:
                continue
            x = left + wide * n
            about = f"{one.name} {chart.labels[n]}: {value:g}"
            parts.append(
                f'<rect class="heat" style="opacity:{0.2 + 0.8 * value / most:.2f}" x="{x:.1f}" y="{y}"'
                f' width="{wide - 2:.1f}" height="22"><title>{escape(about)}</title></rect>'
                f'<text class="{"full" if value > most * 0.6 else "tick"} mid" x="{x + wide / 2 - 1:.1f}"'
                f' y="{y + 15}">{value:g}</text>'
            )
    xs = [left + wide * (n + 0.5) for n in range(len(chart.labels))]
    parts.append(_label_row(chart.labels, xs, _TOP + 24 * len(chart.series) + 16))
    return "".join(parts)
