"""The risk actor and a structure: both legs judged and reserved at once, handed to an actor of their own or to none."""

from __future__ import annotations

from typing import Any, Self

import pytest
from msgspec.structs import replace

from config.settings import Settings, load_settings
from domain.instants import BUCKET_NS, SECOND
from domain.instruments import Contract, Quote, Right, Side, Spot
from domain.orders.intent import Intent, PositionRef
from domain.orders.references import intent_id, position_id
from domain.position.cycle import EndReason, PositionState
from domain.risk.gates.types import refused
from domain.risk.kill import KillLevel
from domain.risk.reject import RejectCode
from domain.risk.structure_attempt import STAGES, StructureEvent, StructureStage
from domain.signals import spread
from domain.units import Cents, Qty, Ticks
from messages import entries, market, orders, positions, risk, signals, structures
from tests.testkit.desk_talk import DeskTalk
from tests.testkit.desk_world import BUCKET, CLOSE, DAY, FRESH, NOW, OPEN, QQQ_CALL, VIX_SPOT, signal
from tests.testkit.narrow import known

SPX_CALL = Contract(11, "SPX", "SPXW", DAY, Ticks(600_000), Right.CALL)
SPY_CALL = Contract(22, "SPY", "SPY", DAY, Ticks(60_000), Right.CALL)
SPX, SPY = Spot("SPX", Ticks(600_000), NOW), Spot("SPY", Ticks(60_000), NOW)


def spread_settings(**changes: Any) -> Settings:
    """Return the demo's settings with the spread on, all day long."""
    on = {"is_on": True, "entry_until_ms": 7_200_000} | changes
    return load_settings(profile="demo", overrides={"demo": {"rate": 1.0}, "spread": on})


SETTINGS = spread_settings()
KEY = spread.key_of(BUCKET)


def wanted(**changes: Any) -> Intent:
    """Return what the lane wants: one SPX call against ten of SPY, at the money."""
    base = Intent(
        intent_id=intent_id(KEY.alert_id, spread.SOURCE), key=KEY, strategy=spread.SOURCE, direction=1,
        plan=spread.plan_of((Ticks(600_000), Ticks(60_000)), SETTINGS.spread), is_shadow=False, raised_utc=NOW,
        expires_utc=NOW + 60 * SECOND,
    )  # fmt: skip
    return replace(base, **changes)


class SpreadTalk(DeskTalk):
    """A desk that trades spreads."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        promoted = (*(FRESH.promoted or ()), (spread.SOURCE, spread.KIND, spread.VERSION))
        super().__init__(settings, replace(FRESH, promoted=promoted))
        self.morning()
        self.hear(market.HoursRead(ticker="SPY", session=DAY, hours=((OPEN, CLOSE),)))
        self.hear(market.SpotsChanged(spots=(SPX, SPY, VIX_SPOT)))

    def raise_(self, **changes: Any) -> Self:
        """Raise the signal."""
        return self.hear(signals.SignalRaised(intent=wanted(**changes)))

    def quotes(self, bought: tuple[int, int] = (1_970, 2_000), sold: tuple[int, int] = (250, 251)) -> Self:
        """Answer the two newest requests for a strike."""
        for asked in self.told(market.RequestStrike)[-2:]:
            is_cover = asked.ticker == "SPX"
            contract, spot, (bid, ask) = (SPX_CALL, SPX, bought) if is_cover else (SPY_CALL, SPY, sold)
            quote = Quote(contract.con_id, Ticks(bid), Ticks(ask), Qty(50), Qty(50), self.now)
            self.hear(
                market.QuoteRead(
                    request_id=asked.request_id, contract=contract, quote=quote, spot=replace(spot, at_utc=self.now)
                )
            )
        return self

    def margin(self, cents: int | None = 9_000_000) -> Self:
        """Answer what the short leg would need."""
        asked = self.last(orders.RequestWhatIf)
        change = None if cents is None else Cents(cents)
        return self.hear(
            orders.WhatIfRead(request_id=asked.request_id, init_margin_change_cents=change, why="" if cents else "no")
        )

    def open(self) -> Self:
        """Take the whole way to the hand-over."""
        return self.raise_().quotes().margin().quotes().reserve()


def ref(n: int, contract: Contract, side: Side) -> PositionRef:
    """Return the name of the n-th leg's position."""
    return PositionRef(
        position_id=position_id("paper", intent_id(KEY.alert_id, "spread", n)), intent_id=wanted().intent_id, key=KEY,
        strategy="spread", direction=1 if side is Side.BUY else -1, contract=contract, side=side,
        structure_id=wanted().intent_id,
    )  # fmt: skip


