"""What a session lacks is said in words, and nothing is said of one that is on record."""

from __future__ import annotations

from simulation.backtest.holes import holes_of
from simulation.backtest.recorded import RecordedDay
from tests.testkit.recorded_days import CALL, PUT, SESSION, at, column, hours

WHOLE = range(0, 23_401, 300)


def day_of(quoted: range | tuple[int, ...], priced: range | tuple[int, ...]) -> RecordedDay:
    looks = [(second, 100, 110) for second in quoted]
    prices = {"SPX": ([at(s) for s in priced], [600_000] * len(priced))}
    contracts = (CALL, PUT) if looks else ()
    return RecordedDay(SESSION, contracts, {7: column(looks[::2]), 8: column(looks[1::2])}, prices)


def rows(*until_s: int) -> dict[str, list[int]]:
    return {f"hub{n}": [at(s) for s in range(0, until, 30)] for n, until in enumerate(until_s)}


def test_a_day_that_is_on_record_from_open_to_close_lacks_nothing() -> None:
    assert holes_of(day_of(WHOLE, WHOLE), rows(23_400, 23_400), hours()) == ()


def test_what_ends_early_begins_late_or_pauses_is_named_with_its_span() -> None:
    assert holes_of(day_of(range(0, 10_801, 300), WHOLE), rows(23_400), hours()) == ("no quotes of SPX 12:30 to 16:00",)
    assert holes_of(day_of(WHOLE, range(1_800, 23_401, 300)), rows(23_400), hours()) == (
        "no prices of SPX 09:30 to 10:00",
    )
    paused = tuple(second for second in WHOLE if not 3_600 < second < 7_200 and not 9_000 < second < 9_600)
    assert holes_of(day_of(paused, WHOLE), rows(23_400, 10_800), hours()) == (
        "no rows of hub1 12:29 to 16:00", "no quotes of SPX 10:30 to 11:30 and 12:00 to 12:10",
    )  # fmt: skip


def test_what_is_not_there_at_all_is_said_so() -> None:
    assert holes_of(day_of((), ()), {"classic": []}, hours()) == (
        "no rows of any hub", "no quotes of any contract that expires that day",
    )  # fmt: skip
    assert holes_of(day_of(WHOLE, ()), rows(0, 23_400), hours()) == ("no rows of hub0", "no prices of SPX")
    after = day_of(WHOLE, (23_460,))  # what came after the close is of no use
    assert holes_of(after, rows(23_400), hours()) == ("no prices of SPX",)
