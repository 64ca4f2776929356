"""The market-data actor, fed with histories of messages, and the choice of contracts behind it."""

from __future__ import annotations

from datetime import date, time
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.quotes import QuotesActor, QuotesState
from domain.instants import MINUTE, MS, SECOND, at_exchange
from domain.instruments import Contract, Greeks, Quote, Right, Spot
from domain.options import black_scholes
from domain.options import contract_choice as choice
from domain.session.phases import Phase
from messages import market as m
from messages import session as s
from messages.base import Message
from messages.lifecycle import Started, TimerFired
from messages.operator import Alarm
from supervision.effects import SetTimer, Tell
from tests.testkit.ibkr_world import SETTINGS

T = TypeVar("T", bound=Message)
TODAY = date(2026, 11, 20)
NOON, CLOSE = at_exchange(TODAY, time(12)), at_exchange(TODAY, time(16))
STRIKES = tuple(range(590_000, 611_000, 500))
CHAIN = tuple(
    Contract(1_000 + 2 * i + j, "SPX", "SPXW", TODAY, strike, right)
    for i, strike in enumerate(STRIKES)
    for j, right in enumerate(Right)
)
ATM = next(c for c in CHAIN if c.strike_ticks == 600_000 and c.right is Right.CALL)
FAR = next(c for c in CHAIN if c.strike_ticks == 590_000 and c.right is Right.CALL)
SPOT = Spot("SPX", 600_050, NOON)


def quote(contract: Contract, at_utc: int = NOON, *, delta: float | None = None, bid: int = 500, ask: int = 510,
          volume: int = 10, greeks_utc: int | None = None) -> Quote:  # fmt: skip
    greeks = None
    if delta is not None:
        greeks = Greeks(0.15, delta, 0.004, -30.0, 1.2, 600_050, at_utc if greeks_utc is None else greeks_utc)
    return Quote(contract.con_id, bid, ask, 10, 10, at_utc, 1, volume, greeks)


class History:
    """Feeds the actor and remembers what it says."""

    def __init__(self, settings: Any = SETTINGS) -> None:
        self.actor = QuotesActor("quotes:paper", settings)
        self.state: QuotesState = self.actor.initial()
        self.now = NOON
        self.said: list[Tell] = []
        self.timers: dict[str, int] = {}

    def feed(self, *messages: Message) -> list[Tell]:
        at = len(self.said)
        for message in messages:
            self.now += MS
            self.state, effects = self.actor.decide(self.state, message, self.now)
            for effect in effects:
                match effect:
                    case Tell():
                        self.said.append(effect)
                    case SetTimer(key=key, at_utc=at_utc):
                        self.timers[key] = at_utc
                    case _:
                        self.timers.pop(effect.key, None)
        return self.said[at:]

    def sleep(self, seconds: float) -> list[Tell]:
        at, until = len(self.said), self.now + int(seconds * SECOND)
        while self.timers and min(self.timers.values()) <= until:
            key = min(self.timers, key=lambda k: (self.timers[k], k))
            self.now = max(self.now, self.timers.pop(key))
            self.feed(TimerFired(key=key, due_utc=self.now))
        self.now = until
        return self.said[at:]

    def told(self, kind: type[T]) -> list[T]:
        return [t.message for t in self.said if isinstance(t.message, kind)]

    @property
    def epoch(self) -> int:
        return self.state.session_epoch

    def up(self) -> History:
        self.feed(Started(name="quotes:paper", incarnation=1, run_n=1))
        self.feed(
            s.PhaseChanged(phase=Phase.ENTRY, session=TODAY, open_utc=NOON - 150 * MINUTE, close_utc=CLOSE, at_utc=NOON)
        )
        return self.link_up()

    def link_up(self) -> History:
        self.feed(s.LinkUp(session_epoch=self.epoch, gateway_n=0, port=4002, account_class="paper",
                           account_matches=True, next_order_id=1))  # fmt: skip
        return self

    def listed(self, chain: tuple[Contract, ...] = CHAIN) -> History:
        self.feed(m.ChainListed(session_epoch=self.epoch, ticker="SPX", contracts=chain, underlying_con_id=1,
                                liquid_open_utc=None, liquid_close_utc=CLOSE))  # fmt: skip
        return self

    def arrived(self, *quotes: Quote, spots: tuple[Spot, ...] = ()) -> list[Tell]:
        return self.feed(m.QuotesArrived(session_epoch=self.epoch, quotes=quotes, spots=spots))

    def live(self) -> History:
        self.up().listed().arrived(spots=(SPOT,))
        return self

    def wanted(self, right: Right = Right.CALL) -> m.ContractsOffered:
        self.feed(m.ContractsWanted(request_id="r", reply_to="risk:paper", ticker="SPX", right=right,
                                    expires_utc=self.now + SECOND))  # fmt: skip
        return self.told(m.ContractsOffered)[-1]

    def request(self, contract: Contract = ATM, newer_than_utc: int | None = None) -> list[Tell]:
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
    h.feed(m.WatchContract(contract=FAR, reply_to="position:paper:1000"))
    low = next(c for c in CHAIN if c.strike_ticks == 595_000)
    told = h.arrived(spots=(Spot("SPX", 602_000, h.now),))
    (gone,) = [t.message for t in told if isinstance(t.message, m.Unsubscribe)]
    assert low.con_id in gone.con_ids
    assert FAR.con_id in h.state.lines
    assert max(c.strike_ticks for c in h.state.lines.values()) == 607_000