COVER, SHORT = ref(0, SPX_CALL, Side.BUY), ref(1, SPY_CALL, Side.SELL)


# -- the whole way ------------------------------------------------------------------------------------


def test_both_legs_are_reserved_in_one_request_and_handed_over_together() -> None:
    talk = SpreadTalk().open()
    (asked,) = talk.told(entries.ReserveEntry, "desk_ledger")
    assert [(leg.contract, leg.side, leg.qty, leg.limit_ticks) for leg in asked.legs] == [
        (SPX_CALL, Side.BUY, 1, 2_000), (SPY_CALL, Side.SELL, 10, 250),
    ]  # fmt: skip
    assert len({leg.order_ref for leg in asked.legs}) == 2
    (opened,) = talk.told(structures.OpenStructure)
    assert (opened.cover.ref, opened.short.ref, opened.ratio) == (COVER, SHORT, 10)
    assert opened.terms.credit_cents > 40_000
    assert not talk.told(entries.OpenPosition)  # the legs are the structure's to open
    assert [one.leg.contract for one in talk.published(entries.EntryHandedOver)] == [SPX_CALL, SPY_CALL]


def test_the_broker_is_asked_for_the_margin_of_the_short_leg_before_anything_is_reserved() -> None:
    talk = SpreadTalk().raise_().quotes()
    (asked,) = talk.told(orders.RequestWhatIf, "ibkr")
    assert (asked.order.contract, asked.order.side, asked.order.qty) == (SPY_CALL, Side.SELL, 10)
    assert not talk.told(entries.ReserveEntry)


def test_the_verdicts_name_credit_edge_gap_and_each_underlying() -> None:
    talk = SpreadTalk().open()
    verdicts = talk.told(entries.ReserveEntry)[0].verdicts
    assert any("credit 4" in one.finding.looked_at and "gap 0" in one.finding.looked_at for one in verdicts)
    assert {one.note for one in verdicts if one.gate == "session"} == {
        "SPX", "SPY", "last look SPX", "last look SPY",
    }  # fmt: skip


def test_the_short_leg_gets_a_permit_of_its_own_while_it_is_pending() -> None:
    talk = SpreadTalk().open()
    (opened,) = talk.told(structures.OpenStructure)
    asked = entries.RequestPermit(
        intent_id=wanted().intent_id, order_ref=opened.short.order.order_ref, reply_to="structure:paper:X"
    )
    assert talk.hear(asked).told(entries.PermitRenewed)
    talk.hear(risk.KillRaised(level=KillLevel.NO_ENTRIES, kill_epoch=9, reason="", by=""), asked)
    assert talk.last(entries.PermitRefused).why == RejectCode.KILL_SWITCH_L1


# -- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("look", "code", "words"),
    [
        ({"sold": (241, 242)}, RejectCode.STRUCTURE_TERMS, "credit"),
        ({"bought": (1_940, 1_995)}, RejectCode.SPREAD_TOO_WIDE, "SPXW"),
        ({"sold": (0, 251)}, RejectCode.EMPTY_MARKET, ""),
        ({"sold": (252, 251)}, RejectCode.CROSSED_MARKET, ""),
    ],
)
@pytest.mark.parametrize("is_last_look", [False, True])
def test_a_leg_or_a_term_that_does_not_hold_refuses_at_either_look(
    look: Any, code: RejectCode, words: str, is_last_look: bool
) -> None:
    talk = SpreadTalk().raise_()
    talk = talk.quotes().margin().quotes(**look) if is_last_look else talk.quotes(**look)
    assert (talk.code, words in talk.denied.verdict.finding.looked_at) == (code, True)
    assert not talk.told(entries.ReserveEntry)


