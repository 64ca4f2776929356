"""An entry in slices at the gates: where it begins, and what each further slice has to pass again."""

from __future__ import annotations

from dataclasses import replace as changed
from typing import Any

import pytest

from domain.instants import MS
from domain.instruments import DataType, Quote
from domain.orders.intent import DecisionPrices, PositionRef
from domain.orders.references import slice_ref
from domain.orders.twap import TwapPlan
from domain.position.cycle import PositionState
from domain.risk import desk_view
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.session.modes import Mode
from domain.session.phases import Phase
from domain.units import Cents, Qty, Ticks
from messages import broker, entries, market, positions, risk, session, signals
from messages.base import Message
from tests.testkit.desk_talk import DeskTalk
from tests.testkit.desk_world import CALL, CLOSE, DAY, NAV, NOW, OPEN, SETTINGS, quote, ref, signal

IN_SLICES = SETTINGS.model_copy(
    update={"entry": changed(SETTINGS.entry, twap_min_qty=Qty(2), twap_slices=2, twap_duration_ms=60_000)}
)
PLAN = TwapPlan(total_qty=Qty(2), slices=2, gap_ms=30_000)
SECOND = slice_ref(ref().position_id, 2)


def entered() -> DeskTalk:
    """Return a desk whose entry of two contracts has had its first slice filled."""
    desk = DeskTalk(IN_SLICES).morning()
    desk.hear(signal()).offer().fresh().reserve()
    return desk.hear(held(1))


def held(qty: int, position: PositionRef | None = None, state: PositionState = PositionState.OPEN) -> Message:
    return positions.PositionChanged(
        ref=position or ref(), state=state, qty=Qty(qty), cost_cents=Cents(qty * 101_500), realised_cents=Cents(0),
        fees_cents=Cents(0), unrealised_cents=Cents(0), mark_utc=NOW, exit_reason=None, at_utc=NOW,
    )  # fmt: skip


def ask(desk: DeskTalk, **changes: Any) -> DeskTalk:
    asked: dict[str, Any] = {
        "ref": ref(), "order_ref": SECOND, "qty": Qty(1),
        "decision": DecisionPrices(Ticks(1_000), Ticks(1_030), Ticks(600_000)), "reply_to": "position:paper:812",
    }  # fmt: skip
    return desk.hear(entries.RequestSlice(**{**asked, **changes}))


def answers(desk: DeskTalk) -> list[entries.SliceAllowed | entries.SliceRefused]:
    told = desk.sent.messages
    return [one for one in told if isinstance(one, entries.SliceAllowed | entries.SliceRefused)]


def refusal(desk: DeskTalk) -> entries.SliceRefused:
    (answer,) = answers(desk)
    assert isinstance(answer, entries.SliceRefused)
    return answer


def test_from_the_least_size_up_an_entry_is_reserved_whole_and_begins_with_its_first_slice() -> None:
    desk = DeskTalk(IN_SLICES).morning()
    desk.hear(signal()).offer().fresh()
    reserve = desk.last(entries.ReserveEntry)
    assert (reserve.legs[0].qty, reserve.first_qty) == (2, 1)
    desk.reserve()
    opening = desk.last(entries.OpenPosition)
    assert (opening.qty, opening.twap) == (1, PLAN)
    assert desk.state.view.holdings[0].cost_cents == 2 * 1_030 * 100  # until the position reports, at its most


def test_without_a_least_size_an_entry_is_one_order() -> None:
    desk = DeskTalk().morning()
    desk.hear(signal()).offer().fresh()
    assert desk.last(entries.ReserveEntry).first_qty is None
    desk.reserve()
    assert (desk.last(entries.OpenPosition).qty, desk.last(entries.OpenPosition).twap) == (2, None)


def test_a_slice_that_passes_gets_a_limit_not_above_the_decisions_ask_and_a_permit() -> None:
    desk = ask(entered())
    asked = desk.last(market.RequestQuote)
    assert (asked.con_id, asked.newer_than_utc) == (CALL.con_id, desk.now)
    assert answers(desk) == []
    desk.fresh(quote(bid=1_020, ask=1_060, at=desk.now))
    (answer,) = answers(desk)
    assert isinstance(answer, entries.SliceAllowed)
    assert (answer.order_ref, answer.limit_ticks) == (SECOND, 1_030)
    assert (answer.permit.kill_epoch, answer.permit.session_epoch) == (3, 7)
    assert answer.permit.expires_utc > desk.now


@pytest.mark.parametrize("how", ["it fills", "the next one is asked for", "its order cannot live any more"])
def test_a_slice_on_its_way_counts_as_premium_until_its_order_is_over(how: str) -> None:
    """Another lane's entry was judged as if the slice were not on its way: together they were more than is allowed."""
    desk = ask(entered()).fresh(quote(bid=1_020, ask=1_060))
    (answer,) = answers(desk)
    assert isinstance(answer, entries.SliceAllowed)
    most = answer.limit_ticks * 100
    desk.hear(held(1))
    assert desk_view.premium_cents(desk.state.view) == 101_500 + most
    assert desk_view.premium_cents(desk.state.view, "QQQ") == 0
    assert desk_view.unspent_cents(desk.state.view) == most
    if how == "it fills":
        desk.hear(held(2))
    elif how == "the next one is asked for":
        ask(desk)
    else:
        desk.now += 2 * IN_SLICES.exits.entry_total_ms * MS
        desk.hear(held(1))
    assert desk_view.unspent_cents(desk.state.view) == 0
    assert desk_view.premium_cents(desk.state.view) == 101_500 * (2 if how == "it fills" else 1)


