"""What a structure's actor says, word for word: whole messages and all its timers, so that none changes unseen."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from domain.alarm import Severity
from domain.instants import MINUTE, MS, SECOND, full_second
from domain.instruments import Contract, OrderType, Right, Side
from domain.orders.combo import ComboLeg, combo_contract
from domain.orders.references import exit_ref, position_id
from domain.orders.request import OrderPart, OrderRequest
from domain.position.cycle import ExitReason
from domain.risk.kill import KillLevel
from domain.session.phases import Phase
from domain.structure.rules import Combination
from domain.structure.saga import SagaState
from domain.units import Cents, Qty, Ticks, Utc
from messages import entries, operator, orders, positions, risk, session, structures
from messages.structures import ReservedLeg
from tests.testkit.narrow import known
from tests.testkit.probe import Outbox
from tests.testkit.spread_world import (
    CLOSE,
    COVER,
    COVER_ADDRESS,
    DAY,
    NAME,
    SHORT,
    SHORT_ADDRESS,
    STRUCTURE,
    T0,
    TERMS,
    SpreadTalk,
    leg,
    settings,
)

CALL_WING, CALL, PUT_WING, PUT = (
    leg(n, Contract(11 + n, "SPX", "SPXW", DAY, Ticks(strike), right), side, 2, limit)
    for n, (strike, right, side, limit) in enumerate(
        (
            (602_500, Right.CALL, Side.BUY, 420),
            (601_500, Right.CALL, Side.SELL, 700),
            (597_500, Right.PUT, Side.BUY, 310),
            (598_500, Right.PUT, Side.SELL, 600),
        )
    )
)
CONDOR = (CALL_WING, CALL, PUT_WING, PUT)
LAST_CALL = Utc(CLOSE - 5 * MINUTE)
WIDE_LOSS = 250_00  # cents, of a vertical and of a combination; of the spread it is 500_00


def changed(
    talk: SpreadTalk, state: SagaState, cover: int, short: int, reason: ExitReason | None = None, pnl: int | None = 0
) -> structures.StructureChanged:
    """Return what is published of a structure that stands so."""
    return structures.StructureChanged(
        structure_id=STRUCTURE, state=state, reason=reason, cover_qty=Qty(cover), short_qty=Qty(short),
        pnl_cents=None if pnl is None else Cents(pnl), at_utc=talk.now,
    )  # fmt: skip


def opening(talk: SpreadTalk, which: ReservedLeg, deadline_utc: Utc, *, is_joint: bool = False) -> entries.OpenPosition:
    """Return what hands a leg to its position, under a permit of this instant."""
    return entries.OpenPosition(
        ref=which.ref, order_ref=which.order.order_ref, qty=which.order.qty, limit_ticks=known(which.order.limit_ticks),
        decision=known(which.order.decision), permit=talk.permit(), deadline_utc=deadline_utc, is_joint=is_joint,
    )  # fmt: skip


def timers(talk: SpreadTalk) -> dict[str, float]:
    """Return when each timer comes due, in seconds from now."""
    return {kind: (at - talk.now) / SECOND for (kind, _), at in talk.timers.items()}


class CondorTalk(SpreadTalk):
    """Legs that go out as one order; the tests play their positions."""

    def __init__(self, *legs: ReservedLeg, ratio: int = 1, **rules: object) -> None:
        super().__init__({"spread": {"is_on": True, "combination": Combination.IRON_CONDOR.value} | rules})
        self.legs, self.ratio = legs or CONDOR, ratio

    def open(self) -> Outbox:
        cover, short, *further = self.legs
        return self.feed(
            structures.OpenStructure(
                structure_id=STRUCTURE, cover=cover, short=short, ratio=self.ratio, terms=TERMS, permit=self.permit(),
                deadline_utc=Utc(self.now + 30 * SECOND), is_combo=True, further=tuple(further),
            )
        )  # fmt: skip

    def join(self, *touches: int, is_out: bool = False) -> Outbox:
        """Let every leg say that it takes part, at its touch; return what the last one brought about."""
        for which, ticks in zip(self.legs, touches, strict=True):
            ref = exit_ref(which.ref.position_id, 1) if is_out else which.order.order_ref
            out = self.feed(
                positions.LegChanged(
                    ref=which.ref, qty=which.order.qty if is_out else Qty(0), average_ticks=None,
                    is_entry_over=is_out, is_flat=False, exit_reason=None, is_free=False, realised_cents=Cents(0),
                    fees_cents=Cents(0), unrealised_cents=Cents(0), at_utc=self.now, mark_utc=self.now, joint_ref=ref,
                    joint_ticks=Ticks(ticks),
                )
            )  # fmt: skip
        return out

    def hold(self) -> None:
        self.open()
        self.join(*(known(which.order.limit_ticks) for which in self.legs))
        for which in self.legs:
            self.leg(which, which.order.qty, average=known(which.order.limit_ticks))

    def restored(self, *qtys: tuple[int, int], ratio: int = 1) -> Outbox:
        """Crash; the ledger gives back (opened, held) of each leg, all alive."""
        cover, short, *further = (
            self.reservation(which, opened=opened, held=held)
            for which, (opened, held) in zip(self.legs, qtys, strict=True)
        )
        return self.restart(replace(self.known(cover, short), ratio=ratio, further=tuple(further)))


# -- a spread, leg by leg ---------------------------------------------------------------------------


def test_a_spreads_life_word_for_word() -> None:
    talk = SpreadTalk()
    deadline_utc = Utc(T0 + 30 * SECOND)
    assert talk.open().messages == [opening(talk, COVER, deadline_utc), changed(talk, SagaState.BUYING_COVER, 0, 0)]
    assert timers(talk) == {"check": 10, "last_call": (LAST_CALL - T0) / SECOND}
    asked = entries.RequestPermit(intent_id=STRUCTURE, order_ref=SHORT.order.order_ref, reply_to=NAME)
    talk.now = Utc(T0 + SECOND)
    assert talk.leg(COVER, 1, average=2_000, realised=-130, unrealised=-1_500).messages == [
        asked, changed(talk, SagaState.SELLING, 1, 0, pnl=-1_630),
    ]  # fmt: skip
    assert timers(talk)["leg"] == 30
    assert talk.permit_shorts().messages == [opening(talk, SHORT, Utc(talk.now + 30 * SECOND))]
    assert talk.leg(SHORT, 10, average=250, realised=-700, unrealised=400).messages == [
        changed(talk, SagaState.HELD, 1, 10, pnl=-1_930)
    ]
    reason = ExitReason.ASSIGNMENT_RISK
    assert talk.spy(62_000).messages == [
        positions.FlattenPosition(reason=reason), changed(talk, SagaState.BUYING_BACK, 1, 10, reason, -1_930),
    ]  # fmt: skip
    talk.leg(SHORT, 10, is_leaving=True, reason=reason, average=250, realised=-700, unrealised=None)
    assert talk.leg(SHORT, 4, is_leaving=True, reason=reason, unrealised=None).messages == [
        changed(talk, SagaState.BUYING_BACK, 1, 4, reason, None)
    ]
    assert talk.leg(SHORT, 0, is_flat=True, average=250, realised=-30_000, fees=1_600).messages == [
        positions.SetCover(structure_id=STRUCTURE, is_free=True), positions.FlattenPosition(reason=reason),
        changed(talk, SagaState.RELEASING, 1, 0, reason, -31_630),
    ]  # fmt: skip
    assert talk.leg(COVER, 0, is_flat=True, is_free=True, average=2_000, realised=45_000, fees=300).messages == [
        changed(talk, SagaState.CLOSED, 0, 0, reason, 15_000),
        structures.StructureClosed(
            structure_id=STRUCTURE, reason=reason, terms=TERMS, cover_ticks=2_000, short_ticks=250,
            realised_cents=Cents(15_000), fees_cents=Cents(1_900), closed_utc=talk.now,
        ),
    ]  # fmt: skip


def test_a_cover_that_was_bought_and_sold_again_is_a_structure_that_closed() -> None:
    talk = SpreadTalk()
    talk.open()
    talk.leg(COVER, 1, average=2_000)
    talk.feed(entries.PermitRefused(order_ref=SHORT.order.order_ref, why="kill_switch_l1"))
    out = talk.leg(COVER, 0, is_flat=True, average=2_000, realised=-4_000, fees=260)
    (closed,) = out.published(structures.StructureClosed)
    assert (closed.realised_cents, closed.short_ticks) == (-4_000, None)


def test_a_structure_that_is_closed_is_asked_nothing_any_more() -> None:
    talk = SpreadTalk()
    talk.open()
    talk.leg(COVER, 0, is_flat=True)
    talk.fire("check")
    assert timers(talk).keys() == {"last_call"}


def test_legs_are_asked_where_they_stand_while_something_is_under_way_and_not_while_they_are_held() -> None:
    talk = SpreadTalk()
    talk.open()
    out = talk.wait(10)
    assert (out.recipients(positions.RequestLeg), out.told(positions.RequestLeg)) == (
        [COVER_ADDRESS], [positions.RequestLeg(ref=COVER.ref)],
    )  # fmt: skip
    assert timers(talk)["check"] == 10
    talk.hold()
    assert not talk.wait(10).told(positions.RequestLeg)
    condor = CondorTalk()
    condor.hold()
    condor.leg(PUT, 2, average=600, unrealised=-WIDE_LOSS - 1)
    condor.now = Utc(condor.now + SECOND)
    assert known(condor.state.saga).state is SagaState.LEAVING
    assert len(condor.fire("check").told(positions.RequestLeg)) == 4


def test_a_leg_whose_entry_works_and_that_leaves_by_itself_gives_its_own_reason() -> None:
    talk = SpreadTalk()
    talk.open()
    out = talk.leg(COVER, 0, is_entry_over=False, is_leaving=True, reason=ExitReason.KILL)
    assert out.messages == [
        positions.SetCover(structure_id=STRUCTURE, is_free=True),
        changed(talk, SagaState.RELEASING, 0, 0, ExitReason.KILL),
    ]


def test_what_is_said_of_shorts_that_were_never_sent_changes_nothing() -> None:
    talk = SpreadTalk()
    talk.open()
    before = talk.state.saga
    talk.leg(SHORT, 0, is_flat=True)
    talk.leg(SHORT, 0, is_leaving=True, reason=ExitReason.KILL)
    assert talk.state.saga == before
    assert talk.leg(COVER, 1).told(entries.RequestPermit)


def test_a_leg_that_this_structure_never_had_is_none_of_its_legs() -> None:
    talk = SpreadTalk()
    talk.hold()
    before = talk.state
    stranger = replace(SHORT, ref=replace(SHORT.ref, position_id=position_id("paper", "another/spread/0")))
    assert not talk.leg(stranger, 3, is_leaving=True).messages
    assert talk.state == before


@pytest.mark.parametrize("kind", ["check", "leg", "joint", "restored", "last_call"])
def test_a_timer_of_a_life_before_finds_nothing_to_do(kind: str) -> None:
    talk = SpreadTalk()
    talk.hold()
    talk.timers[kind, ""] = talk.now
    pending, excused = dict(talk.timers), {(kind, ""): 0}
    talk.restart(None)
    talk.timers, talk.excused_ms = pending, talk.excused_ms | excused
    assert not talk.fire(kind).messages


def test_no_second_spread_is_opened_by_a_command_that_comes_again() -> None:
    talk = SpreadTalk()
    talk.hold()
    before = talk.state
    assert not talk.open().messages
    assert talk.state == before


@pytest.mark.parametrize(
    ("phase", "is_old"), [(None, True), (Phase.PRE, False), (Phase.OPEN, True), (Phase.FLATTEN, True)]
)
def test_a_mark_grows_old_in_regular_hours_and_where_nobody_has_told_the_hour(
    phase: Phase | None, is_old: bool
) -> None:
    talk = SpreadTalk()
    talk.hold()
    talk.state.phase = phase
    talk.now = Utc(talk.now + 61 * SECOND)
    out = talk.leg(COVER, 1, average=2_000)
    assert bool(out.told(positions.FlattenPosition, SHORT_ADDRESS)) is is_old


def test_a_short_that_is_gone_but_for_somebody_elses_frees_the_cover_alone() -> None:
    talk = SpreadTalk()
    talk.hold()
    talk.spy(62_000)
    out = talk.leg(SHORT, 0, is_leaving=True, is_clear=True)
    assert out.recipients(positions.SetCover) == [COVER_ADDRESS]


# -- what pages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("held", "what"), [(3, "3 are still short"), (0, "nobody has confirmed that none is short")])
def test_a_short_left_five_minutes_before_the_close_is_critical_and_halts_entries(held: int, what: str) -> None:
    talk = SpreadTalk()
    talk.hold()
    talk.leg(SHORT, held, is_leaving=True)
    text = (
        f"{SHORT.ref.contract.label}: {what} 5 min before the close; look at the account, and buy back what is short by"
        " hand, or with `main.py flatten --direct --force`"
    )
    assert not [out for out in talk.advance(Utc(LAST_CALL - 1)).messages if isinstance(out, operator.Alarm)]
    talk.timers = {("last_call", ""): talk.timers["last_call", ""]}
    assert talk.advance(LAST_CALL).messages == [
        operator.Alarm(key="short_left:22", severity=Severity.CRITICAL, text=text, at_utc=LAST_CALL),
        risk.RaiseKill(level=KillLevel.NO_ENTRIES, reason=text, by=NAME),
    ]


def test_shorts_that_are_gone_five_minutes_before_the_close_page_nobody() -> None:
    talk = SpreadTalk()
    talk.hold()
    talk.spy(62_000)
    talk.leg(SHORT, 0, is_flat=True)
    talk.advance(LAST_CALL)
    assert not talk.sent.published(operator.Alarm)


@pytest.mark.parametrize("is_condor", [False, True])
def test_a_leg_without_a_price_is_critical_and_names_what_is_closed(is_condor: bool) -> None:
    talk = CondorTalk() if is_condor else SpreadTalk()
    talk.hold()
    talk.phase(Phase.ENTRY)
    cover, short = (CALL_WING, CALL) if is_condor else (COVER, SHORT)
    for which in (cover, *((PUT_WING, PUT) if is_condor else ())):
        talk.leg(which, which.order.qty, average=400)
    talk.now = Utc(talk.now + 61 * SECOND)
    talk.state.told = tuple(
        told if reserved is short else replace(told, marked_utc=talk.now)
        for told, reserved in zip(talk.state.told, talk.state.legs, strict=True)
    )
    whole = "all legs are closed, the sold first" if is_condor else "both legs are closed, the sold calls first"
    text = (
        f"{short.ref.contract.label}: no price for 60 s, so that the loss of the spread is not known: it counts at its"
        f" worst case, and {whole}. Look at the market data."
    )
    assert talk.phase(Phase.ENTRY).published(operator.Alarm) == [
        operator.Alarm(key="spread_blind", severity=Severity.CRITICAL, text=text, at_utc=talk.now)
    ]


def test_terms_that_cannot_be_read_are_critical_and_halt_entries_and_what_is_held_stays() -> None:
    talk = SpreadTalk()
    legs = (talk.reservation(COVER, opened=1, held=1), talk.reservation(SHORT, opened=10, held=10))
    text = (
        f"Spread {STRUCTURE}: the terms on which it was opened cannot be read in the ledger, which is damaged; its legs"
        " are watched and closed as ever. Restore the ledger from a backup after the close."
    )
    asked, held = session.RequestPhase(reply_to=NAME), changed(talk, SagaState.HELD, 1, 10, pnl=None)
    assert talk.restart(replace(talk.known(*legs), terms=None, are_terms_damaged=True)).messages == [
        asked,
        operator.Alarm(key=f"terms:{STRUCTURE}", severity=Severity.CRITICAL, text=text, at_utc=talk.now),
        risk.RaiseKill(level=KillLevel.NO_ENTRIES, reason=text, by=NAME),
        held,
    ]
    for terms, are_damaged in ((None, False), (TERMS, False)):
        again = replace(talk.known(*legs), terms=terms, are_terms_damaged=are_damaged)
        assert talk.restart(again).messages == [asked, held]
    assert talk.restart(talk.known(*legs)).messages == [asked, held]


def test_shorts_without_their_covers_are_told_each_by_itself_and_taken_back_each_by_itself() -> None:
    talk = CondorTalk()
    talk.hold()
    began = talk.now
    talk.leg(CALL_WING, 0, is_flat=True)
    talk.now = Utc(began + SECOND)
    talk.leg(PUT_WING, 0, is_flat=True)
    talk.now = Utc(began + 2 * SECOND)
    talk.leg(CALL, 0, is_flat=True)
    talk.leg(PUT, 2, is_leaving=True)
    talk.leg(PUT, 0, is_flat=True)
    call, put = (
        positions.ShortFound(con_id=which.ref.contract.con_id, qty=Qty(-2), since_utc=Utc(began + after))
        for which, after in ((CALL, 0), (PUT, SECOND))
    )
    assert talk.sent.published(positions.ShortFound) == [
        call, put, replace(call, qty=Qty(0)), replace(put, qty=Qty(0)),
    ]  # fmt: skip


# -- one order for all legs -------------------------------------------------------------------------


def parts(talk: CondorTalk, refs: list[str], held: int, ratios: tuple[int, ...]) -> tuple[OrderPart, ...]:
    """Return the legs of an order for all."""
    return tuple(
        OrderPart(
            order_ref=ref, owner=f"position:paper:{one.ref.contract.con_id}", held_qty=Qty(held * ratio),
            leg=ComboLeg(one.order.contract, one.order.side, ratio),
        )
        for one, ref, ratio in zip(talk.legs, refs, ratios, strict=True)
    )  # fmt: skip


BACKSPREAD = (CALL_WING, replace(CALL, order=replace(CALL.order, qty=Qty(4))))  # two sold for one bought: by ratio 2


@pytest.mark.parametrize(
    ("legs", "ratios", "net_in", "touches", "net_out"),
    [
        (CONDOR, (1, 1, 1, 1), 420 - 700 + 310 - 600, (400, 751, 500, 1_100), -955),  # -951 on the grid, lower
        (BACKSPREAD, (1, 2), 420 - 2 * 700, (400, 751), -1_105),
    ],
    ids=["condor", "two for one"],
)
def test_one_order_in_and_one_out_word_for_word(
    legs: tuple[ReservedLeg, ...], ratios: tuple[int, ...], net_in: int, touches: tuple[int, ...], net_out: int
) -> None:
    talk = CondorTalk(*legs, ratio=max(ratios))
    deadline_utc = Utc(talk.now + 30 * SECOND)
    bought, sold = 2 * len(legs) // 2, 2 * sum(ratios[1::2])
    assert talk.open().messages == [
        *(opening(talk, one, deadline_utc, is_joint=True) for one in legs), changed(talk, SagaState.ENTERING, 0, 0),
    ]  # fmt: skip
    assert timers(talk) == {"check": 10, "leg": 30, "last_call": (LAST_CALL - T0) / SECOND}
    entry_refs = [one.order.order_ref for one in legs]
    parts_in = parts(talk, entry_refs, 0, ratios)
    entry = OrderRequest(
        order_ref=entry_refs[0], contract=combo_contract([part.leg for part in parts_in]), side=Side.BUY, qty=Qty(2),
        order_type=OrderType.LIMIT, limit_ticks=Ticks(net_in), is_exit=False, deadline_utc=deadline_utc,
        good_till_utc=full_second(deadline_utc),
    )  # fmt: skip
    assert talk.join(*(known(one.order.limit_ticks) for one in legs)).messages == [
        orders.SubmitOrder(order=entry, reply_to=NAME, permit=talk.permit(), held_qty=Qty(0), parts=parts_in)
    ]
    for one in legs:
        out = talk.leg(one, one.order.qty, average=known(one.order.limit_ticks))
    assert out.messages == [changed(talk, SagaState.HELD, bought, sold)]
    talk.now = Utc(talk.now + SECOND)
    reason, loss = ExitReason.POSITION_LOSS, -WIDE_LOSS - 1
    joining = [
        positions.JoinExit(
            structure_id=STRUCTURE, exit_n=1, qty=one.order.qty, combo_ref=exit_ref(legs[0].ref.position_id, 1),
            reason=reason,
        )
        for one in legs
    ]  # fmt: skip
    assert talk.leg(legs[1], legs[1].order.qty, average=700, unrealised=loss).messages == [
        *joining, changed(talk, SagaState.LEAVING, bought, sold, reason, loss),
    ]  # fmt: skip
    assert timers(talk)["joint"] == 2
    exit_refs = [exit_ref(one.ref.position_id, 1) for one in legs]
    parts_out = parts(talk, exit_refs, 2, ratios)
    rules = settings()
    leave = OrderRequest(
        order_ref=exit_refs[0], contract=combo_contract([part.leg for part in parts_out]), side=Side.SELL, qty=Qty(2),
        order_type=OrderType.LIMIT, limit_ticks=Ticks(net_out), is_exit=True,
        deadline_utc=Utc(talk.now + rules.connection.abandon_wait_ms * MS),
    )  # fmt: skip
    talk.now = Utc(talk.now + SECOND // 2)
    leave = replace(leave, deadline_utc=Utc(leave.deadline_utc + SECOND // 2))
    assert talk.join(*touches, is_out=True).messages == [
        orders.SubmitOrder(order=leave, reply_to=NAME, permit=None, held_qty=Qty(0), parts=parts_out)
    ]
    assert timers(talk)["joint"] == rules.exits.stop_tier_quote_ms / 1_000


def test_a_profit_waits_longer_at_the_touch_than_a_loss_and_keeps_its_reason_leg_by_leg() -> None:
    talk = CondorTalk(profit_share=0.5)
    talk.hold()
    talk.leg(CALL, 2, average=700, unrealised=30_000)
    talk.join(400, 750, 500, 1_100, is_out=True)
    assert timers(talk)["joint"] == settings().exits.tier_quote_ms / 1_000
    out = talk.wait(timers(talk)["joint"])
    assert {told.reason for told in out.told(positions.FlattenPosition)} == {ExitReason.TAKE_PROFIT}
    assert out.recipients(positions.FlattenPosition) == ["position:paper:12", "position:paper:14"]


@pytest.mark.parametrize("n", range(4))
def test_the_loss_of_each_leg_counts_once(n: int) -> None:
    for loss, state in ((WIDE_LOSS, SagaState.HELD), (WIDE_LOSS + 1, SagaState.LEAVING)):
        talk = CondorTalk()
        talk.hold()
        talk.leg(CONDOR[n], 2, unrealised=-loss)
        assert known(talk.state.saga).state is state


@pytest.mark.parametrize(("average", "is_out"), [(125, False), (126, True)])
def test_a_bought_leg_without_a_price_counts_at_all_that_was_paid_for_it(average: int, is_out: bool) -> None:
    talk = CondorTalk(CALL_WING, CALL)
    talk.hold()
    talk.leg(CALL_WING, 2, average=average)
    talk.now = Utc(talk.now + 61 * SECOND)
    out = talk.leg(CALL, 2, average=700)
    wanted = [positions.FlattenPosition(reason=ExitReason.BLIND)] if is_out else []
    assert out.told(positions.FlattenPosition) == wanted


# -- started again ----------------------------------------------------------------------------------


def test_what_the_ledger_gives_back_of_each_leg_is_its_own() -> None:
    talk = CondorTalk()
    talk.restored((2, 1), (2, 0), (1, 1), (0, 0))
    legs = known(talk.state.saga).legs
    assert [(one.qty, one.ordered, one.held, one.was_held, one.entry.value, one.is_flat) for one in legs] == [
        (2, 2, 1, True, "over", False), (2, 2, 0, True, "over", False),
        (2, 2, 1, True, "working", False), (2, 2, 0, False, "working", False),
    ]  # fmt: skip
    ended = [talk.reservation(one, is_live=False, opened=1) for one in CONDOR]
    talk.restart(replace(talk.known(ended[0], ended[1]), ratio=1, further=tuple(ended[2:])))
    assert {(one.entry.value, one.is_flat) for one in known(talk.state.saga).legs} == {("over", True)}


def test_what_is_less_than_was_reserved_is_unwound_though_it_covers_what_is_short() -> None:
    talk = CondorTalk(replace(COVER, order=replace(COVER.order, qty=Qty(2))), SHORT)
    assert talk.restored((1, 1), (10, 10), ratio=10).recipients(positions.FlattenPosition) == [SHORT_ADDRESS]
    assert not talk.restored((2, 2), (10, 10), ratio=10).told(positions.FlattenPosition)


def test_the_timers_of_one_that_is_started_again() -> None:
    talk = SpreadTalk()
    last_call = (LAST_CALL - talk.now) / SECOND
    talk.restart(talk.known(talk.reservation(COVER, opened=1, held=1), talk.reservation(SHORT, opened=10, held=10)))
    assert timers(talk) == {"check": 10, "last_call": last_call}
    talk.restart(talk.known(talk.reservation(COVER), talk.reservation(SHORT)))
    assert timers(talk) == {"check": 10, "last_call": last_call, "restored": 5}
    talk.open()
    assert timers(talk) == {"check": 10, "last_call": last_call}
