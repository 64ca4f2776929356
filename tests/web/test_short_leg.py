"""The leg of a spread that was sold to open is shown as what it is: short, and losing when its price rises."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from commands.held import holdings
from domain.instants import SECOND
from domain.instruments import DataType, Greeks, Quote, Side
from domain.units import Qty, Ticks, Utc
from storage.desk_ledger import DeskLedger
from storage.queries import LedgerReader
from storage.shared_ledger import start_run
from tests.testkit import ledger_asks as ask
from tests.testkit import web_desk as desk
from tests.testkit.spread_desk import Desk as SpreadDesk
from tests.testkit.spread_ledger import SPY, filled, held, spread
from web import desk as standing
from web import lists
from web.holdings import performance, positions
from web.ledgers import ledgers_of
from web.story import story_of
from web.view import View

GREEKS = Greeks(delta=0.5, gamma=0.02, theta=-0.3, vega=0.1, iv=0.12, underlying_ticks=Ticks(60_000), at_utc=desk.NOW)


def quote(con_id: int, ticks: int) -> Quote:
    return Quote(
        con_id=con_id, bid_ticks=Ticks(ticks - 2), ask_ticks=Ticks(ticks + 2), bid_size=9, ask_size=9, at_utc=desk.NOW,
        data_type=DataType.LIVE, greeks=GREEKS,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ledgers = tmp_path / "ledgers"
    start_run(ledgers, ("paper",), ask.T0)
    ledger = DeskLedger(ledgers, "paper", run_n=1, is_durable=False)
    ledger.open()
    ledger.apply(spread(), ask.T0)
    filled(ledger, ask.ref(1), 1, Side.BUY, 1, "a.1")
    filled(ledger, ask.ref(101), 22, Side.SELL, 10, "b.1", price_ticks=160)
    ledger.apply(ask.position(1), ask.T0)
    ledger.close()
    return tmp_path


def test_the_page_counts_it_with_its_sign(folder: Path) -> None:
    view = View(desk.settings(folder), folder, 1, None)
    view.ledgers = ledgers_of(LedgerReader(folder / "ledgers", "paper"), date.fromisoformat(str(ask.DAY)))
    view.quotes[1], view.quotes[22], view.now_utc = quote(1, 250), quote(22, 260), desk.NOW
    cover, short = positions(view)
    assert (cover.qty, cover.current_pnl, cover.entry_credit) == (1, 0.0, -250.0)
    assert (short.qty, short.current_pnl, short.entry_credit) == (-10, -1000.0, 1600.0)
    assert short.greeks is not None
    assert (short.greeks.delta, short.greeks.theta) == (-500.0, 300.0)
    assert (cover.exits, short.exits) == ([], []), "it is not known to be whole, and both close on its word"
    assert performance(view).unrealized_pnl == -1000.0


def held_whole(folder: Path) -> View:
    ledgers = folder / "held"
    start_run(ledgers, ("paper",), ask.T0)
    ledger = DeskLedger(ledgers, "paper", run_n=1, is_durable=False)
    ledger.open()
    held(ledger)
    ledger.close()
    view = View(desk.settings(folder), folder, 1, None)
    view.take(desk.NOW, desk.phase(ask.DAY, desk.NOW))
    view.ledgers = ledgers_of(LedgerReader(ledgers, "paper"), ask.DAY)
    view.quotes[1], view.quotes[22] = quote(1, 300), quote(22, 180)
    return view


def test_each_leg_of_a_spread_has_the_exits_of_the_spread(tmp_path: Path) -> None:
    view = held_whole(tmp_path)
    view.take(desk.NOW, desk.spots(602_500, desk.NOW))
    cover, short = positions(view)
    assert cover.exits == short.exits
    assert (cover.structure_id, cover.structure_pnl) == (short.structure_id, -158.0), "50 - 200 - 8 of fees"
    told = {exit_.reason: (exit_.left, exit_.pnl, exit_.level, exit_.ticker) for exit_ in short.exits}
    assert told["position_loss"] == (0.684, -500.0, None, None)
    assert told["assignment_risk"] == (0.75, None, 610.0, "SPY")
    assert short.nearest is not None
    assert short.nearest.reason == "position_loss"
    assert next(exit_.at for exit_ in short.exits if exit_.reason == "eod")


def test_what_a_spread_has_come_to_is_not_known_while_a_leg_has_no_mark(tmp_path: Path) -> None:
    view = held_whole(tmp_path)
    del view.quotes[22]
    cover, _ = positions(view)
    assert cover.structure_pnl is None
    assert [exit_.reason for exit_ in cover.exits] == ["eod"], "nor where SPY stands"


def test_delta_is_told_in_dollars_too_and_not_where_the_underlying_has_no_price(tmp_path: Path) -> None:
    view = held_whole(tmp_path)
    unpriced, _ = positions(view)
    assert unpriced.greeks is not None
    assert (unpriced.greeks.delta, unpriced.greeks.delta_dollars) == (50.0, None)
    view.take(desk.NOW, desk.spots(600_000, desk.NOW))
    assert [p.greeks.delta_dollars for p in positions(view) if p.greeks] == [300_000, -300_000]


def test_a_closed_spread_is_one_trade_and_its_short_leg_shows_what_it_brought(folder: Path) -> None:
    ledger = DeskLedger(folder / "ledgers", "paper", run_n=1, is_durable=False)
    ledger.open()
    short = ask.position_ref(1, position_id=ask.stem(101), contract=SPY, side=Side.SELL)
    late = Utc(ask.T0 + 3 * SECOND)  # the broker tells the fill's second, our clock when it was heard
    ledger.apply(ask.position(1, ref=short, opened_utc=late), ask.T0)
    for closed in (
        ask.closed(1, realised_cents=12_000, opened_qty=Qty(1), opened_utc=late),
        ask.closed(1, realised_cents=-14_000, ref=short, opened_qty=Qty(10), opened_utc=late),
    ):
        ledger.apply(closed, ask.T0)
    ledger.close()
    view = View(desk.settings(folder), folder, 1, None)
    view.ledgers = ledgers_of(LedgerReader(folder / "ledgers", "paper"), date.fromisoformat(str(ask.DAY)))
    legs = {trade.id: trade for trade in lists.trades(view, 50)}
    sold = legs[ask.stem(101)]
    assert (sold.qty, sold.entry_price, sold.entry_credit) == (-10, 1.6, 1600.0)
    assert len({trade.structure_id for trade in legs.values()}) == 1
    money = performance(view)
    assert (money.trades_count, money.wins, money.losses) == (1, 0, 1), "the spread lost 20 USD"
    assert standing.status(view).trades_today == 1


def test_the_chain_of_a_spread_says_its_terms_and_its_whole_name(tmp_path: Path) -> None:
    spread_desk = SpreadDesk(tmp_path)
    spread_desk.record_alert()
    story = story_of(LedgerReader(spread_desk.folder.ledgers, "paper"), ask.ref(1))
    assert story is not None
    assert story.title == "SPX-SPY credit spread"
    told = {step.kind: step.text for step in story.steps}
    assert told["reading"] == "SPX at 6,000.00"
    assert told["alert"].startswith("credit spread: SPX at 6000.00, credit 483.00 USD net of fees")


def test_each_leg_is_told_at_its_own_price(folder: Path) -> None:
    told = [holding.sentence for holding in holdings(LedgerReader(folder / "ledgers", "paper"))]
    assert [text.partition(" (")[0] for text in told] == ["1 SPXW 6005C at 2.50", "-10 SPY 600C at 1.60"]
