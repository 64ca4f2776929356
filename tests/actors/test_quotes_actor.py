"""The market-data actor, fed with histories of messages, and the choice of contracts behind it."""

from __future__ import annotations

import dataclasses
from datetime import date, time, timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.quotes import QuotesActor
from actors.quotes.state import QuotesState
from config.settings import Settings
from config.tree import Gateway
from domain.alarm import Severity
from domain.instants import MINUTE, MS, SECOND, at_exchange
from domain.instruments import Contract, DataType, Greeks, Quote, Right, Spot
from domain.options import black_scholes
from domain.options import contract_choice as choice
from domain.session.modes import AccountClass
from domain.session.phases import Phase
from domain.units import Ticks
from messages import broker, session
from messages import market as m
from messages.base import Event, Message
from messages.operator import Alarm
from tests.testkit import ibkr_world
from tests.testkit.probe import Outbox, Probe

T = TypeVar("T", bound=Message)
E = TypeVar("E", bound=Event)
TODAY = date(2026, 11, 20)
NOON, CLOSE = at_exchange(TODAY, time(12)), at_exchange(TODAY, time(16))
STRIKES = tuple(Ticks(strike) for strike in range(590_000, 611_000, 500))
CHAIN = tuple(
    Contract(1_000 + 2 * i + j, "SPX", "SPXW", TODAY, strike, right)
    for i, strike in enumerate(STRIKES)
    for j, right in enumerate(Right)
)
ATM = next(c for c in CHAIN if c.strike_ticks == 600_000 and c.right is Right.CALL)
FAR = next(c for c in CHAIN if c.strike_ticks == 590_000 and c.right is Right.CALL)
LISTED = choice.chain_of(CHAIN)
SETTINGS = ibkr_world.SETTINGS.model_copy(update={"lanes": {"gexwatch": ("SPX",), "advisor": ("QQQ",)}})
TWO_GATEWAYS = SETTINGS.model_copy(
    update={"broker": dataclasses.replace(SETTINGS.broker, gateways=(Gateway("a", 4002), Gateway("b", 4002)))}
)
SPOT = Spot("SPX", 600_050, NOON)


def quote(contract: Contract, at_utc: int = NOON, *, delta: float | None = None, bid: int = 500, ask: int = 510,
          volume: int = 10, greeks_utc: int | None = None) -> Quote:  # fmt: skip
    greeks = None
    if delta is not None:
        greeks = Greeks(0.15, delta, 0.004, -30.0, 1.2, 600_050, at_utc if greeks_utc is None else greeks_utc)
    return Quote(contract.con_id, bid, ask, 10, 10, at_utc, DataType.LIVE, volume, greeks)


Hours = tuple[tuple[int, int], ...] | None