def test_small_moves_leave_the_lines_alone() -> None:
    h = History().live()
    told = h.arrived(spots=(Spot("SPX", 600_900, h.now),))
    assert not [t for t in told if isinstance(t.message, m.Subscribe | m.Unsubscribe)]


def test_held_contract_gets_every_change_of_its_quote_and_of_its_underlying() -> None:
    h = History().live()
    h.feed(m.WatchContract(contract=ATM, reply_to="position:paper:1"))
    assert ATM.con_id in h.told(m.WatchClosely)[-1].con_ids
    h.arrived(quote(ATM))
    h.arrived(spots=(Spot("SPX", 600_060, NOON),))
    changes = h.told(m.QuoteChanged)
    assert [(c.quote.bid_ticks, c.spot and c.spot.price_ticks) for c in changes] == [(500, 600_050), (500, 600_060)]
    h.feed(m.UnwatchContract(con_id=ATM.con_id, reply_to="position:paper:1"))
    assert not [t for t in h.arrived(quote(ATM)) if isinstance(t.message, m.QuoteChanged)]


def test_spots_go_to_risk_alone() -> None:
    h = History().live()
    assert {t.to for t in h.said if isinstance(t.message, m.SpotsChanged)} == {"risk"}


def test_candidates_are_in_the_band_nearest_to_half_first_then_spread_then_volume() -> None:
    h = History().live()
    calls = [c for c in CHAIN if c.right is Right.CALL and 598_000 <= c.strike_ticks <= 602_000]
    deltas = (0.70, 0.60, 0.55, 0.52, 0.50, 0.48, 0.40, 0.34, 0.30)
    h.arrived(*(quote(c, delta=d) for c, d in zip(calls, deltas, strict=True)))
    offered = h.wanted()
    assert [q.greeks.delta for _, q in offered.quotes if q.greeks is not None] == [0.50, 0.52, 0.48]
    assert offered.spot == SPOT
    h.arrived(quote(calls[5], delta=0.48, volume=99))  # as far from 0.50 as 0.52, same spread, more volume
    assert [q.greeks.delta for _, q in h.wanted().quotes if q.greeks is not None] == [0.50, 0.48, 0.52]


def test_stale_model_greeks_are_replaced_by_our_own_from_the_mid() -> None:
    h = History().live()
    years = float(black_scholes.years_of((CLOSE - NOON) / MINUTE))
    price = float(black_scholes.values(6000.5, 6000.0, years, 0.2, True).price)
    ticks = round(price * 100)
    h.arrived(quote(ATM, delta=0.99, bid=ticks - 5, ask=ticks + 5, greeks_utc=NOON - 6 * SECOND))
    ((_, offered),) = h.wanted().quotes
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
        (lambda h: h.live().feed(s.LinkLost(session_epoch=h.epoch, cause="x")), "no market-data session"),
    ],
)
def test_offer_without_a_candidate_says_why(prepare: Any, why: str) -> None:
    h = History()
    prepare(h)
    offered = h.wanted()
    assert offered.quotes == ()
    assert offered.why is not None
    assert why in offered.why


def test_request_with_a_newer_quote_in_hand_is_answered_at_once() -> None:
    h = History().live()
    h.arrived(quote(ATM, h.now))
    (read,) = [t.message for t in h.request(newer_than_utc=h.now - SECOND)]
    assert isinstance(read, m.QuoteRead)


