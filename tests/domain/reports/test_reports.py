"""A report's values: periods, rates that never stand alone, tables that fit, charts that hold what they show."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.reports.charts import POINTS_MAX, nice_ticks, svg
from domain.reports.model import (
    Chart,
    Column,
    Form,
    Kind,
    Rate,
    Section,
    Series,
    Table,
    cell_text,
    clock_text,
    lines_of,
)
from domain.reports.period import Span, period_of


@pytest.mark.parametrize(
    ("span", "first", "last", "title"),
    [
        (Span.DAY, date(2026, 11, 20), date(2026, 11, 20), "Day 2026-11-20"),
        (Span.WEEK, date(2026, 11, 16), date(2026, 11, 22), "Week 2026-11-16 to 2026-11-22"),
        (Span.MONTH, date(2026, 11, 1), date(2026, 11, 30), "Month 2026-11"),
    ],
)
def test_a_period_holds_its_day(span: Span, first: date, last: date, title: str) -> None:
    period = period_of(span, date(2026, 11, 20))
    assert (period.first, period.last, period.title) == (first, last, title)


@given(st.sampled_from(Span), st.dates(date(2000, 1, 1), date(2100, 1, 1)))
def test_periods_follow_each_other_without_a_gap(span: Span, day: date) -> None:
    period = period_of(span, day)
    assert period.first <= day <= period.last
    assert period_of(span, period.last + timedelta(days=1)).first == period.last + timedelta(days=1)
    assert period_of(span, period.first) == period_of(span, period.last) == period


def test_a_rate_stands_with_its_n_and_its_interval() -> None:
    assert str(Rate(12, 20)) == "60 % of 20 (39-78)"
    assert str(Rate(0, 0)) == "none of 0"
    assert (Rate(0, 0).share, Rate(0, 0).bounds) == (None, None)


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (Kind.MONEY, -1234.5, "-1,234.50"), (Kind.USD, 0.125, "0.125"), (Kind.MS, 1234.6, "1,235"),
        (Kind.PERCENT, 1.25, "+1.25 %"), (Kind.COUNT, 12345, "12,345"), (Kind.TEXT, "x", "x"), (Kind.MONEY, None, ""),
        (Kind.RATE, Rate(1, 2), "50 % of 2 (9-91)"),
    ],
)  # fmt: skip
def test_a_cell_is_written_by_its_column(kind: Kind, value: str | float | Rate | None, text: str) -> None:
    assert cell_text(kind, value) == text


def test_labels_are_clocks_of_a_day_and_dates_of_more() -> None:
    assert clock_text(time(9, 30)) == "09:30"
    assert clock_text(datetime.fromisoformat("2026-11-20T09:46:01")) == "09:46:01"
    assert clock_text(datetime.fromisoformat("2026-11-20T00:00:00")) == "11-20"


def test_a_wide_table_cuts_texts_and_never_numbers() -> None:
    table = Table(
        (Column("desk"), Column("reason"), Column("net", Kind.MONEY)),
        (("paper", "a reason that is far too long for the window that it is shown in, whatever it says", -1234.5),),
    )
    lines = lines_of(Section("Title", "word " * 30, table), 60)
    assert max(map(len, lines)) <= 60
    assert lines[-1].endswith("-1,234.50")
    assert "…" in lines[-1]


# -- charts -------------------------------------------------------------------------------------


def texts(drawn: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(drawn).iter() if element.tag.endswith("text")]


@given(st.floats(-1e7, 1e7), st.floats(-1e7, 1e7))
def test_ticks_are_round_and_hold_the_range(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    ticks = nice_ticks(low, high)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert 2 <= len(ticks) <= 9


VALUES = st.none() | st.floats(-1e6, 1e6)


@given(
    st.sampled_from(Form), st.lists(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=9),
                                    min_size=1, max_size=30), st.data()
)  # fmt: skip
def test_every_chart_is_well_formed_and_stays_within_its_frame(
    form: Form, labels: list[str], data: st.DataObject
) -> None:
    values = st.lists(VALUES, min_size=len(labels), max_size=len(labels))
    if form is Form.HEAT:
        values = values.map(lambda found: [None if value is None else abs(value) for value in found])
    series = tuple(Series(f"<{n}>&", tuple(data.draw(values))) for n in range(data.draw(st.integers(1, 4))))
    drawn = svg(Chart(form, tuple(labels), series, "USD"), "T & <t>")
    root = ET.fromstring(drawn)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for rect in (element for element in root.iter() if element.tag.endswith("rect")):
        x, y, w, h = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
        assert -1 <= x <= x + w <= width + 1
        assert -1 <= y <= y + h <= height + 1
    assert "nan" not in drawn.replace("nance", "")


def test_a_line_of_many_points_is_thinned_out_and_keeps_its_end() -> None:
    count = 50_000
    values = tuple(float(n) for n in range(count))
    drawn = svg(Chart(Form.LINES, tuple(str(n) for n in range(count)), (Series("net", values),), "USD"), "Net")
    path = re.search(r'class="line l0" d="([^"]*)"', drawn)
    assert path is not None
    assert path[1].count("V") <= POINTS_MAX
    assert "ends at 49,999 USD" in drawn
    assert len(drawn) < 60_000


def test_a_step_stands_until_the_next_one() -> None:
    drawn = svg(Chart(Form.LINES, ("a", "b"), (Series("net", (0.0, 10.0)),), "USD"), "Net")
    path = re.search(r'class="line l0" d="M64.0,([\d.]+)H386.0V([\d.]+)H708"', drawn)
    assert path is not None
    assert float(path[1]) > float(path[2])


def test_bars_say_their_values_and_bounds() -> None:
    series = Series("paper", (60.0, None), ((39.0, 78.0), None))
    drawn = svg(Chart(Form.BARS, ("09:30", "10:00"), (series,), "%"), "Fill rate")
    assert drawn.count("<rect") == 1
    assert drawn.count('class="bound"') == 1
    assert "paper 09:30: 60 %" in drawn
    assert "Fill rate: paper at most 60 %" in drawn


def test_a_heat_map_shows_each_count() -> None:
    drawn = svg(Chart(Form.HEAT, ("09:30", "10:00"), (Series("cooldown", (3.0, 0.0)),)), "Refused")
    assert texts(drawn) == ["cooldown", "3", "09:30", "10:00"]