class History:
    """Feeds the actor, one message a millisecond, and remembers what it sends out."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        self.probe: Probe[QuotesState] = Probe(QuotesActor("quotes:paper", settings), NOON)

    def feed(self, *messages: Message) -> Outbox:
        at = len(self.probe.sent.effects)
        for message in messages:
            self.probe.feed(message, self.probe.now + MS)
        return Outbox(self.probe.sent.effects[at:])

    def sleep(self, seconds: float) -> Outbox:
        return self.probe.advance(self.probe.now + int(seconds * SECOND))

    def told(self, kind: type[T]) -> list[T]:
        return self.probe.sent.told(kind)

    def published(self, kind: type[E]) -> list[E]:
        return self.probe.sent.published(kind)

    @property
    def state(self) -> QuotesState:
        return self.probe.state

    @property
    def now(self) -> int:
        return self.probe.now

    @property
    def epoch(self) -> int:
        return self.state.session_epoch

    def up(self) -> History:
        self.probe.start()
        self.feed(
            session.PhaseChanged(
                phase=Phase.ENTRY, session=TODAY, open_utc=NOON - 150 * MINUTE, close_utc=CLOSE, at_utc=NOON
            )
        )
        return self.link_up()

    def link_up(self) -> History:
        self.feed(broker.LinkUp(session_epoch=self.epoch, gateway_n=0, port=4002, account_class=AccountClass.PAPER,
                           account_matches=True, next_order_id=1))  # fmt: skip
        return self

    def listed(self, chain: tuple[Contract, ...] = CHAIN, ticker: str = "SPX", hours: Hours = None) -> History:
        self.feed(m.ChainListed(session_epoch=self.epoch, ticker=ticker, contracts=chain, underlying_con_id=1,
                                hours=hours))  # fmt: skip
        return self

    def arrived(self, *quotes: Quote, spots: tuple[Spot, ...] = ()) -> Outbox:
        return self.feed(m.QuotesArrived(session_epoch=self.epoch, quotes=quotes, spots=spots))

    def live(self) -> History:
        self.up().listed().arrived(spots=(SPOT,))
        return self

    def wish(self, ticker: str = "SPX", right: Right = Right.CALL) -> Outbox:
        return self.feed(m.RequestContracts(request_id="r", reply_to="risk:paper", ticker=ticker, right=right,
                                            expires_utc=self.now + SECOND))  # fmt: skip

    def offered(self, right: Right = Right.CALL) -> m.ContractsOffered:
        self.wish(right=right)
        return self.told(m.ContractsOffered)[-1]

    def request(self, contract: Contract = ATM, newer_than_utc: int | None = None) -> Outbox:
        newer = self.now if newer_than_utc is None else newer_than_utc
        return self.feed(m.RequestQuote(request_id="q", reply_to="risk:paper", con_id=contract.con_id,
                                        newer_than_utc=newer, expires_utc=self.now + SECOND))  # fmt: skip


def test_link_up_subscribes_underlyings_and_lists_the_lanes_chains_of_today() -> None:
    h = History().up()
    (spots,) = h.told(m.Subscribe)
    assert {"SPX", "SPY", "VIX"} <= set(spots.tickers)
    assert [(c.ticker, c.trading_class, c.expiry) for c in h.told(m.ListChain)] == [
        ("SPX", "SPXW", TODAY), ("QQQ", "QQQ", TODAY),
    ]  # fmt: skip


def test_window_of_the_index_is_ten_strikes_each_side_within_the_line_budget() -> None:
    h = History().live()
    strikes = sorted({c.strike_ticks for c in h.state.lines.values()})
    assert (strikes[0], strikes[-1], len(strikes)) == (595_000, 605_000, 21)
    assert len(h.state.lines) == 42
    assert len(h.state.lines) + len(h.told(m.Subscribe)[0].tickers) <= SETTINGS.connection.lines_max


def test_window_moves_with_the_market_and_drops_what_it_leaves_but_never_a_held_contract() -> None:
    h = History().live()
    h.feed(m.WatchContract(contract=FAR))
    low = next(c for c in CHAIN if c.strike_ticks == 595_000)
    told = h.arrived(spots=(Spot("SPX", 602_000, h.now),))
    (gone,) = told.told(m.Unsubscribe)
    assert low.con_id in gone.con_ids
    assert FAR.con_id in h.state.lines
    assert max(c.strike_ticks for c in h.state.lines.values()) == 607_000


def test_small_moves_leave_the_lines_alone() -> None:
    h = History().live()
    told = h.arrived(spots=(Spot("SPX", 600_900, h.now),))
    assert not told.messages[1:]  # the spot itself


def test_held_contract_gets_every_change_of_its_quote_and_of_its_underlying() -> None:
    h = History().live()
    h.feed(m.WatchContract(contract=ATM))
    assert ATM.con_id in h.told(m.WatchClosely)[-1].con_ids
    h.arrived(quote(ATM))
    h.arrived(spots=(Spot("SPX", 600_060, NOON),))
    changes = h.published(m.QuoteChanged)
    assert [(c.quote.bid_ticks, c.spot and c.spot.price_ticks) for c in changes] == [(500, 600_050), (500, 600_060)]
    h.feed(m.UnwatchContract(con_id=ATM.con_id))
    assert not h.arrived(quote(ATM)).published(m.QuoteChanged)


def test_spots_are_published_as_they_arrive() -> None:
    h = History().live()
    assert [change.spots for change in h.published(m.SpotsChanged)] == [(SPOT,)]


def test_contract_that_is_watched_twice_is_published_once_and_unwatched_at_once() -> None:
    h = History().live()
    h.feed(m.WatchContract(contract=ATM), m.WatchContract(contract=ATM))
    assert len(h.arrived(quote(ATM)).published(m.QuoteChanged)) == 1
    h.feed(m.UnwatchContract(con_id=ATM.con_id))
    assert not h.arrived(quote(ATM)).messages


def test_a_contract_of_the_window_keeps_its_line_when_unwatched_and_what_was_refused_is_tried_again() -> None:
    h, other = History().live(), CHAIN[-1]
    window = {contract.con_id for contract in h.state.windows["SPX"]}
    assert ATM.con_id in window and other.con_id not in window
    h.feed(m.WatchContract(contract=ATM), m.WatchContract(contract=other))
    released = h.feed(m.UnwatchContract(con_id=ATM.con_id)).messages
    assert [type(message) for message in released] == [m.WatchClosely]
    (gone,) = h.feed(m.UnwatchContract(con_id=other.con_id)).told(m.Unsubscribe)
    assert gone.con_ids == (other.con_id,)
    h.feed(m.WatchContract(contract=ATM))
    refused = next(con_id for con_id in sorted(window) if con_id != ATM.con_id)
    h.feed(m.LinesRefused(session_epoch=h.epoch, con_ids=(refused,), vendor_code=101))
    (again,) = h.feed(m.UnwatchContract(con_id=ATM.con_id)).told(m.Subscribe)
    assert [contract.con_id for contract in again.contracts] == [refused]


def test_newest_quote_of_a_contract_is_published_as_soon_as_it_is_watched() -> None:
    h = History().live()
    h.arrived(quote(ATM))
    (change,) = h.feed(m.WatchContract(contract=ATM)).published(m.QuoteChanged)
    assert (change.con_id, change.quote) == (ATM.con_id, quote(ATM))


def test_candidates_are_in_the_band_nearest_to_half_first_then_spread_then_volume() -> None:
    h = History().live()
    calls = [c for c in CHAIN if c.right is Right.CALL and 598_000 <= c.strike_ticks <= 602_000]
    deltas = (0.70, 0.60, 0.55, 0.52, 0.50, 0.48, 0.40, 0.34, 0.30)
    h.arrived(*(quote(c, delta=d) for c, d in zip(calls, deltas, strict=True)))
    offered = h.offered()
    assert [q.greeks.delta for _, q in offered.quotes if q.greeks is not None] == [0.50, 0.52, 0.48]
    assert offered.spot == SPOT
    h.arrived(quote(calls[5], delta=0.48, volume=99))  # as far from 0.50 as 0.52, same spread, more volume
    assert [q.greeks.delta for _, q in h.offered().quotes if q.greeks is not None] == [0.50, 0.48, 0.52]


def test_stale_model_greeks_are_replaced_by_our_own_from_the_mid() -> None:
    h = History().live()
    years = float(black_scholes.years_of((CLOSE - NOON) / MINUTE))
    price = float(black_scholes.values(6000.5, 6000.0, years, 0.2, True).price)
    ticks = round(price * 100)
    h.arrived(quote(ATM, delta=0.99, bid=ticks - 5, ask=ticks + 5, greeks_utc=NOON - 6 * SECOND))
    ((_, offered),) = h.offered().quotes
    assert offered.greeks is not None
    assert offered.greeks.source == "own"
    assert offered.greeks.iv == pytest.approx(0.2, abs=0.002)
    assert offered.greeks.delta == pytest.approx(0.51, abs=0.02)


@pytest.mark.parametrize(
    ("prepare", "why"),
    [
        (lambda h: h.up(), "not listed"),
        (lambda h: h.up().listed(()), "expires today"),
        (lambda h: h.live(), "no SPX C quoted"),
        (lambda h: h.live().feed(broker.LinkLost(session_epoch=h.epoch, cause="x")), "no market-data session"),
    ],
)
def test_offer_without_a_candidate_says_why(prepare: Any, why: str) -> None:
    h = History()
    prepare(h)
    offered = h.offered()
    assert offered.quotes == ()
    assert offered.why is not None
    assert why in offered.why


def test_request_with_a_newer_quote_in_hand_is_answered_at_once() -> None:
    h = History().live()
    h.arrived(quote(ATM, h.now))
    told = h.request(newer_than_utc=h.now - SECOND)
    assert [type(message) for message in told.messages] == [m.QuoteRead]
    assert told.recipients(m.QuoteRead) == ["risk:paper"]


def test_request_waits_for_a_fresh_tick_and_watches_the_contract_meanwhile() -> None:
    h = History().live()
    h.arrived(quote(ATM, h.now - SECOND))
    h.request()
    assert ATM.con_id in h.told(m.WatchClosely)[-1].con_ids
    assert not h.told(m.QuoteRead)
    h.arrived(quote(ATM, h.now + MS))
    assert h.told(m.QuoteRead)[0].contract == ATM
    assert not h.sleep(2).messages
    assert ATM.con_id not in h.told(m.WatchClosely)[-1].con_ids


def test_quiet_market_is_subscribed_again_halfway_and_then_said_to_be_unavailable() -> None:
    h = History().live()
    old = quote(ATM, h.now - SECOND)
    h.arrived(old)
    h.request()
    again = h.sleep(0.6)
    assert [type(message) for message in again.messages] == [m.Unsubscribe, m.Subscribe]
    h.sleep(0.5)
    assert h.told(m.QuoteUnavailable)[0].last == old


def test_request_for_a_contract_that_nobody_listed_is_refused() -> None:
    h = History().live()
    h.feed(
        m.RequestQuote(request_id="q", reply_to="risk:paper", con_id=5, newer_than_utc=0, expires_utc=h.now + SECOND)
    )
    assert "unknown" in h.told(m.QuoteUnavailable)[0].why


def test_reconnect_subscribes_held_contracts_and_the_window_again() -> None:
    h = History().live()
    h.feed(m.WatchContract(contract=FAR))
    lines = set(h.state.lines)
    h.feed(broker.LinkLost(session_epoch=h.epoch, cause="closed"))
    h.sleep(0.6)
    h.probe.sent = Outbox([])
    h.link_up()
    again = {c.con_id for sub in h.told(m.Subscribe) for c in sub.contracts}
    assert again == lines
    assert h.told(m.WatchClosely)[0].con_ids == (FAR.con_id,)
    assert [c.ticker for c in h.told(m.ListChain)] == ["QQQ"]


@pytest.mark.parametrize("is_lost", [True, False])
def test_1101_subscribes_again_and_1102_does_not(is_lost: bool) -> None:
    h = History().live()
    h.feed(broker.LinkLost(session_epoch=h.epoch, cause="1100", is_socket_up=True))
    told = h.feed(broker.LinkRestored(session_epoch=h.epoch, data_lost=is_lost))
    assert bool(told.told(m.Subscribe)) is is_lost


def test_new_session_lists_its_own_chain_and_forgets_the_old_one() -> None:
    h = History().live()
    h.probe.sent = Outbox([])
    monday = date(2026, 11, 23)
    h.feed(session.PhaseChanged(phase=Phase.PRE, session=monday, open_utc=0, close_utc=1, at_utc=h.now))
    assert {c.expiry for c in h.told(m.ListChain)} == {monday}
    assert not h.state.lines


def test_failed_chain_is_asked_for_again_and_paged() -> None:
    h = History().up()
    h.feed(m.ChainFailed(session_epoch=h.epoch, ticker="SPX", why="timed out"))
    assert "timed out" in h.published(Alarm)[0].text
    assert [command.ticker for command in h.sleep(6).told(m.ListChain)] == ["SPX"]


def test_refused_line_of_a_held_contract_is_paged_and_others_are_not() -> None:
    h = History().live()
    h.feed(m.WatchContract(contract=ATM))
    other = next(c for c in CHAIN if c.con_id != ATM.con_id and c.con_id in h.state.lines)
    assert not h.feed(m.LinesRefused(session_epoch=h.epoch, con_ids=(other.con_id,), vendor_code=101)).messages
    assert h.feed(m.LinesRefused(session_epoch=h.epoch, con_ids=(ATM.con_id,), vendor_code=101)).published(Alarm)


def test_quotes_of_an_older_session_are_void() -> None:
    h = History().live()
    h.feed(m.QuotesArrived(session_epoch=h.epoch - 1, quotes=(quote(ATM),), spots=()))
    assert not h.state.quotes


@given(held=st.integers(0, 40), lines=st.integers(0, 80))
def test_line_plan_keeps_the_budget_and_never_drops_what_is_held(held: int, lines: int) -> None:
    mine = CHAIN[:held]
    windows = {str(start): CHAIN[start : start + 14] for start in (0, 20, 60)}
    plan, without = choice.line_plan(mine, windows, lines)
    assert {c.con_id for c in mine} <= plan.keys()
    assert len(plan) <= max(held, lines)
    for name, chosen in windows.items():  # each whole or not at all
        assert ({c.con_id for c in chosen} <= plan.keys()) is (name not in without)


@given(st.lists(st.integers(589_000, 611_000), min_size=1))
def test_window_always_holds_the_strikes_next_to_the_money(prices: list[int]) -> None:
    centre: Ticks | None = None
    for price in map(Ticks, prices):
        centre = choice.centre(STRIKES, price, centre, 10)
        inside = {c.strike_ticks for c in choice.window(LISTED, centre, 10)}
        assert STRIKES[choice.nearest(STRIKES, price)] in inside


def test_errors_of_the_market_data_are_told_to_people_and_farm_notices_are_not() -> None:
    h = History().live()
    told = h.feed(broker.ErrorReported(session_epoch=h.epoch, order_ref=None, vendor_code=354, text="not subscribed"))
    assert [alarm.text for alarm in told.published(Alarm)] == ["not subscribed"]
    assert not h.feed(broker.FarmNotice(session_epoch=h.epoch, vendor_code=2103, text="broken")).messages


def test_unanswered_dial_is_dialled_again_with_a_new_epoch_and_facts_of_the_old_one_are_void() -> None:
    h = History()
    h.probe.start()
    old = h.epoch
    h.sleep(5)
    assert h.epoch > old
    up = broker.LinkUp(session_epoch=old, gateway_n=0, port=4002, account_class=AccountClass.PAPER,
                       account_matches=True, next_order_id=1)  # fmt: skip
    assert not h.feed(up).messages
    assert not h.state.link.is_up


def test_only_gateway_keeps_its_market_data_socket_through_an_outage() -> None:
    h = History().live()
    h.feed(broker.LinkLost(session_epoch=h.epoch, cause="1100", is_socket_up=True))
    assert not h.sleep(7_200).told(broker.Dial)


def test_server_link_that_stays_lost_is_left_for_another_gateway_after_the_failover_time() -> None:
    h = History(TWO_GATEWAYS).live()
    h.feed(broker.LinkLost(session_epoch=h.epoch, cause="1100", is_socket_up=True))
    assert not h.sleep(29).told(broker.Dial)
    assert len(h.sleep(2).told(broker.Dial)) == 1
    assert not h.state.lines


def test_client_id_in_use_has_its_own_pause() -> None:
    h = History()
    h.probe.start()
    h.feed(broker.LinkFailed(session_epoch=h.epoch, why="in use", vendor_code=326, is_id_in_use=True))
    assert not h.sleep(4.9).told(broker.Dial)
    assert len(h.sleep(0.2).told(broker.Dial)) == 1


# -- what is looked at on a clock ---------------------------------------------------------------


@pytest.mark.parametrize("hours", [None, (), ((NOON, CLOSE),), ((1, 2), (3, 4))])
def test_liquid_hours_of_a_chain_are_published_as_the_broker_tells_them(hours: Hours) -> None:
    h = History().up().listed(hours=hours)
    assert h.published(m.HoursRead) == [m.HoursRead(ticker="SPX", session=TODAY, hours=hours)]
    told = h.sleep(301)
    assert told.published(m.HoursRead)[0].hours == hours  # for whoever has started meanwhile


def test_chain_that_is_not_answered_is_asked_for_again() -> None:
    h = History().up()
    assert {c.ticker for c in h.sleep(20.1).told(m.ListChain)} == {"SPX", "QQQ"}


def test_median_spread_near_the_money_is_read_every_fifteen_seconds_in_regular_hours() -> None:
    h = History().live()
    near = [c for c in CHAIN if 599_000 <= c.strike_ticks <= 601_000]
    h.arrived(*(quote(c, h.now, bid=100, ask=100 + 2 * i) for i, c in enumerate(near)))
    h.arrived(quote(next(c for c in CHAIN if c.strike_ticks == 603_000), h.now, bid=1, ask=99))  # far from the money
    told = h.sleep(15.1).published(m.SpreadsRead)
    assert [(read.quoted, round(read.median or 0, 4)) for read in told] == [(10, 0.0861)]
    assert len(h.sleep(60).published(m.SpreadsRead)) == 4
    assert h.published(m.SpreadsRead)[-1].median is None  # by then all of them are old
    h.feed(session.PhaseChanged(phase=Phase.CLOSED, session=TODAY, open_utc=0, close_utc=CLOSE, at_utc=h.now))
    assert not h.sleep(60).published(m.SpreadsRead)


def test_a_quote_counts_in_the_spreads_until_it_is_old_though_its_line_was_refused_since() -> None:
    h = History().live()
    near = [c for c in CHAIN if 599_000 <= c.strike_ticks <= 601_000]
    h.arrived(*(quote(c, h.now) for c in near))
    h.feed(m.LinesRefused(session_epoch=h.epoch, con_ids=tuple(h.state.lines), vendor_code=101))
    assert not h.state.lines
    assert h.sleep(15.1).published(m.SpreadsRead)[-1].quoted == len(near)


def test_one_sided_and_crossed_quotes_have_no_spread() -> None:
    one_sided, crossed = quote(ATM, bid=0), quote(ATM, bid=520, ask=510)
    median, quoted = choice.median_spread([one_sided, crossed, quote(ATM)], 1)
    assert (median, quoted) == (10 / 505, 1)
    assert choice.median_spread([one_sided, crossed], 1) == (None, 0)


def test_silent_underlying_is_subscribed_again_with_an_alarm_for_as_long_as_it_is_silent() -> None:
    h = History().live()
    for _ in range(4):
        h.sleep(10)
        h.arrived(spots=(Spot("SPX", 600_050, h.now),))
    told = h.sleep(0.1)
    again = [sub.tickers for sub in h.told(m.Subscribe) if len(sub.tickers) == 1]
    assert ("QQQ",) in again  # never quoted at all
    assert ("SPX",) not in again
    told = h.sleep(46)
    assert [sub.tickers for sub in told.told(m.Subscribe) if sub.tickers == ("SPX",)]
    assert [stop.tickers for stop in told.told(m.Unsubscribe) if stop.tickers == ("SPX",)]
    assert any(alarm.key == "silent:SPX" for alarm in told.published(Alarm))


def test_underlying_that_nobody_trades_and_that_was_never_quoted_is_said_once_a_session_with_the_remedy() -> None:
    h = History(SETTINGS.model_copy(update={"tickers": (*SETTINGS.tickers, "XYZ")})).live()
    for _ in range(60):
        h.sleep(10)
        h.arrived(spots=(Spot("SPX", 600_050, h.now), Spot("QQQ", 60_005, h.now)))
    told = [alarm.text for alarm in h.published(Alarm) if alarm.key == "silent:XYZ"]
    assert len(told) == 1
    assert "XYZ is none that the broker quotes to this account, take it out of the settings" in told[0]
    assert len([sub for sub in h.told(m.Subscribe) if sub.tickers == ("XYZ",)]) > 2, "it is tried again all the same"


def test_what_the_broker_says_of_a_line_is_told_once_a_session() -> None:
    h = History().live()
    said = broker.ErrorReported(session_epoch=h.epoch, order_ref=None, vendor_code=200, text="XYZ: no definition")
    told = h.feed(said, said, replace(said, text="QQQ: no definition"))
    assert [alarm.text for alarm in told.published(Alarm)] == ["XYZ: no definition", "QQQ: no definition"]
    phase = h.state.phase
    assert phase is not None
    tomorrow = session.PhaseChanged(
        phase=phase, session=TODAY + timedelta(days=3), open_utc=NOON, close_utc=CLOSE, at_utc=h.now
    )  # fmt: skip
    assert [alarm.text for alarm in h.feed(tomorrow, said).published(Alarm)] == ["XYZ: no definition"]


def test_halt_is_published_once_and_lasts_while_a_line_says_so() -> None:
    h = History().live()

    def heard(con_id: int, is_halted: bool, ticker: str = "") -> list[bool]:
        fact = m.HaltHeard(session_epoch=h.epoch, con_id=con_id, ticker=ticker, is_halted=is_halted)
        return [change.is_halted for change in h.feed(fact).published(m.HaltChanged) if change.ticker == "SPX"]

    assert heard(ATM.con_id, is_halted=True) == [True]
    assert heard(416_904, is_halted=True, ticker="SPX") == []
    assert heard(ATM.con_id, is_halted=False) == []
    assert heard(416_904, is_halted=False, ticker="SPX") == [False]
    assert heard(5, is_halted=True) == []  # a contract that nobody knows


def test_halted_line_that_is_dropped_halts_nothing_for_ever() -> None:
    h = History().live()
    low = next(c for c in CHAIN if c.strike_ticks == 595_000)
    h.feed(m.HaltHeard(session_epoch=h.epoch, con_id=low.con_id, ticker="", is_halted=True))
    told = h.arrived(spots=(Spot("SPX", 603_000, h.now),))
    assert [change.is_halted for change in told.published(m.HaltChanged)] == [False]


def restarted() -> History:
    """One that crashed while SPX was halted, is connected again and hears of no halt."""
    h = History()
    h.probe.start(incarnation=2)
    h.feed(
        session.PhaseChanged(
            phase=Phase.ENTRY, session=TODAY, open_utc=NOON - 150 * MINUTE, close_utc=CLOSE, at_utc=NOON
        )
    )
    h.link_up().listed()
    return h


def test_underlying_that_trades_after_a_crash_is_told_again_once_to_whoever_knows_of_a_halt() -> None:
    h = restarted()
    assert not h.sleep(15).published(m.HaltChanged)  # not priced since
    h.arrived(spots=(Spot("SPX", 600_050, h.now),))
    (told,) = h.sleep(15).published(m.HaltChanged)
    assert (told.ticker, told.is_halted, told.is_told_again) == ("SPX", False, True)
    h.arrived(spots=(Spot("SPX", 600_060, h.now),))
    assert not h.sleep(60).published(m.HaltChanged)


def test_underlying_that_is_still_halted_after_a_crash_is_not_told_as_trading() -> None:
    h = restarted()
    h.feed(m.HaltHeard(session_epoch=h.epoch, con_id=416_904, ticker="SPX", is_halted=True))
    h.arrived(spots=(Spot("SPX", 600_050, h.now),))
    assert all(told.is_halted for told in h.sleep(60).published(m.HaltChanged))
    told = h.feed(m.HaltHeard(session_epoch=h.epoch, con_id=416_904, ticker="SPX", is_halted=False))
    assert [change.is_told_again for change in told.published(m.HaltChanged)] == [False]


def test_first_start_tells_nobody_that_an_underlying_trades() -> None:
    h = History().live()
    assert not h.sleep(60).published(m.HaltChanged)


def test_port_task_that_died_is_said() -> None:
    h = History().live()
    fault = broker.PortFaulted(session_epoch=h.epoch, what="list a chain", why="x", is_order_path=False)
    assert "list a chain" in h.feed(fault).published(Alarm)[0].text


@pytest.mark.parametrize("is_listed", [True, False])
def test_chains_that_are_missing_before_the_open_are_said(is_listed: bool) -> None:
    h = History()
    h.probe.now = at_exchange(TODAY, time(1))
    h.probe.start()
    opened = at_exchange(TODAY, time(9, 30))
    h.feed(session.PhaseChanged(phase=Phase.PRE, session=TODAY, open_utc=opened, close_utc=CLOSE, at_utc=h.now))
    h.link_up().listed()
    if is_listed:
        h.listed((), ticker="QQQ")  # an empty chain is an answer: none expires that day
    told = h.probe.advance(at_exchange(TODAY, time(9, 16)))
    alarms = [alarm.text for alarm in told.published(Alarm) if alarm.key == "preopen_data"]
    assert [("QQQ" in text, "SPX" in text) for text in alarms] == ([] if is_listed else [(True, False)])


# -- tickers without a line ---------------------------------------------------------------------

QQQ = tuple(
    Contract(5_000 + 2 * i + j, "QQQ", "QQQ", TODAY, Ticks(strike), right)
    for i, strike in enumerate(range(50_000, 54_000, 100))
    for j, right in enumerate(Right)
)
SCARCE = SETTINGS.model_copy(update={"connection": dataclasses.replace(SETTINGS.connection, lines_max=58)})


def scarce() -> History:
    """A desk whose lines are enough for the index alone."""
    h = History(SCARCE).live()
    h.listed(QQQ, ticker="QQQ")
    h.arrived(spots=(Spot("QQQ", 52_010, h.now),))
    return h


def budget_alarms(h: History) -> list[tuple[str, Severity]]:
    """Return the tickers that were said to be without room, and how urgent that was."""
    return [(a.text.partition(":")[0], a.severity) for a in h.published(Alarm) if a.key == "lines_budget"]


def test_ticker_without_room_gets_no_half_window_and_is_named_once_as_no_fault() -> None:
    h = scarce()
    assert not [c for c in h.state.lines.values() if c.ticker == "QQQ"]
    h.arrived(spots=(Spot("SPX", 603_000, h.now),))
    assert budget_alarms(h) == [("QQQ", Severity.INFO)]


def test_tickers_without_room_are_named_together_when_the_last_window_is_placed() -> None:
    h = History(SCARCE.model_copy(update={"lanes": {"gexwatch": ("SPX",), "advisor": ("QQQ", "IWM")}})).live()
    iwm = tuple(Contract(c.con_id + 1_000, "IWM", "IWM", TODAY, c.strike_ticks, c.right) for c in QQQ)
    h.listed(QQQ, ticker="QQQ").arrived(spots=(Spot("QQQ", 52_010, h.now),))
    assert budget_alarms(h) == []
    h.listed(iwm, ticker="IWM").arrived(spots=(Spot("IWM", 52_010, h.now),))
    h.wish("QQQ")
    h.sleep(61)
    assert budget_alarms(h) == [("QQQ, IWM", Severity.INFO)]


def test_refused_line_that_a_signal_needs_is_said_with_the_setting_to_look_at() -> None:
    h = scarce()
    (subscribed,) = h.wish("QQQ").told(m.Subscribe)
    told = h.feed(m.LinesRefused(session_epoch=h.epoch, con_ids=(subscribed.contracts[0].con_id,), vendor_code=101))
    (alarm,) = told.published(Alarm)
    assert (alarm.key, alarm.severity) == ("lines_refused", Severity.WARNING)
    assert alarm.text.startswith("QQQ:") and "code 101" in alarm.text and "connection.lines_max (58)" in alarm.text
    h.request(ATM, h.now + SECOND)
    refused = h.feed(m.LinesRefused(session_epoch=h.epoch, con_ids=(ATM.con_id,), vendor_code=354))
    assert [alarm.key for alarm in refused.published(Alarm)] == ["lines_refused"]


def test_line_that_is_refused_for_another_reason_is_said_with_the_ports_own_remedy() -> None:
    remedy = "Another session of this login has the market data: log it out."
    h = scarce()
    (subscribed,) = h.wish("QQQ").told(m.Subscribe)
    con_id = subscribed.contracts[0].con_id
    refused = m.LinesRefused(session_epoch=h.epoch, con_ids=(con_id,), vendor_code=10197, remedy=remedy)
    (alarm,) = h.feed(refused).published(Alarm)
    assert alarm.text.endswith(remedy)
    assert "lines_max" not in alarm.text
    h.feed(m.WatchContract(contract=ATM))
    held = m.LinesRefused(session_epoch=h.epoch, con_ids=(ATM.con_id,), vendor_code=10197, remedy=remedy)
    (alarm,) = h.feed(held).published(Alarm)
    assert alarm.text.endswith(f"(code 10197): {remedy}")


def test_ticker_without_a_line_is_quoted_when_a_signal_comes_and_offered_as_soon_as_it_is() -> None:
    h = scarce()
    told = h.wish("QQQ")
    (subscribed,) = told.told(m.Subscribe)
    wanted = subscribed.contracts
    assert {c.ticker for c in wanted} == {"QQQ"}
    assert {c.strike_ticks for c in wanted} == {Ticks(s) for s in range(51_700, 52_400, 100)}
    assert len(h.state.lines) <= SCARCE.connection.lines_max - len(h.told(m.Subscribe)[0].tickers)
    calls = [c for c in wanted if c.right is Right.CALL]
    assert not h.arrived(*(quote(c, h.now, delta=0.5) for c in calls[:-1])).told(m.ContractsOffered)
    (offered,) = h.arrived(quote(calls[-1], h.now, delta=0.5)).told(m.ContractsOffered)
    assert len(offered.quotes) == SCARCE.entry.candidates_max
    assert not h.sleep(2).told(m.ContractsOffered)


def test_ticker_without_a_line_is_offered_with_what_there_is_before_the_time_is_over() -> None:
    h = scarce()
    h.wish("QQQ")
    due = h.now + SECOND
    (call,) = [c for c in QQQ if c.strike_ticks == 52_000 and c.right is Right.CALL]
    h.arrived(quote(call, h.now, delta=0.5))
    told = h.probe.advance(due - MS)
    assert [[c for c, _ in offered.quotes] for offered in told.told(m.ContractsOffered)] == [[call]]


def test_lines_of_a_signal_are_given_back_after_a_while_unless_the_contract_is_held() -> None:
    h = scarce()
    index_lines = {c.con_id for c in h.state.lines.values()}
    h.wish("QQQ")
    (call,) = [c for c in QQQ if c.strike_ticks == 52_000 and c.right is Right.CALL]
    h.feed(m.WatchContract(contract=call))
    h.sleep(61)
    assert [c for c in h.state.lines.values() if c.ticker == "QQQ"] == [call]
    h.feed(m.UnwatchContract(con_id=call.con_id))
    assert set(h.state.lines) == index_lines


# -- speed: what is not done again ---------------------------------------------------------------


@given(
    strikes=st.lists(st.integers(1, 2_000), min_size=1, max_size=40, unique=True).map(sorted),
    price=st.integers(1, 2_100), first=st.integers(1, 2_100), around=st.integers(1, 12),
)  # fmt: skip
def test_range_in_which_the_window_stays_is_exactly_where_its_centre_stays(
    strikes: list[int], price: int, first: int, around: int
) -> None:
    listed = tuple(Ticks(strike) for strike in strikes)
    centre = choice.centre(listed, Ticks(first), None, around)
    low, high = choice.calm_range(listed, centre, around)
    assert (low < 2 * price <= high) is (choice.centre(listed, Ticks(price), centre, around) == centre)


def test_request_for_a_streamed_contract_plans_no_lines_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    h = History().live()

    def never(*_: object) -> None:
        raise AssertionError("lines were planned")

    monkeypatch.setattr(choice, "line_plan", never)
    h.request()
    h.arrived(quote(ATM, h.now + MS), spots=(Spot("SPX", 600_100, h.now),))
    assert h.told(m.QuoteRead)


def test_new_sessions_chain_of_the_same_strikes_is_streamed_as_its_own() -> None:
    h = History().live()
    monday = date(2026, 11, 23)
    h.feed(session.PhaseChanged(phase=Phase.PRE, session=monday, open_utc=0, close_utc=1, at_utc=h.now))
    chain = tuple(Contract(c.con_id + 5_000, "SPX", "SPXW", monday, c.strike_ticks, c.right) for c in CHAIN)
    h.listed(chain)
    assert {c.expiry for c in h.state.lines.values()} == {monday}
    assert len(h.state.lines) == 42


def test_watched_contracts_and_underlyings_are_told_for_keeping_every_few_seconds_while_they_change() -> None:
    h = History().live()
    h.feed(m.WatchContract(contract=ATM))
    h.arrived(quote(ATM, h.now), quote(FAR, h.now))
    assert [(s.quotes, s.spots) for s in h.published(m.QuotesSampled)] == [((), (SPOT,))]
    h.sleep(5)
    late, moved = quote(ATM, h.now - 4 * SECOND, bid=505), Spot("SPX", 600_100, h.now)
    h.arrived(quote(FAR, h.now))
    h.arrived(late, spots=(moved,))
    h.sleep(5)
    h.arrived(quote(FAR, h.now))
    first, second = h.published(m.QuotesSampled)[1:]
    assert [(c, q.bid_ticks) for c, q in first.quotes] == [(ATM, 500)] and first.spots == ()
    assert (second.quotes, second.spots) == (((ATM, late),), (moved,))
    h.sleep(5)
    h.arrived(quote(FAR, h.now))
    assert len(h.published(m.QuotesSampled)) == 3


def test_a_band_that_is_wanted_every_five_seconds_is_told_as_often_while_quotes_come() -> None:
    kept = dataclasses.replace(SETTINGS.warehouse, chain_every_ms=5_000)
    h = History(SETTINGS.model_copy(update={"warehouse": kept})).live()
    began = h.now
    for _ in range(7):
        h.arrived(quote(ATM, h.now, delta=0.5))
        h.sleep(2)
    assert [(read.at_utc - began) // SECOND for read in h.published(m.ChainRead)] == [0, 6, 12]


def test_the_band_around_the_money_is_told_for_keeping_at_the_start_and_every_few_minutes() -> None:
    h = History().live()
    h.sleep(15)
    assert not h.published(m.ChainRead)
    h.arrived(quote(ATM, h.now, delta=0.5), quote(FAR, h.now))
    h.sleep(15)
    (first,) = h.published(m.ChainRead)
    assert (first.ticker, first.spot) == ("SPX", SPOT)
    assert [contract for contract, _ in first.quotes] == [ATM]
    h.sleep(285)
    assert len(h.published(m.ChainRead)) == 1
    h.sleep(15)
    assert len(h.published(m.ChainRead)) == 2