def test_request_waits_for_a_fresh_tick_and_watches_the_contract_meanwhile() -> None:
    h = History().live()
    h.arrived(quote(ATM, h.now - SECOND))
    h.request()
    assert ATM.con_id in h.told(m.WatchClosely)[-1].con_ids
    assert not h.told(m.QuoteRead)
    h.arrived(quote(ATM, h.now + MS))
    assert h.told(m.QuoteRead)[0].contract == ATM
    assert not h.sleep(2)
    assert ATM.con_id not in h.told(m.WatchClosely)[-1].con_ids


def test_quiet_market_is_subscribed_again_halfway_and_then_said_to_be_unavailable() -> None:
    h = History().live()
    old = quote(ATM, h.now - SECOND)
    h.arrived(old)
    h.request()
    again = h.sleep(0.6)
    assert [type(t.message) for t in again] == [m.Unsubscribe, m.Subscribe]
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
    h.feed(m.WatchContract(contract=FAR, reply_to="position:paper:1000"))
    lines = set(h.state.lines)
    h.feed(s.LinkLost(session_epoch=h.epoch, cause="closed"))
    h.sleep(0.6)
    h.said.clear()
    h.link_up()
    again = {c.con_id for sub in h.told(m.Subscribe) for c in sub.contracts}
    assert again == lines
    assert h.told(m.WatchClosely)[0].con_ids == (FAR.con_id,)
    assert [c.ticker for c in h.told(m.ListChain)] == ["QQQ"]


@pytest.mark.parametrize("is_lost", [True, False])
def test_1101_subscribes_again_and_1102_does_not(is_lost: bool) -> None:
    h = History().live()
    h.feed(s.LinkLost(session_epoch=h.epoch, cause="1100", is_socket_up=True))
    told = h.feed(s.LinkRestored(session_epoch=h.epoch, data_lost=is_lost))
    assert bool([t for t in told if isinstance(t.message, m.Subscribe)]) is is_lost


def test_new_session_lists_its_own_chain_and_forgets_the_old_one() -> None:
    h = History().live()
    h.said.clear()
    monday = date(2026, 11, 23)
    h.feed(s.PhaseChanged(phase=Phase.PRE, session=monday, open_utc=0, close_utc=1, at_utc=h.now))
    assert {c.expiry for c in h.told(m.ListChain)} == {monday}
    assert not h.state.lines


def test_failed_chain_is_asked_for_again_and_paged() -> None:
    h = History().up()
    h.feed(m.ChainFailed(session_epoch=h.epoch, ticker="SPX", why="timed out"))
    assert "timed out" in h.told(Alarm)[0].text
    assert [t.message.ticker for t in h.sleep(6) if isinstance(t.message, m.ListChain)] == ["SPX"]


def test_refused_line_of_a_held_contract_is_paged_and_others_are_not() -> None:
    h = History().live()
    h.feed(m.WatchContract(contract=ATM, reply_to="position:paper:1"))
    other = next(c for c in CHAIN if c.con_id != ATM.con_id and c.con_id in h.state.lines)
    assert not h.feed(m.LinesRefused(session_epoch=h.epoch, con_ids=(other.con_id,), vendor_code=101))
    assert h.feed(m.LinesRefused(session_epoch=h.epoch, con_ids=(ATM.con_id,), vendor_code=101))


def test_quotes_of_an_older_session_are_void() -> None:
    h = History().live()
    h.feed(m.QuotesArrived(session_epoch=h.epoch - 1, quotes=(quote(ATM),), spots=()))
    assert not h.state.quotes


@given(held=st.integers(0, 40), lines=st.integers(0, 80))
def test_line_plan_keeps_the_budget_and_never_drops_what_is_held(held: int, lines: int) -> None:
    mine = CHAIN[:held]
    plan = choice.line_plan(mine, [CHAIN], lines)
    assert {c.con_id for c in mine} <= plan.keys()
    assert len(plan) == max(held, min(lines, len(CHAIN)))


@given(st.lists(st.integers(589_000, 611_000), min_size=1))
def test_window_always_holds_the_strikes_next_to_the_money(prices: list[int]) -> None:
    centre: int | None = None
    for price in prices:
        centre = choice.centre(STRIKES, price, centre, 10)
        inside = {c.strike_ticks for c in choice.window(CHAIN, centre, 10)}
        assert STRIKES[choice.nearest(STRIKES, price)] in inside
