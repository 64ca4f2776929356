"""Two sessions on one stepped runtime: what was carried to its expiry on the first is never ordered on the second."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, time
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from commands.folder import DataFolder
from commands.report import facts as report_facts
from config.settings import load_settings
from domain.instants import SECOND, at_exchange, session_of
from domain.instruments import Side
from domain.risk.kill import KillLevel
from domain.units import Qty, Utc
from messages import operator
from simulation.broker.events import ExchangeEvent
from simulation.broker.exchange import Exchange
from simulation.broker.orders import Order
from simulation.day import SteppedDay, start_of, stepped_day
from storage.queries import LedgerReader
from supervision.trace import FileTrace, Header
from tests.testkit.anchored import anchored

pytestmark = pytest.mark.slow
FIRST, SECOND_DAY = date(2026, 11, 17), date(2026, 11, 18)
SETTINGS = {
    "tickers": ["SPX", "QQQ"],
    "demo": {"session": FIRST, "start_clock": "13:30:00", "gateway_drop_s": 0, "hub_drop_s": 0},
}
UNTIL = time(10, 30)  # of the second session


class Sessions:
    """Both sessions as they were played: the first with a broker that takes no exit, the second normal.

    `morning` is the ledger's holdings, `level` the kill level, and `actors` the positions' actors, a minute after the
    second open: before a person lowers the level.
    """

    def __init__(self, folder: Path) -> None:
        self.settings = load_settings(profile="demo", overrides=anchored(SETTINGS))
        self.folder = DataFolder(folder)
        clock = start_of(self.settings)
        header = Header(
            run_n=1, session=FIRST.isoformat(), started_utc=clock.now_utc(), rate=1.0, code_version="test",
            settings_digest=self.settings.digest(), settings=msgspec.Raw(self.settings.to_json()),
        )  # fmt: skip
        path_of = partial(self.folder.trace, run_n=1)
        trace = FileTrace(path_of(FIRST), header, clock, path_of)
        self.day: SteppedDay = stepped_day(self.settings, folder, trace=trace, clock=clock, rolls=True, shows=False)
        self.exchange = self.day.exchange
        self.close_utc = self.exchange.market.close_utc
        self.day.run(Utc(self.close_utc + 3600 * SECOND))
        self.held = self.exchange.held_at_close or ()
        self.first_nav = self.exchange.account_values()["NetLiquidation"]
        self.day.run(at_exchange(SECOND_DAY, time(9, 31)))
        reader = LedgerReader(self.folder.ledgers, self.settings.desk)
        self.morning, self.level = list(reader.held()), (reader.kill() or {})["level"]
        self.actors = [name for name in self.day.runtime.cells if name.startswith("position:")]
        self._resume()
        self.day.run(at_exchange(SECOND_DAY, UNTIL))
        trace.close()

    def _resume(self) -> None:
        now = self.day.runtime.clock.now_utc()
        self.day.runtime.sinks["edge:test"] = lambda _: None
        resume = operator.Resume(
            command_id="resume-1", reply_to="edge:test", by="test", reason="the next morning",
            level=KillLevel.RUNNING, expires_utc=Utc(now + 60 * SECOND),
        )  # fmt: skip
        self.day.runtime.post("operator", resume, "edge:test")

    def records(self, session: date) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.folder.trace(session, 1).read_bytes().splitlines()]

    def told(self, session: date, tag: str) -> list[dict[str, Any]]:
        return [record["message"] for record in self.records(session) if _is(record, tag)]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sessions]:
    take = Exchange.place

    def refuse_exits(
        exchange: Exchange, order: Order, now_utc: Utc, *, pieces: tuple[Qty, ...] = (), reject: str = ""
    ) -> list[ExchangeEvent]:
        is_broken = order.side is Side.SELL and session_of(now_utc) == FIRST
        return take(exchange, order, now_utc, pieces=pieces, reject="out of order" if is_broken else reject)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Exchange, "place", refuse_exits)
        sessions = Sessions(tmp_path_factory.mktemp("sessions"))
    yield sessions
    sessions.day.runtime.close()


def test_what_no_exit_could_close_expires_on_its_own_session_at_the_brokers_value(played: Sessions) -> None:
    (carried,) = played.held
    (trade,) = LedgerReader(played.folder.ledgers, "paper").trades(FIRST)
    assert (trade["con_id"], trade["opened_qty"]) == (carried.con_id, carried.qty)
    assert trade["end"] in ("expired", "settled")
    assert trade["closed_utc"] == played.close_utc
    assert trade["realised_cents"] == played.first_nav - played.settings.demo.nav_usd * 100
    assert played.morning == []
    found = report_facts(played.settings, played.folder, FIRST)
    assert found["is_flat_by_broker"] is False


def test_a_raised_kill_level_lasts_through_the_night_and_the_days_lock_does_not(played: Sessions) -> None:
    assert played.level >= KillLevel.NO_ENTRIES, "what the first session could not close"
    reader = LedgerReader(played.folder.ledgers, "paper")
    first, second = reader.day(FIRST), reader.day(SECOND_DAY)
    assert first is not None
    assert second is not None
    assert first["locked_why"] is not None
    assert second["locked_why"] is None
    assert second["trades"] is None, "its own settlement has not come yet"


def test_no_position_of_the_session_before_is_left_idle(played: Sessions) -> None:
    assert played.actors == []


def test_the_next_session_never_orders_the_expired_contract(played: Sessions) -> None:
    (carried,) = played.held
    placed = played.told(SECOND_DAY, "broker.PlaceOrder")
    assert placed, "the second session trades"
    assert {order["order"]["contract"]["con_id"] for order in placed}.isdisjoint({carried.con_id})
    ordered = {state.order.con_id for state in (*played.exchange.open_orders(), *played.exchange.completed())}
    assert carried.con_id not in ordered


def test_the_next_session_begins_by_itself_and_trades_to_the_cent(played: Sessions) -> None:
    reader = LedgerReader(played.folder.ledgers, "paper")
    day = reader.day(SECOND_DAY)
    assert day is not None
    assert day["start_nav_cents"] == played.first_nav
    assert day["start_nav_utc"] < at_exchange(SECOND_DAY, time(9, 30))
    trades = reader.trades(SECOND_DAY)
    assert trades, "an entry of the second session was filled and closed"
    assert {trade["expiry"] for trade in trades} == {SECOND_DAY.isoformat()}
    theirs = {execution.exec_id.rpartition(".")[0] for execution, _ in played.exchange.executions()}
    assert {row["exec_id"] for row in reader.executions(SECOND_DAY)} == theirs
    if not reader.held():
        made = played.exchange.account_values()["NetLiquidation"] - played.first_nav
        assert sum(trade["realised_cents"] for trade in trades) == made


def test_the_broker_is_reconciled_at_nine_on_a_link_that_was_never_interrupted(played: Sessions) -> None:
    nine = at_exchange(SECOND_DAY, time(9))
    assert played.told(SECOND_DAY, "session.Reconciled")
    first = min(r["at_utc"] for r in played.records(SECOND_DAY) if _is(r, "broker.ReadBack"))
    assert nine <= first < nine + 60 * SECOND
    assert not [r for r in played.records(SECOND_DAY) if _is(r, "broker.Dial")]


def test_no_actor_crashed_and_no_message_was_lost_in_both_sessions(played: Sessions) -> None:
    assert [cell.name for cell in played.day.runtime.cells.values() if cell.crashes] == []
    assert played.day.runtime.dead_letters == 0


def _is(record: dict[str, Any], tag: str) -> bool:
    return bool(record["kind"] == "envelope" and record["message"]["type"] == tag)
