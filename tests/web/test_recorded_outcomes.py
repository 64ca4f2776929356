"""Outcomes on the page: what the ledger has recorded stands, and no row of the warehouse is read for it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from msgspec.structs import replace

from domain.session import calendar
from domain.signals.outcome import OutcomeState, begun
from tests.commands.test_shadows import alert, ended
from tests.testkit.narrow import known
from tests.testkit.signal_histories import SESSION
from web.outcomes import Outcomes, words_of


class Reader:
    """A warehouse without rows, which notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def series(self, _session: Any, ticker: str, *_: Any) -> pa.Table:
        self.asked.append(ticker)
        return pa.table({"bucket_utc": pa.array([], pa.timestamp("ns")), "spot": pa.array([], pa.float64())})


def row(n: int) -> dict[str, Any]:
    one = alert(n)
    return {
        "alert_id": one.key.alert_id, "ticker": one.key.ticker, "direction": one.direction,
        "entry_ticks": one.entry_ticks, "target_ticks": one.target_ticks, "stop_ticks": one.stop_ticks,
        "horizon_ms": one.horizon_ms, "is_shadow": 1, "raised_utc": one.raised_utc,
    }  # fmt: skip


def test_a_recorded_outcome_is_shown_as_it_was_recorded_and_not_measured_again() -> None:
    outcomes, reader, day = Outcomes(), Reader(), known(calendar.day(SESSION, ()))
    recorded = replace(ended(alert(1), is_won=True), mfe_bps=77.0)
    outcomes.read(reader, day, [row(1)], (recorded,))
    assert outcomes.known == {alert(1).key.alert_id: recorded}
    assert reader.asked == []


def test_what_is_not_recorded_yet_is_followed_and_gives_way_to_the_record() -> None:
    outcomes, reader, day = Outcomes(), Reader(), known(calendar.day(SESSION, ()))
    outcomes.read(reader, day, [row(1)])
    assert reader.asked == ["QQQ"]
    assert outcomes.known == {alert(1).key.alert_id: begun(alert(1), day.close_utc)}
    recorded = ended(alert(1), is_won=False)
    outcomes.read(reader, day, [row(1)], (recorded,))
    assert outcomes.known[alert(1).key.alert_id].state is OutcomeState.RESOLVED


def test_a_move_of_nothing_has_one_sign() -> None:
    seen = replace(begun(alert(1), known(calendar.day(SESSION, ())).close_utc), mfe_bps=-0.0, mae_bps=-0.0)
    assert words_of(seen) == "+0 / \N{MINUS SIGN}0 bps so far"
