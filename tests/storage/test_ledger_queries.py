"""The named questions to the ledgers, asked while the writer has them open."""

from __future__ import annotations

from pathlib import Path

from domain.instruments import Side
from domain.orders.tiers import Tier
from domain.risk.kill import KillLevel
from domain.units import Utc
from messages import desks, lifecycle, operator, risk
from messages.restored import KillRestored, RoutesRestored
from storage.desk_ledger import DeskLedger
from storage.queries import LedgerReader
from storage.shared_ledger import SharedLedger, start_run
from tests.testkit import ledger_asks as ask


def test_a_day_is_told_from_its_ledgers(tmp_path: Path) -> None:
    desk = DeskLedger(tmp_path, "paper", run_n=1)
    desk.open()
    for message in (
        ask.reserve(1),
        ask.execution(1, price_ticks=505),
        ask.commission(),
        ask.position(1),
        ask.exit_intent(1, tier=Tier.BID),
        ask.execution(1, exec_id="x.1", order_ref=ask.ref(1, "x1"), side=Side.SELL, price_ticks=450),
        ask.closed(1),
        ask.denial(2),
        ask.denial(3),
        ask.reserve(4),
        risk.LockDay(session=ask.DAY, reason="daily_loss", at_utc=ask.T0),
    ):
        desk.apply(message, ask.T0)
    reader = LedgerReader(tmp_path, "paper")
    (trade,) = reader.trades(ask.DAY)
    assert (trade["realised_cents"], trade["exit_reason"], trade["alert_id"]) == (
        -12_000,
        "premium_stop",
        ask.alert_id(1),
    )
    assert reader.gate_counts(ask.DAY) == {"accepted": 2, "stale_quote": 2}
    entry, exit_ = reader.executions(ask.DAY)
    assert (entry["slippage_ticks"], entry["fee_cents"], entry["is_exit"]) == (5.0, 130, 0)
    assert (exit_["slippage_ticks"], exit_["fee_cents"], exit_["is_exit"], exit_["tier"]) == (None, None, 1, 2)
    (held,) = reader.held()
    assert (held["intent_id"], held["net_qty"], held["state"]) == ("i4", 0, "PENDING_ENTRY")
    (refused,) = reader.attempts(key=ask.alert_id(2))
    assert refused["gate"] == "quote_fresh"
    assert refused["verdicts"][0]["finding"]["code"] == "stale_quote"
    assert len(reader.attempts(ask.DAY)) == 4
    order = reader.order(ask.ref(1))
    assert order is not None
    assert (order["alert_id"], order["executions"][0]["price_ticks"]) == (ask.alert_id(1), 505)
    assert reader.orders_of("i1") == [ask.ref(1), ask.ref(1, "x1")]
    day = reader.day(ask.DAY)
    assert day is not None
    assert day["locked_why"] == "daily_loss"


def raised(desk: str, epoch: int, level: KillLevel, at_utc: int) -> risk.RecordKill:
    reason = f"of {desk or 'the process'}"
    return risk.RecordKill(level=level, kill_epoch=epoch, reason=reason, by="ann", at_utc=Utc(at_utc), desk=desk)


def level_of(shared: SharedLedger, name: str) -> tuple[int, int, bool]:
    asked = lifecycle.RequestState(name=name, reply_to="supervisor", session=ask.DAY, read_n=1)
    (fact,) = shared.apply(asked, ask.T0)
    restored = getattr(fact, "restored", None)
    assert isinstance(restored, KillRestored)
    return int(restored.level), restored.kill_epoch, restored.is_new


def test_each_desk_comes_back_at_its_own_kill_level_and_the_first_one_at_the_newer_of_both(tmp_path: Path) -> None:
    both = ("paper", "real")
    start_run(tmp_path, both, ask.T0)
    shared = SharedLedger(tmp_path, both)
    shared.open()
    assert level_of(shared, "kill:real") == (0, 0, True)
    shared.apply(raised("", 4, KillLevel.NO_ENTRIES, 10), ask.T0)
    assert level_of(shared, "kill:paper") == (1, 4, False), "the process's level was that of its first desk"
    assert level_of(shared, "kill:real") == (0, 0, True), "a desk that was never started waits for a person"
    shared.apply(raised("real", 1, KillLevel.FLATTEN, 20), ask.T0)
    (told,) = shared.apply(raised("paper", 5, KillLevel.RUNNING, 30), ask.T0)
    assert told == risk.KillRecorded(kill_epoch=5, desk="paper")
    assert level_of(shared, "kill:real") == (2, 4, False)
    assert level_of(shared, "kill:paper") == (0, 5, False)
    assert level_of(shared, "kill") == (0, 5, False), "with one desk again: what was said last, above every epoch"
    shared.apply(raised("", 6, KillLevel.NO_ENTRIES, 40), ask.T0)
    assert level_of(shared, "kill:paper") == (1, 6, False)
    levels = {desk: [row["level"] for row in LedgerReader(tmp_path, desk).kills()] for desk in both}
    assert levels == {"paper": [1, 0, 1], "real": [1, 2, 1]}
    newest = {desk: (LedgerReader(tmp_path, desk).kill() or {})["level"] for desk in both}
    assert newest == {"paper": 1, "real": 2}, "a word on the process's level lowers no other desk's"
    assert level_of(shared, "kill:real") == (2, 6, False)