def test_outside_of_its_window_it_is_refused() -> None:
    talk = SpreadTalk(spread_settings(entry_until_ms=1_800_000)).raise_().quotes()
    assert talk.code is RejectCode.STRUCTURE_TERMS
    assert "window" in talk.denied.verdict.finding.looked_at


def test_a_ratio_that_is_off_is_refused() -> None:
    talk = SpreadTalk(spread_settings(ratio_min=9.5, ratio_max=9.9)).raise_().quotes()
    assert "ratio" in talk.denied.verdict.finding.looked_at


@pytest.mark.parametrize(
    ("cents", "code"),
    [(None, RejectCode.MISSING_INPUT), (17_900_000, RejectCode.BUYING_POWER)],
)
def test_a_margin_that_is_unknown_or_too_great_refuses(cents: int | None, code: RejectCode) -> None:
    talk = SpreadTalk().raise_().quotes().margin(cents)
    assert talk.code is code
    assert len(talk.told(market.RequestStrike)) == 2  # nothing is asked any more


def test_a_margin_that_would_become_free_pays_for_no_cover() -> None:
    for available, code in ((2_000_00, RejectCode.BUYING_POWER), (30_000_00, None)):
        talk = SpreadTalk().raise_().quotes()
        assert talk.state.view.funds is not None
        talk.state.view = replace(
            talk.state.view, funds=replace(talk.state.view.funds, available_cents=Cents(available))
        )
        talk.margin(-5_000_000_00)
        assert (talk.code if code else len(talk.told(market.RequestStrike))) == (code or 4)


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ((), RejectCode.MISSING_INPUT),
        (("quotes",), RejectCode.MISSING_INPUT),
        (("quotes", "margin"), RejectCode.STALE_QUOTE),
        (("quotes", "margin", "quotes"), RejectCode.MISSING_INPUT),
    ],
)
def test_silence_of_any_stage_refuses(steps: tuple[str, ...], code: RejectCode) -> None:
    talk = SpreadTalk().raise_()
    for step in steps:
        getattr(talk, step)()
    talk.wait(10_000)
    assert talk.code is code
    assert bool(talk.told(entries.ReleaseReservation)) is (len(steps) == 3)  # of unknown outcome
    assert not talk.told(structures.OpenStructure)
    assert talk.reserve().told(structures.OpenStructure) == []  # late


def test_a_ledger_that_is_too_slow_is_what_the_refusal_names() -> None:
    talk = SpreadTalk().raise_().quotes().margin().quotes()
    talk.wait(10_000)
    (denied,) = talk.published(entries.EntryDenied)
    assert denied.verdict.finding.looked_at.startswith("ledger_slow: ")


def test_a_kill_between_the_last_look_and_the_ledgers_answer_wins() -> None:
    talk = SpreadTalk().raise_().quotes().margin().quotes()
    talk.hear(risk.KillRaised(level=KillLevel.NO_ENTRIES, kill_epoch=9, reason="", by="")).reserve()
    assert talk.code is RejectCode.KILL_SWITCH_L1
    assert talk.told(entries.ReleaseReservation)
    assert not talk.told(structures.OpenStructure)


def test_the_ledger_has_the_last_word() -> None:
    talk = SpreadTalk().raise_().quotes().margin().quotes()
    finding = refused(RejectCode.DUPLICATE_POSITION, looked_at="live holders")
    talk.hear(entries.EntryRefused(intent_id=talk.asked_intent, finding=finding))
    assert talk.code is RejectCode.DUPLICATE_POSITION
    assert not talk.told(entries.RecordDenial)  # its row is the ledger's