@pytest.mark.parametrize("is_during", [False, True])
@pytest.mark.parametrize(
    ("news", "gate", "code"),
    [
        (
            risk.KillRaised(level=KillLevel.NO_ENTRIES, kill_epoch=4, reason="x", by="x"), "kill_level",
            RejectCode.KILL_SWITCH_L1,
        ),
        (
            session.ModeChanged(mode=Mode.WARMUP, mode_n=4, session_epoch=8, cause="x", at_utc=NOW), "broker_mode",
            RejectCode.MODE_WARMUP,
        ),
        (
            session.PhaseChanged(phase=Phase.LATE, session=DAY, open_utc=OPEN, close_utc=CLOSE, at_utc=NOW), "session",
            RejectCode.ENTRY_WINDOW,
        ),
        (market.HaltChanged(ticker="SPX", is_halted=True, at_utc=NOW), "session", RejectCode.HALTED),
        (risk.DayLocked(session=DAY, reason="x"), "session", RejectCode.DAY_LOCKED),
        (
            signals.PromotionChanged(
                source="gexwatch", kind="GAMMA_FLIP", version=1, is_promoted=False, by="x"
            ),
            "shadow_check", RejectCode.SHADOW_SIGNAL,
        ),
    ],
)  # fmt: skip
def test_what_stops_the_desk_ends_the_slices_before_its_quote_and_after(
    news: Message, gate: str, code: RejectCode, is_during: bool
) -> None:
    desk = ask(entered()).hear(news).fresh() if is_during else ask(entered().hear(news))
    found = refusal(desk)
    assert (found.verdict.gate, found.verdict.finding.code, found.is_final) == (gate, code, True)


@pytest.mark.parametrize(
    ("given", "gate", "code"),
    [
        (quote(bid=600, ask=1_400), "spread", RejectCode.SPREAD_TOO_WIDE),
        (quote(bid=0, ask=1_000), "bid_present", RejectCode.EMPTY_MARKET),
        (quote(bid=1_040, ask=1_030), "spread", RejectCode.CROSSED_MARKET),
        (quote(kind=DataType.DELAYED), "quote_fresh", RejectCode.DELAYED_DATA),
        (quote(at=NOW - 10**9), "fresh_quote", RejectCode.STALE_QUOTE),
        (quote(bid=1_100, ask=1_130), "fresh_quote", RejectCode.QUOTE_DRIFT),  # since the decision, not since the last
        (Quote(812, Ticks(1_000), Ticks(1_030), Qty(20), Qty(20), NOW, volume=1, open_interest=1), "spread",
         RejectCode.ILLIQUID),
    ],
)  # fmt: skip
def test_a_quote_not_to_trade_on_passes_one_slice_over(given: Quote, gate: str, code: RejectCode) -> None:
    found = refusal(ask(entered()).fresh(given))
    assert (found.verdict.gate, found.verdict.finding.code, found.is_final) == (gate, code, False)


def test_no_quote_in_time_passes_one_slice_over() -> None:
    desk = ask(entered())
    asked = desk.last(market.RequestQuote)
    desk.hear(market.QuoteUnavailable(request_id=asked.request_id, con_id=812, last=None, why="no tick"))
    found = refusal(desk)
    assert (found.verdict.finding.code, found.is_final) == (RejectCode.STALE_QUOTE, False)


def test_money_that_is_gone_ends_the_slices() -> None:
    desk = ask(entered())
    desk.hear(
        broker.AccountRead(
            session_epoch=7, nav_cents=Cents(NAV), available_cents=Cents(1_000), buying_power_cents=Cents(1_000),
            day_trades_remaining=None, read_utc=NOW,
        )
    )  # fmt: skip
    found = refusal(desk.fresh())
    assert (found.verdict.gate, found.verdict.finding.code, found.is_final) == (
        "size_and_money", RejectCode.BUYING_POWER, True,
    )  # fmt: skip


@pytest.mark.parametrize("state", [PositionState.PENDING_ENTRY, PositionState.FLAT])
def test_a_slice_of_what_is_not_held_is_refused(state: PositionState) -> None:
    desk = DeskTalk(IN_SLICES).morning()
    desk.hear(signal()).offer().fresh().reserve()
    if state is PositionState.FLAT:
        desk.hear(positions.EntryAbandoned(ref=ref(), order_ref="x", why="x"))
    found = refusal(ask(desk))
    assert (found.verdict.finding.code, found.is_final) == (RejectCode.MISSING_INPUT, True)


def test_a_late_or_repeated_quote_answers_nothing() -> None:
    desk = ask(entered())
    first = desk.last(market.RequestQuote)
    ask(desk)
    desk.hear(market.QuoteRead(request_id=first.request_id, contract=CALL, quote=quote(at=desk.now), spot=None))
    assert answers(desk) == []
    desk.fresh().fresh()
    assert len(answers(desk)) == 1


def test_a_slice_that_works_may_pay_more_where_the_desk_still_stands() -> None:
    desk = entered()
    request = entries.RequestPermit(intent_id=ref().intent_id, order_ref=SECOND, reply_to="position:paper:812")
    desk.hear(request)
    assert desk.last(entries.PermitRenewed).order_ref == SECOND
    desk.hear(risk.KillRaised(level=KillLevel.NO_ENTRIES, kill_epoch=4, reason="x", by="x"), request)
    assert desk.last(entries.PermitRefused).why == RejectCode.KILL_SWITCH_L1