def test_a_desk_that_is_new_and_the_first_one_does_not_inherit_the_level_of_the_process(tmp_path: Path) -> None:
    start_run(tmp_path, ("paper",), ask.T0)
    alone = SharedLedger(tmp_path, ("paper",))
    alone.open()
    alone.apply(raised("", 4, KillLevel.RUNNING, 10), ask.T0)
    alone.close()
    start_run(tmp_path, ("real", "paper"), ask.T0)
    shared = SharedLedger(tmp_path, ("real", "paper"))
    shared.open()
    assert level_of(shared, "kill:real") == (0, 0, True)
    assert LedgerReader(tmp_path, "real").kill() is None
    shared.apply(raised("real", 5, KillLevel.NO_ENTRIES, 20), ask.T0)
    shared.apply(raised("", 6, KillLevel.RUNNING, 30), ask.T0)
    start_run(tmp_path, ("real", "paper"), ask.T0)
    assert level_of(shared, "kill:real") == (1, 6, False), "nor a later word on the other's"


def test_the_newest_word_on_where_a_strategy_trades_comes_back_and_a_repeated_command_is_none(tmp_path: Path) -> None:
    start_run(tmp_path, ("paper", "real"), ask.T0)
    shared = SharedLedger(tmp_path, ("paper", "real"))
    shared.open()
    for command_id, to in (("a", ("real",)), ("b", ("paper",)), ("a", ("real",))):
        row = desks.RecordRoute(
            command_id=command_id, strategy="gexwatch", desks=to, by="ann", reason="why", at_utc=ask.T0
        )
        assert shared.apply(row, ask.T0) == (desks.RouteRecorded(command_id=command_id),)
    asked = lifecycle.RequestState(name="router", reply_to="supervisor", session=ask.DAY, read_n=1)
    (fact,) = shared.apply(asked, ask.T0)
    assert getattr(fact, "restored", None) == RoutesRestored(routes=(("gexwatch", ("paper",)),))
    assert [row["desks"] for row in LedgerReader(tmp_path, "paper").routes()] == [["real"], ["paper"]]


def test_the_shared_ledger_is_told(tmp_path: Path) -> None:
    start_run(tmp_path, ("paper",), ask.T0)
    shared = SharedLedger(tmp_path, ("paper",))
    shared.open()
    shared.apply(ask.alert(1), ask.T0)
    shared.apply(risk.RecordKill(level=KillLevel.FLATTEN, kill_epoch=1, reason="r", by="cli", at_utc=ask.T0), ask.T0)
    shared.apply(
        operator.RecordCommand(command_id="c", name="Kill", by="cli", reason="r", outcome="done", at_utc=1), ask.T0
    )
    reader = LedgerReader(tmp_path, "paper")
    (alert,) = reader.alerts(ask.DAY)
    assert (alert["features"], alert["thresholds"]) == ([1.5, None], [["hysteresis_bps", 5.0]])
    kill = reader.kill()
    assert kill is not None
    assert (kill["level"], kill["by"]) == (2, "cli")
    assert [row["command_id"] for row in reader.commands()] == ["c"]
    assert [row["run_n"] for row in reader.runs()] == [1]


def test_no_ledger_yet_is_an_empty_answer(tmp_path: Path) -> None:
    reader = LedgerReader(tmp_path, "paper")
    assert reader.trades(ask.DAY) == reader.held() == reader.alerts(ask.DAY) == []
    assert reader.kill() is reader.day(ask.DAY) is reader.order("ZH-paper-x-e") is None
    assert list(tmp_path.iterdir()) == []