@pytest.mark.parametrize("ticker", ["SPX", "SPY"])
def test_a_holding_in_either_underlying_refuses(ticker: str) -> None:
    talk = SpreadTalk()
    contract = replace(QQQ_CALL, con_id=77, ticker=ticker)
    other = replace(COVER, position_id="ZH-paper-OTHER", contract=contract, structure_id=None, strategy="gexwatch")
    talk.hear(positions.PositionOpened(ref=other, qty=Qty(1), cost_cents=Cents(1_000), opened_utc=NOW))
    expected = RejectCode.TICKER_LIMIT if ticker == "SPX" else RejectCode.REVERSE_WITHOUT_FLAT
    assert talk.raise_().code is expected
    assert ticker in talk.denied.verdict.finding.looked_at


def test_a_second_spread_waits_for_the_first_to_end_and_both_legs_count_as_one_trade() -> None:
    talk = SpreadTalk().open()
    key = replace(KEY, bucket_utc=BUCKET + BUCKET_NS)
    talk.wait(31_000)
    assert talk.raise_(key=key, intent_id="second", expires_utc=talk.now + 60 * SECOND).code in (
        RejectCode.COOLDOWN, RejectCode.ONE_POSITION_ONLY,
    )  # fmt: skip
    assert len({holding.ref.unit for holding in talk.state.view.holdings}) == 1


def test_losses_of_the_days_spreads_end_its_day() -> None:
    talk = SpreadTalk(spread_settings(cooldown_ms=0))
    for leg, cents in ((COVER, 60_000), (SHORT, -160_000)):
        talk.hear(
            positions.PositionClosed(
                ref=leg, reason=None, end=EndReason.CLOSED, opened_qty=Qty(1), realised_cents=Cents(cents),
                fees_cents=Cents(100), opened_utc=NOW, closed_utc=NOW,
            )
        )  # fmt: skip
    talk.raise_().quotes()
    assert talk.code is RejectCode.DAILY_LOSS
    assert "spreads" in talk.denied.verdict.finding.looked_at


def test_a_cut_of_the_size_refuses_it_instead() -> None:
    settings = spread_settings()
    talk = SpreadTalk(settings)
    for n in range(2):
        lost = replace(COVER, position_id=f"ZH-paper-LOST{n}", structure_id=None, strategy="gexwatch")
        talk.hear(
            positions.PositionClosed(
                ref=lost, reason=None, end=EndReason.CLOSED, opened_qty=Qty(1), realised_cents=Cents(-1),
                fees_cents=Cents(0), opened_utc=NOW, closed_utc=NOW + n,
            )
        )  # fmt: skip
    assert talk.raise_().quotes().code is RejectCode.BAD_SIZE


def test_a_desk_without_the_spread_takes_no_such_intent() -> None:
    talk = DeskTalk(load_settings(profile="demo"))
    talk.morning()
    talk.hear(signals.SignalRaised(intent=wanted()))
    assert talk.code is RejectCode.MISSING_INPUT


def test_a_single_leg_beside_it_is_judged_as_ever() -> None:
    talk = SpreadTalk().raise_()
    talk.hear(signal())
    assert talk.last(market.RequestContracts).ticker == "SPX"


@pytest.mark.parametrize("stage", StructureStage)
def test_every_live_stage_can_be_denied_and_no_ended_one_moves(stage: StructureStage) -> None:
    ended = stage in (StructureStage.HANDED_OVER, StructureStage.DENIED)
    moves = [event for event in StructureEvent if STAGES.changes(stage, event)]
    assert (moves == []) if ended else (StructureEvent.DENIED in moves)


def test_a_leg_that_is_pending_counts_its_cover_and_not_what_the_shorts_bring() -> None:
    talk = SpreadTalk().open()
    held = {holding.contract.ticker: holding for holding in talk.state.view.holdings}
    assert (held["SPX"].is_pending, held["SPY"].is_pending) == (True, True)
    talk.hear(
        positions.PositionChanged(
            ref=SHORT, state=PositionState.OPEN, qty=Qty(10), cost_cents=Cents(250_000), realised_cents=Cents(0),
            fees_cents=Cents(0), unrealised_cents=Cents(-5_000), mark_utc=NOW, exit_reason=None, at_utc=NOW,
        )
    )  # fmt: skip
    short = next(one for one in talk.state.view.holdings if one.contract.ticker == "SPY")
    assert (short.is_pending, known(short.unrealised_cents)) == (False, -5_000)
