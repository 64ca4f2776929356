"""The notifier: each thing that a person should hear of is one plain line, and an alarm does not repeat itself."""

from __future__ import annotations

from datetime import date
from typing import get_args

import msgspec
import pytest
from msgspec.structs import replace

from actors.notifier import Inbox, NotifierActor, NotifierState
from config.settings import load_settings
from domain.alarm import Severity
from domain.instants import SECOND
from domain.instruments import Contract, Right, Side
from domain.orders.intent import OrderLeg, PositionRef
from domain.position.cycle import NO_FILL, EndReason, ExitReason
from domain.position.day import DayMark
from domain.risk.day import DaySummary
from domain.risk.gates.types import Finding, Outcome, Verdict
from domain.risk.kill import NEW_DESK, KillLevel
from domain.risk.reject import RejectCode
from domain.session.modes import Mode
from domain.session.phases import Phase
from domain.signals.alert import AlertKey
from domain.units import Qty
from messages import broker, entries, lifecycle, market, operator, orders, positions, risk, session
from messages.base import Message
from tests.testkit.probe import Outbox, Probe
from tests.testkit.signal_histories import CLOSE, OPEN, SESSION, SETTINGS, clock

KEY = AlertKey("gexwatch", "SPX", "GAMMA_FLIP", 1, clock(9, 46))
PUT = Contract(7, "SPX", "SPXW", SESSION, 589_000, Right.PUT)
REF = PositionRef(
    position_id="ZH-paper-MPX7D2ATKOCD", intent_id="i", key=KEY, strategy="gexwatch", direction=-1, contract=PUT
)
LEG = OrderLeg(contract=PUT, side=Side.BUY, qty=1, limit_ticks=1_880, order_ref="ZH-paper-MPX7D2ATKOCD-e")


def phase(name: Phase, on: date = SESSION) -> session.PhaseChanged:
    return session.PhaseChanged(phase=name, session=on, open_utc=OPEN, close_utc=CLOSE, at_utc=OPEN)


def mode(name: Mode, cause: str) -> session.ModeChanged:
    return session.ModeChanged(mode=name, mode_n=1, session_epoch=1, cause=cause, at_utc=OPEN)


def denied(measured: float | None, limit: float | None, unit: str = "ticks") -> entries.EntryDenied:
    finding = Finding(Outcome.REJECT, RejectCode.QUOTE_DRIFT, measured, limit, unit)
    return entries.EntryDenied(key=KEY, code=RejectCode.QUOTE_DRIFT, verdict=Verdict("quote_drift", finding))


def closed(reason: ExitReason | None, end: EndReason = EndReason.CLOSED) -> positions.PositionClosed:
    return positions.PositionClosed(
        ref=REF, reason=reason, end=end, opened_qty=1, realised_cents=-23_290, fees_cents=290, opened_utc=OPEN,
        closed_utc=CLOSE,
    )  # fmt: skip


def fill(price_ticks: int | None) -> positions.FillBooked:
    return positions.FillBooked(
        ref=REF, side=Side.BUY, qty=1, price_ticks=price_ticks, is_entry=True, held_qty=1, at_utc=OPEN
    )


def down(hub: str = "classic") -> market.HubDown:
    return market.HubDown(hub=hub, feed_epoch=1, cause="closed by the service", can_reuse=True)


def holdings(mark: DayMark, *held: tuple[int, Qty], is_known: bool = True) -> positions.HoldingsChecked:
    return positions.HoldingsChecked(
        session=SESSION, mark=mark, positions=held, is_known=is_known, read_utc=CLOSE, at_utc=CLOSE
    )  # fmt: skip


def test_what_the_broker_still_holds_is_left_to_the_positions_own_pages() -> None:
    assert notifier().feed(holdings(DayMark.VERIFY, (7, Qty(2)))).told(operator.Announce) == []


