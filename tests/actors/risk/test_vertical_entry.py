"""The risk actor and a vertical: asked about, reserved and handed over as one order, where the broker takes that."""

from __future__ import annotations

from typing import Any, Self

import pytest
from msgspec.structs import replace

from domain.instants import SECOND
from domain.instruments import Contract, Quote, Right, Side
from domain.orders.combo import COMBO_CON_ID, ComboLeg
from domain.orders.intent import Intent
from domain.orders.references import intent_id
from domain.risk.reject import RejectCode
from domain.signals import spread
from domain.units import Qty, Ticks
from messages import entries, market, orders, signals, structures
from tests.actors.risk.test_structure_entry import SPX, SpreadTalk, spread_settings
from tests.testkit.desk_world import BUCKET, DAY, NOW

SETTINGS = spread_settings(
    vertical_width=10, spx_contracts_per_spread=2, min_entry_credit=0, max_position_loss=3_000, spx_spread_max_ticks=50
)
BOUGHT = Contract(11, "SPX", "SPXW", DAY, Ticks(601_000), Right.CALL)
SOLD = Contract(33, "SPX", "SPXW", DAY, Ticks(600_000), Right.CALL)
LEGS = (ComboLeg(BOUGHT, Side.BUY), ComboLeg(SOLD, Side.SELL))
KEY = spread.key_of(BUCKET, spread.VERTICAL)


class VerticalTalk(SpreadTalk):
    """A desk that trades verticals."""

    def __init__(self, *, takes_combos: bool = True) -> None:
        super().__init__(SETTINGS)
        actor: Any = self.actor
        actor.rules = replace(actor.rules, takes_combos=takes_combos)
        view = self.state.view
        promoted = (*(view.promoted or ()), (spread.SOURCE, spread.VERTICAL, spread.VERSION))
        self.state.view = replace(view, promoted=promoted)

    def raise_(self, **changes: Any) -> Self:
        intent = Intent(
            intent_id=intent_id(KEY.alert_id, spread.SOURCE), key=KEY, strategy=spread.SOURCE, direction=1,
            plan=spread.plan_of((Ticks(601_000), Ticks(600_000)), SETTINGS.spread), is_shadow=False, raised_utc=NOW,
            expires_utc=NOW + 60 * SECOND,
        )  # fmt: skip
        return self.hear(signals.SignalRaised(intent=replace(intent, **changes)))

    def quotes(self, bought: tuple[int, int] = (1_500, 1_520), sold: tuple[int, int] = (2_000, 2_030)) -> Self:
        for asked in self.told(market.RequestStrike)[-2:]:
            contract, (bid, ask) = (BOUGHT, bought) if asked.strike_ticks == BOUGHT.strike_ticks else (SOLD, sold)
            quote = Quote(contract.con_id, Ticks(bid), Ticks(ask), Qty(50), Qty(50), self.now)
            self.hear(
                market.QuoteRead(
                    request_id=asked.request_id, contract=contract, quote=quote, spot=replace(SPX, at_utc=self.now)
                )
            )
        return self


def test_the_broker_is_asked_about_both_legs_as_one_order_before_anything_is_reserved() -> None:
    talk = VerticalTalk().raise_().quotes()
    (asked,) = talk.told(orders.RequestWhatIf, "ibkr")
    assert (asked.legs, asked.order.contract.con_id, asked.order.side) == (LEGS, COMBO_CON_ID, Side.BUY)
    assert (asked.order.qty, asked.order.limit_ticks) == (2, 1_520 - 2_000)
    assert not talk.told(entries.ReserveEntry)


def test_both_are_reserved_at_once_and_handed_over_as_one_order() -> None:
    talk = VerticalTalk().raise_().quotes().margin(104_000).quotes().reserve()
    (asked,) = talk.told(entries.ReserveEntry, "desk_ledger")
    assert [(leg.contract, leg.side, leg.qty) for leg in asked.legs] == [(BOUGHT, Side.BUY, 2), (SOLD, Side.SELL, 2)]
    assert asked.is_combo
    (opened,) = talk.told(structures.OpenStructure)
    assert (opened.is_combo, opened.ratio) == (True, 1)


@pytest.mark.parametrize("margin", [0, 104_000])
def test_what_is_set_aside_is_the_brokers_figure_or_the_worst_loss_where_it_is_more(margin: int) -> None:
    talk = VerticalTalk().raise_().quotes().margin(margin)
    talk.quotes().reserve()
    (opened,) = talk.told(structures.OpenStructure)
    terms = opened.terms
    verdicts = [
        v for ask in talk.told(entries.ReserveEntry) for v in ask.verdicts if "one order" in v.finding.looked_at
    ]
    assert verdicts[-1].finding.measured == max(margin, terms.worst_cents) + terms.fees_cents


def test_a_margin_that_the_account_does_not_carry_refuses_it() -> None:
    talk = VerticalTalk().raise_().quotes().margin(9_000_000_000)
    assert talk.code is RejectCode.BUYING_POWER
    assert not talk.told(entries.ReserveEntry)


def test_where_the_broker_takes_no_combination_the_legs_go_one_by_one_the_bought_one_first() -> None:
    talk = VerticalTalk(takes_combos=False).raise_().quotes()
    (asked,) = talk.told(orders.RequestWhatIf, "ibkr")
    assert (asked.legs, asked.order.contract, asked.order.side) == ((), SOLD, Side.SELL)
    talk.margin(1_000_000).quotes().reserve()
    (reserved,) = talk.told(entries.ReserveEntry)
    (opened,) = talk.told(structures.OpenStructure)
    assert (reserved.is_combo, opened.is_combo, opened.ratio) == (False, False, 1)


def test_a_spread_of_two_underlyings_is_never_one_order() -> None:
    talk = SpreadTalk().open()
    assert not talk.told(structures.OpenStructure)[0].is_combo
