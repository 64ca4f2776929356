"""A structure's actor with four legs: an iron condor in as one order, out as one, and leg by leg where that fails."""

from __future__ import annotations

from typing import Final

import pytest

from domain.instants import MINUTE, SECOND
from domain.instruments import Contract, Right, Side, Spot
from domain.orders.references import exit_ref
from domain.position.cycle import ExitReason
from domain.structure.rules import Combination
from domain.structure.saga import SagaState
from domain.units import Qty, Ticks, Utc
from messages import entries, market, operator, orders, positions, restored, risk, structures
from tests.testkit.narrow import known
from tests.testkit.probe import Outbox
from tests.testkit.spread_world import CLOSE, DAY, STRUCTURE, TERMS, SpreadTalk, leg

CONTRACTS: Final = tuple(
    Contract(11 + n, "SPX", "SPXW", DAY, Ticks(strike), Right.CALL if n < 2 else Right.PUT)
    for n, strike in enumerate((602_500, 601_500, 597_500, 598_500))
)
LIMITS: Final = (420, 700, 310, 600)
LEGS: Final = tuple(
    leg(n, contract, Side.SELL if n % 2 else Side.BUY, 2, limit)
    for n, (contract, limit) in enumerate(zip(CONTRACTS, LIMITS, strict=True))
)
AT: Final = [f"position:paper:{contract.con_id}" for contract in CONTRACTS]
COVERS, SHORTS = AT[::2], AT[1::2]


class Talk(SpreadTalk):
    """One iron condor; the tests play its four positions."""

    def __init__(self, **rules: object) -> None:
        more = {"is_on": True, "combination": Combination.IRON_CONDOR.value} | rules
        super().__init__({"spread": more})

    def open_condor(self) -> Outbox:
        return self.feed(
            structures.OpenStructure(
                structure_id=STRUCTURE, cover=LEGS[0], short=LEGS[1], ratio=1, terms=TERMS, permit=self.permit(),
                deadline_utc=Utc(self.now + 30 * SECOND), is_combo=True, further=LEGS[2:],
            )
        )  # fmt: skip

    def join(self, n: int, qty: int, ref: str, ticks: int, *, is_entry_over: bool) -> Outbox:
        return self.feed(
            positions.LegChanged(
                ref=LEGS[n].ref, qty=Qty(qty), average_ticks=None, is_entry_over=is_entry_over, is_flat=False,
                exit_reason=None, is_free=False, realised_cents=0, fees_cents=0, unrealised_cents=0, at_utc=self.now,
                mark_utc=self.now, joint_ref=ref, joint_ticks=Ticks(ticks),
            )
        )  # fmt: skip

    def join_entry(self) -> list[orders.SubmitOrder]:
        """Let all legs take part; return what each of them brought about."""
        outs = [self.join(n, 0, LEGS[n].order.order_ref, LIMITS[n], is_entry_over=False) for n in range(4)]
        return [sent for out in outs for sent in out.told(orders.SubmitOrder)]

    def join_exit(self, *touches: int) -> list[orders.SubmitOrder]:
        outs = [
            self.join(n, 2, exit_ref(LEGS[n].ref.position_id, 1), ticks, is_entry_over=True)
            for n, ticks in enumerate(touches)
        ]
        return [sent for out in outs for sent in out.told(orders.SubmitOrder)]

    def hold_condor(self) -> None:
        self.open_condor()
        self.join_entry()
        for n in range(4):
            self.leg(LEGS[n], 2, average=LIMITS[n])

    def spx(self, price: int) -> Outbox:
        return self.feed(market.SpotsChanged(spots=(Spot("SPX", Ticks(price), self.now),)))

    @property
    def stands(self) -> SagaState:
        return known(self.state.saga).state


def flattened(outbox: Outbox) -> list[str]:
    return outbox.recipients(positions.FlattenPosition)


def test_one_order_of_four_legs_goes_out_when_all_take_part() -> None:
    talk = Talk()
    asked = talk.open_condor()
    assert sorted(asked.recipients(entries.OpenPosition)) == AT
    assert not asked.told(orders.SubmitOrder)
    (sent,) = talk.join_entry()
    assert (sent.order.side, sent.order.qty, sent.order.limit_ticks) == (Side.BUY, 2, 420 - 700 + 310 - 600)
    assert [(part.order_ref, part.owner, part.leg.side, part.leg.ratio) for part in sent.parts] == [
        (one.order.order_ref, at, one.order.side, 1) for one, at in zip(LEGS, AT, strict=True)
    ]


def test_a_loss_of_the_puts_leaves_as_one_order_and_closes_when_all_are_flat() -> None:
    talk = Talk()
    talk.hold_condor()
    assert talk.stands is SagaState.HELD
    out = talk.leg(LEGS[3], 2, average=600, unrealised=-30_000)
    assert (talk.stands, sorted(out.recipients(positions.JoinExit))) == (SagaState.LEAVING, AT)
    (sent,) = talk.join_exit(400, 750, 500, 1_100)
    assert (sent.order.side, sent.order.qty, sent.order.limit_ticks) == (Side.SELL, 2, -950)
    assert [part.held_qty for part in sent.parts] == [2] * 4
    for n in range(4):
        talk.leg(LEGS[n], 0, average=LIMITS[n], is_flat=True, realised=-1_000, fees=100)
    closed = talk.sent.published(structures.StructureClosed)[-1]
    assert (closed.reason, closed.realised_cents, closed.fees_cents) == (ExitReason.POSITION_LOSS, -4_000, 400)
    assert (closed.cover_ticks, closed.short_ticks) == (730, 1_300)