INFO, WARNING, HIGH = Severity.INFO, Severity.WARNING, Severity.HIGH
LINES = [
    (phase(Phase.CLOSED_DAY, date(2026, 11, 21)), "phase", INFO, "Market closed (weekend)"),
    (phase(Phase.CLOSED_DAY, date(2026, 11, 26)), "phase", INFO, "Market closed (Thanksgiving Day)"),
    (phase(Phase.OPEN), "phase", INFO, "Market open"),
    (phase(Phase.LATE), "phase", INFO, "No more entries today"),
    (mode(Mode.FULLY_LIVE, "stable"), "mode", INFO, "Order session: FULLY_LIVE (stable)"),
    (mode(Mode.DEGRADED, "lost"), "mode", WARNING, "Order session: DEGRADED (lost)"),
    (
        risk.KillRaised(level=KillLevel.NO_ENTRIES, kill_epoch=1, reason="VIX rose", by="risk:paper"), "kill", HIGH,
        "Kill level 1 (no entries), raised by risk:paper: VIX rose. Find the cause before you resume",
    ),
    (
        risk.KillRaised(level=KillLevel.NO_ENTRIES, kill_epoch=1, reason=NEW_DESK, by="kill"), "kill", HIGH,
        f"Kill level 1 (no entries), raised by kill: {NEW_DESK}",
    ),
    (
        risk.KillRaised(
            level=KillLevel.NO_ENTRIES, kill_epoch=1, reason="Look at the disk.", by="ann", is_restored=True
        ),
        "kill", HIGH,
        "Kill level 1 (no entries) stands since before this start, raised by ann: Look at the disk. Find the cause"
        " before you resume",
    ),
    (
        risk.KillLowered(level=KillLevel.RUNNING, kill_epoch=2, reason="calm again", by="me"), "kill", WARNING,
        "Kill level 0 (running), lowered by me: calm again",
    ),
    (
        entries.EntryHandedOver(key=KEY, intent_id="i", leg=LEG), "entry", INFO,
        "Approved: BUY 1 SPXW 5890P @ 18.80 (GAMMA_FLIP SPX 09:46:00, ZH-paper-MPX7D2ATKOCD-e)",
    ),
    (denied(95, 86), "reject", INFO, "Refused: GAMMA_FLIP SPX 09:46:00: quote_drift (0.95 USD against 0.86 USD)"),
    (denied(2, 1, ""), "reject", INFO, "Refused: GAMMA_FLIP SPX 09:46:00: quote_drift (2 against 1)"),
    (denied(None, None), "reject", INFO, "Refused: GAMMA_FLIP SPX 09:46:00: quote_drift"),
    (
        entries.EntryAmended(
            key=KEY, intent_id="i", code=RejectCode.PERMIT_KILLED, words="the kill level rose", at_utc=OPEN
        ), "reject", WARNING, "Came to nothing: GAMMA_FLIP SPX 09:46:00: permit_killed (the kill level rose)",
    ),
    (
        orders.BrokerRefused(order_ref=LEG.order_ref, is_exit=False, vendor_code=201, text="margin", at_utc=OPEN),
        "reject", WARNING, f"The broker refused entry {LEG.order_ref}: 201 margin",
    ),
    (
        orders.BrokerRefused(order_ref="x1", is_exit=True, vendor_code=201, text="margin", at_utc=OPEN),
        "reject", HIGH, "The broker refused exit x1: 201 margin",
    ),
    (fill(1_880), "entry", INFO, "Filled: BUY 1 SPXW 5890P @ 18.80 (1 held)"),
    (
        replace(fill(1_880), ref=replace(REF, side=Side.SELL), side=Side.SELL), "entry", INFO,
        "Filled: SELL 1 SPXW 5890P @ 18.80 (-1 held)",
    ),
    (fill(None), "entry", INFO, "Filled: BUY 1 SPXW 5890P at an unknown price (1 held)"),
    (
        positions.ShortFound(con_id=7, qty=-1, since_utc=OPEN), "alarm", HIGH,
        "Short at the broker: -1 of contract 7",
    ),
    (
        broker.AccountUnreadable(session_epoch=1, why="values come in EUR only; USD is wanted", read_utc=OPEN),
        "alarm", WARNING, "[account] values come in EUR only; USD is wanted",
    ),
    (closed(ExitReason.NO_PROGRESS), "exit", INFO, "Closed 1 SPXW 5890P (no progress): -232.90 USD net"),
    (
        msgspec.structs.replace(closed(ExitReason.NO_PROGRESS), took_part=True), "exit", INFO,
        "Closed 1 SPXW 5890P (take profit, then no progress): -232.90 USD net",
    ),
    (
        replace(closed(ExitReason.NO_PROGRESS), ref=replace(REF, side=Side.SELL)), "exit", INFO,
        "Closed -1 SPXW 5890P (no progress): -232.90 USD net",
    ),
    (closed(None, EndReason.EXPIRED), "exit", INFO, "Closed 1 SPXW 5890P (expired): -232.90 USD net"),
    (
        positions.PositionDisputed(position_id="p", con_id=7, ledger_qty=1, broker_qty=0, why="1 against 0"), "alarm",
        HIGH, "Check the position in contract 7 at the broker: 1 against 0",
    ),
    (
        positions.EntryAbandoned(ref=REF, order_ref=LEG.order_ref, why="out of time"), "entry", INFO,
        "Entry of SPXW 5890P ended without a fill: out of time",
    ),
    (
        positions.EntryAbandoned(ref=REF, order_ref=LEG.order_ref, why=NO_FILL), "entry", INFO,
        "Entry of SPXW 5890P ended without a fill",
    ),
    (positions.DayFlattened(at_utc=CLOSE), "day", INFO, "Flat: nothing is held or pending"),
    (holdings(DayMark.VERIFY), "day", INFO, "The broker's book is empty 10 min before the close"),
    (holdings(DayMark.CLOSE), "day", INFO, "The broker's book is empty at the close"),
    (
        holdings(DayMark.VERIFY, is_known=False), "day", HIGH,
        "Whether the broker holds nothing 10 min before the close is not known: it cannot be read",
    ),
    (
        risk.DaySettled(session=SESSION, summary=DaySummary(3, 1, 2, -12_345, 780, 20_000), at_utc=CLOSE), "day", INFO,
        "Day 2026-11-20: -123.45 USD net of 7.80 USD fees, 3 trades (1 won, 2 lost), largest fall 200.00 USD",
    ),
    (
        risk.DaySettled(session=SESSION, summary=DaySummary(0, 0, 0, 0, 0, 0), at_utc=CLOSE), "day", INFO,
        "Day 2026-11-20: no trades",
    ),
    (market.HubUp(hub="classic", feed_epoch=1, recovered=False), "feed", INFO, "Hub classic connected"),
    (market.HubUp(hub="classic", feed_epoch=1, recovered=True), "feed", INFO, "Hub classic connected (recovered)"),
    (down(), "feed", WARNING, "Hub classic disconnected: closed by the service. Retrying"),
]  # fmt: skip


