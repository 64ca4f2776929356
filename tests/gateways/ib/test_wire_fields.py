"""One field of a message: a value or unknown, never an exception."""

from __future__ import annotations

from datetime import date, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.instants import MINUTE, SECOND, at_exchange
from gateways.ib import wire

TODAY = date(2026, 11, 20)
NOON = at_exchange(TODAY, time(12))
OPEN, CLOSE = at_exchange(TODAY, time(9, 30)), at_exchange(TODAY, time(16))


@pytest.mark.parametrize(
    "text",
    [
        "1.7976931348623157E308", "1.7014118346046923E38", "2147483647", "9223372036854775807", "NaN", "nan", "inf",
        "-inf", "Infinite", "", " ", "abc", "-1.7976931348623157E308", "1e15", "2147483647.0",
    ],
)  # fmt: skip
def test_every_word_of_ib_for_not_set_is_unknown(text: str) -> None:
    assert wire.number_of(text) is None
    assert wire.whole_of(text) is None


@pytest.mark.parametrize(("text", "value"), [("5.1", 5.1), ("-1", -1.0), ("0", 0.0), ("1E2", 100.0), ("7.0", 7.0)])
def test_numbers_are_themselves(text: str, value: float) -> None:
    assert wire.number_of(text) == value


def test_a_broken_number_is_no_whole_one() -> None:
    assert (wire.whole_of("7.0"), wire.whole_of("7.5"), wire.whole_of("-1")) == (7, None, -1)


@given(st.text())
def test_no_text_at_all_makes_the_parsers_raise(text: str) -> None:
    wire.number_of(text)
    wire.whole_of(text)
    wire.flag_of(text)
    wire.instant_of(text)
    wire.zone_of(text)
    wire.hours_of(text, "US/Eastern", TODAY)
    wire.hours_of("20261120:0930-20261120:1600", text, TODAY)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_number_on_the_wire_comes_back_or_is_unknown(value: float) -> None:
    read = wire.number_of(repr(value))
    assert read == value if abs(value) < wire.BEYOND and value != wire.UNSET_INT else read is None


@pytest.mark.parametrize(
    ("text", "clock"),
    [
        ("20261120 11:43:32 US/Eastern", time(11, 43, 32)),
        ("20261120  11:43:32  US/Eastern", time(11, 43, 32)),
        ("20261120 10:43:32 US/Central", time(11, 43, 32)),
        ("20261120 11:43:32 EST5EDT", time(11, 43, 32)),
        ("20261120 11:43:32 EST", time(11, 43, 32)),
        ("20261120 17:43:32 Europe/Amsterdam", time(11, 43, 32)),
        ("20261120-16:43:32", time(11, 43, 32)),
        ("20261120 16:43:32 UTC", time(11, 43, 32)),
        ("20261120 16:43:32.123 UTC", time(11, 43, 32)),
    ],
)
def test_instants_are_read_in_every_form_whose_zone_is_known(text: str, clock: time) -> None:
    assert wire.instant_of(text) == at_exchange(TODAY, clock)


@pytest.mark.parametrize(
    "text",
    [
        "20261120 11:00:02 JST", "20261120 11:00:02 IST", "20261120 11:00:02 MET", "20261120 11:00:02",
        "20261120 11:00:02 Mars/Olympus", "20261120 25:00:02 US/Eastern", "20261320 11:00:02 US/Eastern", "", "soon",
        "1795194000", "20261120 11:00:02 ../../etc/passwd", "20261120-11:00:02-",
    ],
)  # fmt: skip
def test_an_instant_of_a_zone_that_nobody_can_tell_is_unknown(text: str) -> None:
    assert wire.instant_of(text) is None


def test_what_is_told_as_it_happens_is_neither_of_the_future_nor_of_long_ago() -> None:
    def at(shift_s: int, *, is_live: bool) -> int | None:
        text = f"20261120-{(timedelta(hours=17) + timedelta(seconds=shift_s))!s:0>8}"
        return wire.plausible_instant_of(text, NOON, is_live=is_live)

    assert at(0, is_live=True) == NOON
    assert at(60, is_live=True) == NOON + MINUTE
    assert at(61, is_live=True) is None
    assert at(61, is_live=False) is None
    assert at(-600, is_live=True) == NOON - 10 * MINUTE
    assert at(-601, is_live=True) is None
    assert at(-601, is_live=False) == NOON - 601 * SECOND


@pytest.mark.parametrize(
    ("text", "zone", "hours"),
    [
        ("20261119:0830-20261119:1500;20261120:0830-20261120:1500", "US/Central", ((OPEN, CLOSE),)),
        ("20261120:0830-1500", "US/Central", ((OPEN, CLOSE),)),
        ("20261120:0830-1500", "CST (Central Standard Time)", ((OPEN, CLOSE),)),
        (
            "20261120:0100-20261120:0915;20261120:0930-20261120:1600",
            "US/Eastern",
            ((at_exchange(TODAY, time(1)), at_exchange(TODAY, time(9, 15))), (OPEN, CLOSE)),
        ),
        (
            "20261120:0100-0915,0930-1600",
            "US/Eastern",
            ((at_exchange(TODAY, time(1)), at_exchange(TODAY, time(9, 15))), (OPEN, CLOSE)),
        ),
        (
            "20261119:2015-20261120:0915;20261120:0930-20261120:1600;20261120:2015-20261123:0915",
            "US/Eastern",
            ((at_exchange(date(2026, 11, 19), time(20, 15)), at_exchange(TODAY, time(9, 15))), (OPEN, CLOSE)),
        ),
        ("20261120:CLOSED;20261123:0830-20261123:1500", "US/Central", ()),
        ("20261123:0830-20261123:1500", "US/Central", None),
        ("", "US/Central", None),
        ("20261120:0830-20261120:1500", "", None),
        ("20261120:0830-20261120:1500", "JST", None),
        ("20261120:0930-20261120:1600;20261120:odd", "US/Eastern", None),
        ("20261120:1600-20261120:0930", "US/Eastern", None),
    ],
)
def test_hours_are_a_list_of_the_days_intervals_and_unknown_where_the_broker_does_not_say(
    text: str, zone: str, hours: tuple[tuple[int, int], ...] | None
) -> None:
    assert wire.hours_of(text, zone, TODAY) == hours
