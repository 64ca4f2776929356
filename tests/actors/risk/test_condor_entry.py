"""The risk actor and an iron condor: four legs asked about, judged and reserved as one order, or denied."""

from __future__ import annotations

from typing import Any, Self

import pytest
from msgspec.structs import replace

from domain.instants import SECOND
from domain.instruments import Contract, Quote, Right, Side
from domain.orders.combo import COMBO_CON_ID
from domain.orders.intent import Intent
from domain.orders.references import intent_id
from domain.risk.reject import RejectCode
from domain.signals import spread
from domain.units import Qty, Ticks
from messages import entries, market, orders, signals, structures
from tests.actors.risk.test_structure_entry import SPX, SpreadTalk, spread_settings
from tests.testkit.desk_world import BUCKET, DAY, NOW

SETTINGS = spread_settings(
    combination="iron condor", spx_contracts_per_spread=2, min_entry_credit=0, max_position_loss=3_000,
    spx_spread_max_ticks=50,
)  # fmt: skip
STRIKES = (602_000, 601_000, 598_000, 599_000)
CONTRACTS = tuple(
    Contract(11 + n, "SPX", "SPXW", DAY, Ticks(strike), Right.CALL if n < 2 else Right.PUT)
    for n, strike in enumerate(STRIKES)
)
QUOTES = ((500, 520), (800, 820), (400, 420), (700, 720))
KEY = spread.key_of(BUCKET, "IRON_CONDOR")


class CondorTalk(SpreadTalk):
    """A desk that trades iron condors."""

    def __init__(self, *, takes_combos: bool = True) -> None:
        super().__init__(SETTINGS)
        actor: Any = self.actor
        actor.rules = replace(actor.rules, takes_combos=takes_combos)
        view = self.state.view
        promoted = (*(view.promoted or ()), (spread.SOURCE, "IRON_CONDOR", spread.VERSION))
        self.state.view = replace(view, promoted=promoted)

    def raise_(self, **changes: Any) -> Self:
        intent = Intent(
            intent_id=intent_id(KEY.alert_id, spread.SOURCE), key=KEY, strategy=spread.SOURCE, direction=1,
            plan=spread.plan_of([Ticks(strike) for strike in STRIKES], SETTINGS.spread), is_shadow=False,
            raised_utc=NOW, expires_utc=NOW + 60 * SECOND,
        )  # fmt: skip
        return self.hear(signals.SignalRaised(intent=replace(intent, **changes)))

    def quotes(self, *quotes: tuple[int, int]) -> Self:
        for asked in self.told(market.RequestStrike)[-4:]:
            n = [(c.strike_ticks, c.right) for c in CONTRACTS].index((asked.strike_ticks, asked.right))
            bid, ask = (quotes or QUOTES)[n]
            quote = Quote(CONTRACTS[n].con_id, Ticks(bid), Ticks(ask), Qty(50), Qty(50), self.now)
            spot = replace(SPX, at_utc=self.now)
            self.hear(market.QuoteRead(request_id=asked.request_id, contract=CONTRACTS[n], quote=quote, spot=spot))
        return self


def test_the_broker_is_asked_about_all_four_legs_as_one_order() -> None:
    talk = CondorTalk().raise_().quotes()
    (asked,) = talk.told(orders.RequestWhatIf, "ibkr")
    assert [(leg.contract, leg.side, leg.ratio) for leg in asked.legs] == [
        (contract, Side.SELL if n % 2 else Side.BUY, 1) for n, contract in enumerate(CONTRACTS)
    ]
    assert (asked.order.contract.con_id, asked.order.qty, asked.order.limit_ticks) == (COMBO_CON_ID, 2, -560)
    assert not talk.told(entries.ReserveEntry)


def test_all_four_are_reserved_at_once_with_their_worst_loss_and_handed_over() -> None:
    talk = CondorTalk().raise_().quotes().margin(0).quotes().reserve()
    (asked,) = talk.told(entries.ReserveEntry, "desk_ledger")
    assert [leg.contract for leg in asked.legs] == list(CONTRACTS)
    assert asked.is_combo
    (opened,) = talk.told(structures.OpenStructure)
    assert [opened.cover.order.contract, opened.short.order.contract] == list(CONTRACTS[:2])
    assert [leg.order.contract for leg in opened.further] == list(CONTRACTS[2:])
    assert [leg.ref.direction for leg in (opened.cover, opened.short, *opened.further)] == [1, -1, -1, 1]
    assert (opened.is_combo, opened.ratio) == (True, 1)
    set_aside = [v.finding for v in asked.verdicts if "one order" in v.finding.looked_at][-1]
    assert set_aside.measured == opened.terms.worst_cents + opened.terms.fees_cents
    assert opened.terms.worst_cents == 2 * (1_000 - 560) * 100 + opened.terms.fees_cents
    assert len([holding for holding in talk.state.view.holdings if holding.is_pending]) == 4


def test_where_the_broker_takes_no_combination_it_is_refused_before_anything_is_asked() -> None:
    talk = CondorTalk(takes_combos=False).raise_()
    assert talk.code is RejectCode.MISSING_INPUT
    assert "combo order" in talk.told(entries.RecordDenial)[-1].verdicts[-1].finding.looked_at
    assert not talk.told(market.RequestStrike)
    assert not talk.told(orders.RequestWhatIf)


@pytest.mark.parametrize(
    ("quotes", "code"),
    [
        ((*QUOTES[:3], (100, 104)), RejectCode.STRUCTURE_TERMS),
        ((*QUOTES[:2], (420, 400), QUOTES[3]), RejectCode.CROSSED_MARKET),
        ((*QUOTES[:3], (0, 720)), RejectCode.EMPTY_MARKET),
    ],
)
def test_a_put_is_judged_as_a_call_is(quotes: tuple[tuple[int, int], ...], code: RejectCode) -> None:
    talk = CondorTalk().raise_().quotes(*quotes)
    assert talk.code is code
    assert not talk.told(entries.ReserveEntry)


def test_a_margin_that_the_account_does_not_carry_refuses_it() -> None:
    talk = CondorTalk().raise_().quotes().margin(9_000_000_000)
    assert talk.code is RejectCode.BUYING_POWER


def test_a_plan_with_a_naked_put_is_refused() -> None:
    plan = spread.plan_of([Ticks(strike) for strike in STRIKES], SETTINGS.spread)
    naked = replace(plan, legs=(*plan.legs[:2], plan.legs[3], plan.legs[3]))
    assert CondorTalk().raise_(plan=naked).code is RejectCode.NAKED_SHORT