def notifier() -> Probe[NotifierState]:
    probe = Probe(NotifierActor("notifier", SETTINGS), OPEN)
    assert probe.start().effects == []
    return probe


def alarm(text: str = "the disk is slow", key: str = "disk") -> operator.Alarm:
    return operator.Alarm(key=key, severity=Severity.CRITICAL, text=text, at_utc=OPEN)


@pytest.mark.parametrize(("message", "topic", "severity", "text"), LINES)
def test_each_event_is_one_line_on_the_console(message: Message, topic: str, severity: Severity, text: str) -> None:
    out = notifier().feed(message, clock(10))
    assert out.told(operator.Announce, "port:console") == [
        operator.Announce(topic=topic, severity=severity, text=text, at_utc=clock(10))
    ]
    assert len(out.effects) == 1


def test_every_message_of_the_inbox_has_a_line_here() -> None:
    tried = {type(message) for message, *_ in LINES} | {lifecycle.Started, operator.Alarm}
    assert tried == set(get_args(Inbox))


@pytest.mark.parametrize("name", list(Phase))
def test_every_phase_and_kill_level_has_words(name: Phase) -> None:
    assert notifier().feed(phase(name)).told(operator.Announce)
    for level in KillLevel:
        raised = risk.KillRaised(level=level, kill_epoch=1, reason="r", by="me")
        assert notifier().feed(raised).told(operator.Announce)


def test_a_late_fee_of_a_closed_position_is_no_second_close() -> None:
    late = msgspec.structs.replace(closed(ExitReason.NO_PROGRESS), is_correction=True)
    assert notifier().feed(late).effects == []


def test_a_short_that_is_gone_is_no_news() -> None:
    assert notifier().feed(positions.ShortFound(con_id=7, qty=0, since_utc=OPEN)).effects == []


def test_a_level_that_nobody_lowered_is_no_news() -> None:
    assert notifier().feed(risk.KillLowered(level=KillLevel.RUNNING, kill_epoch=0, reason="", by="")).effects == []


def test_an_alarm_that_repeats_is_announced_once_in_its_pause_and_then_with_its_count() -> None:
    probe = notifier()
    (first,) = probe.feed(alarm(), clock(10)).told(operator.Announce)
    assert (first.topic, first.severity, first.text) == ("alarm", Severity.CRITICAL, "[disk] the disk is slow")
    for n in range(3):
        assert probe.feed(alarm(), clock(10) + n * SECOND).effects == []
    (again,) = probe.feed(alarm("the disk is slower"), clock(10) + 30 * SECOND).told(operator.Announce)
    assert again.text == "[disk] the disk is slower (and 3 repeats before)"


def test_alarms_of_two_keys_do_not_hide_each_other() -> None:
    probe = notifier()
    assert probe.feed(alarm()).told(operator.Announce)
    assert probe.feed(alarm(key="gateway")).told(operator.Announce)


def test_the_end_of_a_fault_is_announced_within_its_pause_and_so_is_its_return() -> None:
    probe, over = notifier(), replace(alarm("the disk is well again"), severity=INFO)
    probe.feed(alarm(), clock(10))
    assert probe.feed(alarm(), clock(10) + SECOND).effects == []
    (end,) = probe.feed(over, clock(10) + 2 * SECOND).told(operator.Announce)
    assert (end.severity, end.text) == (INFO, "[disk] the disk is well again (and 1 repeat before)")
    assert end.ends is Severity.CRITICAL
    assert probe.feed(over, clock(10) + 3 * SECOND).effects == []
    (back,) = probe.feed(alarm(), clock(10) + 4 * SECOND).told(operator.Announce)
    assert back.severity is Severity.CRITICAL
    assert probe.feed(alarm(), clock(10) + 5 * SECOND).effects == []