def test_what_one_order_leaves_goes_leg_by_leg_all_shorts_before_any_cover() -> None:
    talk = Talk()
    talk.hold_condor()
    talk.leg(LEGS[3], 2, average=600, unrealised=-30_000)
    talk.join_exit(400, 750, 500, 1_100)
    assert flattened(talk.wait(2.1)) == SHORTS
    out = talk.leg(LEGS[1], 0, is_flat=True)
    assert not flattened(out)
    assert not out.told(positions.SetCover)
    out = talk.leg(LEGS[3], 0, is_flat=True)
    assert (flattened(out), sorted(out.recipients(positions.SetCover))) == (COVERS, COVERS)
    assert all(told.is_free for told in out.told(positions.SetCover))


@pytest.mark.parametrize("n", range(4))
def test_a_leg_that_leaves_by_itself_takes_the_other_three_along(n: int) -> None:
    talk = Talk()
    talk.hold_condor()
    talk.leg(LEGS[n], 2, is_leaving=True, reason=ExitReason.EOD)
    assert set(flattened(talk.sent)) | {AT[n]} >= set(SHORTS)
    for short in (LEGS[1], LEGS[3]):
        talk.leg(short, 0, is_flat=True)
    assert set(flattened(talk.sent)) | {AT[n]} == set(AT)


def test_a_part_that_filled_is_unwound() -> None:
    talk = Talk()
    talk.open_condor()
    talk.join_entry()
    for n in range(4):
        talk.leg(LEGS[n], 1, average=LIMITS[n])
    assert (talk.stands, flattened(talk.sent)) == (SagaState.BUYING_BACK, SHORTS)


def test_profit_the_close_and_a_short_in_the_money_take_it_out_as_one_order() -> None:
    for rules, gain, price, at_utc, reason in (
        ({"profit_share": 0.5}, 30_000, 600_000, None, ExitReason.TAKE_PROFIT),
        ({"leave_before_close_ms": 3_600_000}, 0, 600_000, CLOSE - 59 * MINUTE, ExitReason.MAX_HOLD),
        ({"in_money_before_close_ms": 3_600_000}, 0, 598_400, CLOSE - 59 * MINUTE, ExitReason.ASSIGNMENT_RISK),
    ):
        talk = Talk(**rules)
        talk.now = Utc(at_utc or talk.now)
        talk.hold_condor()
        assert talk.stands is (SagaState.LEAVING if reason is ExitReason.MAX_HOLD else SagaState.HELD)
        talk.spx(price)
        out = talk.leg(LEGS[0], 2, average=420, unrealised=gain)
        assert (talk.stands, known(talk.state.saga).reason) == (SagaState.LEAVING, reason), reason
        assert not flattened(out)


def test_a_short_without_its_own_cover_is_told_to_the_kill_switch_by_its_contract() -> None:
    talk = Talk()
    talk.hold_condor()
    talk.leg(LEGS[2], 0, is_flat=True)
    (found,) = talk.sent.published(positions.ShortFound)
    assert (found.con_id, found.qty) == (14, -2)
    talk.leg(LEGS[3], 0, is_flat=True)
    assert [(one.con_id, one.qty) for one in talk.sent.published(positions.ShortFound)][-1] == (14, 0)


def test_each_short_that_is_left_five_minutes_before_the_close_pages() -> None:
    talk = Talk()
    talk.hold_condor()
    talk.advance(Utc(CLOSE - 4 * MINUTE))
    paged = {alarm.key for alarm in talk.sent.published(operator.Alarm)}
    assert {"short_left:12", "short_left:14"} <= paged
    assert talk.sent.told(risk.RaiseKill)


@pytest.mark.parametrize(("held", "state"), [((2, 2, 2, 2), SagaState.HELD), ((2, 2, 2, 1), SagaState.BUYING_BACK)])
def test_after_a_restart_a_whole_one_is_held_on_and_another_unwound(held: tuple[int, ...], state: SagaState) -> None:
    talk = Talk()
    legs = [talk.reservation(one, opened=qty, held=qty) for one, qty in zip(LEGS, held, strict=True)]
    talk.restart(
        restored.StructureRestored(
            structure_id=STRUCTURE, cover=legs[0], short=legs[1], ratio=1, terms=TERMS, further=tuple(legs[2:])
        )
    )
    assert talk.stands is state
    assert not talk.sent.told(orders.SubmitOrder)
    assert flattened(talk.sent) == ([] if state is SagaState.HELD else SHORTS)
    if state is SagaState.HELD:  # out leg by leg from here on: nothing says that one order may close it
        talk.leg(LEGS[3], 2, average=600, unrealised=-90_000)
        for n in range(3):
            talk.leg(LEGS[n], 2, average=LIMITS[n])
        assert flattened(talk.sent) == SHORTS