def test_an_alarm_that_grows_more_urgent_is_no_repeat_and_one_that_eases_is() -> None:
    probe = notifier()
    for at, (severity, is_announced) in enumerate(
        [(WARNING, True), (HIGH, True), (WARNING, False), (HIGH, False), (Severity.CRITICAL, True), (HIGH, False)]
    ):
        told = probe.feed(replace(alarm(), severity=severity), clock(10) + at * SECOND).told(operator.Announce)
        assert [line.severity for line in told] == [severity] * is_announced


def up(hub: str = "classic", key_n: int = 0, *, recovered: bool = False) -> market.HubUp:
    return market.HubUp(hub=hub, feed_epoch=1, recovered=recovered, key_n=key_n)


def test_a_hub_that_a_new_address_only_moved_is_not_announced() -> None:
    probe = notifier()
    hubs = ("classic", "state_gex", "orderflow")
    for hub in hubs:
        probe.feed(up(hub))
    probe.feed(down("classic"), clock(10))
    back = clock(10) + 5 * SECOND
    lines = [line.text for hub in hubs for line in probe.feed(up(hub), back).told(operator.Announce)]
    assert lines == ["Hub classic connected, after 5 s"]
    assert probe.feed(up("classic", key_n=1)).told(operator.Announce), "the session with another key is another"
    assert [line.text for line in probe.feed(up("orderflow", recovered=True)).told(operator.Announce)] == [
        "Hub orderflow connected (recovered)"
    ]


def test_end_of_an_outage_says_how_long_it_was_and_that_a_fault_is_over() -> None:
    probe = notifier()
    assert texts(probe.feed(mode(Mode.WARMUP, "reconciled"), clock(9)))[0][1] is None
    probe.feed(mode(Mode.FULLY_LIVE, "stable"), clock(9) + 60 * SECOND)
    began = clock(10)
    assert texts(probe.feed(mode(Mode.DEGRADED, "socket closed"), began))[0][1] is None
    assert texts(probe.feed(mode(Mode.WARMUP, "reconciled"), began + 40 * SECOND)) == [
        ("Order session: WARMUP (reconciled)", None)
    ]
    probe.feed(mode(Mode.DEGRADED, "socket closed"), began + 50 * SECOND)  # the same outage, not over yet
    assert texts(probe.feed(mode(Mode.FULLY_LIVE, "stable"), began + 200 * SECOND)) == [
        ("Order session: FULLY_LIVE (stable), after 3 min 20 s", WARNING)
    ]
    probe.feed(up(), began)
    probe.feed(down(), began)
    probe.feed(down(), began + 10 * SECOND)  # a dial in vain
    assert texts(probe.feed(up(recovered=True), began + 42 * SECOND)) == [
        ("Hub classic connected (recovered), after 42 s", WARNING)
    ]
    assert texts(probe.feed(up(recovered=True), began + 50 * SECOND))[0][1] is None


def texts(sent: Outbox) -> list[tuple[str, Severity | None]]:
    return [(line.text, line.ends) for line in sent.told(operator.Announce)]


@pytest.mark.parametrize(("trading_mode", "is_noted"), [("live", True), ("paper", False)])
def test_an_entry_that_puts_off_a_loss_of_live_money_is_noted_and_not_refused(
    trading_mode: str, is_noted: bool
) -> None:
    settings = load_settings(overrides={"trading_mode": trading_mode})
    probe = Probe(NotifierActor("notifier", settings), OPEN)
    probe.start()
    contract = Contract(8, "QQQ", "QQQ", SESSION, 51_700, Right.PUT)
    lost = msgspec.structs.replace(
        closed(ExitReason.PREMIUM_STOP), ref=msgspec.structs.replace(REF, contract=contract)
    )  # fmt: skip
    probe.feed(lost, clock(10))
    leg = msgspec.structs.replace(LEG, contract=contract)
    told = probe.feed(entries.EntryHandedOver(key=KEY, intent_id="i", leg=leg), clock(11)).told(operator.Announce)
    assert [line.text.startswith("Wash sale: this purchase puts off a loss of up to 232.90 USD") for line in told] == (
        [False, True] if is_noted else [False]
    )
    other = msgspec.structs.replace(leg, contract=PUT)
    assert len(probe.feed(entries.EntryHandedOver(key=KEY, intent_id="i", leg=other)).told(operator.Announce)) == 1
