"""What a seed means: the day's market, its signals and its faults, drawn once, before anything runs."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from typing import Final, Literal

import msgspec

from config.settings import Settings
from domain.instants import BUCKET_NS, MINUTE, MS, SECOND, bucket_of
from domain.orders.capabilities import IB, TASTYTRADE
from domain.session import calendar
from domain.session.calendar import TradingDay
from domain.signals.spread import PROMOTION
from domain.units import Utc
from simulation.days.beside import FAULTS_OF_A_DESK, OF_A_DESK, OF_THE_PROCESS, QUIET_SHARE, PlannedDesk, draw_desk
from simulation.days.faults import (
    AFTER_LOSS,
    BY_MESSAGE,
    IN_A_STALL,
    LOSSES,
    ORDER_FAULTS,
    STOPPING,
    TIMED_FAULTS,
    WITH_SIGNALS,
    Fault,
)
from simulation.days.sliced import PlannedSlices, draw_slices
from simulation.days.spreads import PlannedSpreads, as_combinations, as_verticals, draw_spreads

DAYS_PER_MARKET: Final = 50  # days that share a market: its columns are made once
SLOW_READ_BACK_MS: Final = 5_000  # `connection.read_back_ms` where days have slow read-backs: the marker of them
LOST_PERMITS_MS: Final = 1_900  # `entry.permit_ms` where answers of risk are lost: the marker of such days
LOST_SHARE: Final = 0.3  # of them
FIRST_DATES: Final = (date(2026, 11, 20), date(2026, 3, 6), date(2026, 6, 17), date(2026, 11, 25), date(2026, 12, 23))
NIGHT_SHARE: Final = 0.02
SHUFFLED_SHARE: Final = 0.2
SHADOW_SHARE: Final = 0.04
LATE_SHARE: Final = 0.06
ODD_CHAIN_SHARE: Final = 0.06
REST_SHARE: Final = 0.4  # of the days with one desk: its orders go to the REST broker
ODD_CHAINS: Final = (Fault.CHAIN_EMPTY, Fault.CHAIN_ODD, Fault.CHAIN_FAILED)
VARIANTS: Final = ("plain", "plain", "plain", "small", "strict", "roomy", "roomy", "patient", "patient")
STALLABLE: Final = ("risk", "ibkr", "ibkr", "position", "position", "kill", "quotes", "session", "ledger")
CRASHABLE: Final = ("risk", "ibkr", "quotes", "kill", "position", "session", "operator", "notifier", "lane")
OF_SPREADS: Final = ("structure", "structure", "position", "risk", "lane")  # what crashes and stalls around a spread


class PlannedSignal(msgspec.Struct, frozen=True):
    """A signal: its alert is found `at_utc`, in the bucket before."""

    at_utc: Utc
    bucket_utc: Utc
    source: str
    ticker: str
    direction: int
    is_shadow: bool


class PlannedFault(msgspec.Struct, frozen=True):
    """A fault at an instant; what `subject`, `lasting_ns` and `n` mean is the kind's."""

    kind: Fault
    at_utc: Utc
    lasting_ns: int = 0
    subject: str = ""
    n: int = 0

    @property
    def until_utc(self) -> Utc:
        """The end of it."""
        return self.at_utc + self.lasting_ns


class DayPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One simulated day, whole; `order_faults` is the share of orders, changes and cancels that meet one.

    `spreads` are its credit spreads, `None` where it has none; `slices` is how its entries go out, `None`: whole.
    `has_slow_reads`: read-backs take time and reports come in any order. `has_lost_permits`: a share of risk's answers
    on permits and slices never arrives.
    `broker` is whom orders go to; `beside` is a second desk (`None`: there is one), `faults_beside` are its faults.
    """

    seed: int
    market_seed: int
    day: TradingDay
    next_day: TradingDay | None
    starts_utc: Utc
    signals: tuple[PlannedSignal, ...]
    faults: tuple[PlannedFault, ...]
    order_faults: float
    shuffle_seed: int | None
    variant: str
    odd_chain: tuple[str, Fault] | None
    spreads: PlannedSpreads | None = None
    slices: PlannedSlices | None = None
    broker: Literal["ib", "tastytrade"] = IB
    beside: PlannedDesk | None = None
    faults_beside: tuple[PlannedFault, ...] = ()
    has_slow_reads: bool = False
    has_lost_permits: bool = False

    def of_desk(self, number: int) -> DayPlan:
        """Return the day as a desk meets it, counted from 0; spreads are the first one's."""
        if number == 0 or self.beside is None:
            return self
        return msgspec.structs.replace(
            self, faults=self.faults_beside, order_faults=self.beside.order_faults, broker=self.beside.broker,
            spreads=None,
        )  # fmt: skip

    def drawn(self, *key: object) -> random.Random:
        """Return a generator of its own for a subject, so that what is asked first changes nothing."""
        return random.Random(f"{self.seed}/{'/'.join(map(str, key))}")

    def is_lost(self, order_ref: str, n: int) -> bool:
        """Return whether risk's n-th answer to an order never arrives."""
        return self.has_lost_permits and self.drawn("answer of risk", order_ref, n).random() < LOST_SHARE

    def fault_of(self, what: str, order_ref: str, n: int = 0) -> Fault | None:
        """Return what goes wrong with an order (`new`), its n-th change or its n-th cancel; `None`: nothing."""
        draw = self.drawn(what, order_ref, n)
        if draw.random() >= self.order_faults:
            return None
        return draw.choice(ORDER_FAULTS[self.broker][what])


def market_seed_of(seed: int) -> int:
    """Return the market seed of a day's seed."""
    return seed // DAYS_PER_MARKET


def session_of_market(market_seed: int) -> date:
    """Return the session that a market seed is a day of; a half day among them."""
    return FIRST_DATES[market_seed % len(FIRST_DATES)]


def plan_day(seed: int, settings: Settings, *, is_comparable: bool = False) -> DayPlan:
    """Draw a day.

    `is_comparable` leaves out what depends on how many messages there were, for two ways of stepping the same day.
    """
    draw = random.Random(f"day {seed}")
    market_seed = market_seed_of(seed)
    day = _day(session_of_market(market_seed))
    has_night = draw.random() < NIGHT_SHARE
    next_day = _following(day) if has_night else None
    starts_utc = day.open_utc - draw.choice((600, 600, 60, 5)) * SECOND
    if draw.random() < 0.1:
        starts_utc = day.open_utc + draw.randrange(1, 240) * MINUTE  # a start in the middle of the day
    signals = _signals(draw, settings, day, starts_utc)
    if next_day is not None:
        signals += _signals(draw, settings, next_day, Utc(next_day.open_utc - 600 * SECOND))
    shuffle_seed = draw.randrange(1 << 30) if draw.random() < SHUFFLED_SHARE else None
    order_faults = draw.choice((0.0, 0.05, 0.15, 0.3, 0.5))
    faults = _faults(draw, settings, day, starts_utc, signals)
    signals = _with_more(draw, settings, day, signals, faults)
    variant = draw.choice(VARIANTS)
    odd_chain = None
    if draw.random() < ODD_CHAIN_SHARE:
        odd_chain = draw.choice(_lanes(settings))[1], draw.choice(ODD_CHAINS)
    if next_day is not None:
        faults += _faults(draw, settings, next_day, Utc(next_day.open_utc - 1_800 * SECOND), signals)
    spreads = draw_spreads(seed, day, starts_utc) if settings.spread.is_on else None
    if spreads is not None and settings.spread.is_vertical and _is_vertical_day(settings, seed):
        spreads = as_combinations(as_verticals(spreads, seed), seed)
    if spreads is not None:
        faults = tuple(sorted((*faults, *_faults_of_spreads(seed, settings, day, spreads)), key=lambda f: f.at_utc))
    has_rest = settings.broker.orders == TASTYTRADE
    beside: PlannedDesk | None = None
    faults_beside: tuple[PlannedFault, ...] = ()
    if settings.desks:
        signals_utc = [signal.at_utc for signal in signals]
        beside = draw_desk(seed, settings, day, starts_utc, signals_utc, has_rest=has_rest)
        faults_beside = () if beside is None else _faults_beside(seed, settings, day, starts_utc, signals)
    is_at_rest = beside is None and has_rest and random.Random(f"rest {seed}").random() < REST_SHARE
    if is_comparable:
        next_day = None
        faults_beside = tuple(fault for fault in faults_beside if fault.kind not in BY_MESSAGE)
        beside = None if beside is None else msgspec.structs.replace(beside, switches=())
        faults = tuple(fault for fault in faults if fault.kind not in BY_MESSAGE)
        shuffle_seed = None
    return DayPlan(
        seed=seed, market_seed=market_seed, day=day, next_day=next_day, starts_utc=starts_utc, signals=signals,
        faults=faults, order_faults=order_faults, shuffle_seed=shuffle_seed, variant=variant, odd_chain=odd_chain,
        spreads=spreads, slices=None if settings.entry.twap_min_qty is None else draw_slices(seed),
        broker=TASTYTRADE if is_at_rest else IB, beside=beside, faults_beside=faults_beside,
        has_slow_reads=settings.connection.read_back_ms == SLOW_READ_BACK_MS,
        has_lost_permits=settings.entry.permit_ms == LOST_PERMITS_MS,
    )  # fmt: skip


def _is_vertical_day(settings: Settings, seed: int) -> bool:
    """Return whether a day's spreads are verticals: all are, or every other day's where both are promoted."""
    return PROMOTION not in settings.promoted or seed % 2 == 0


def _day(session: date) -> TradingDay:
    found = calendar.day(session)
    if found is None:
        raise ValueError(f"{session} is no session")
    return found


def _following(day: TradingDay) -> TradingDay:
    session = day.session
    while True:
        session += timedelta(days=1)
        found = calendar.day(session)
        if found is not None:
            return found


def _lanes(settings: Settings) -> list[tuple[str, str]]:
    return [(source, ticker) for source, tickers in settings.lanes.items() for ticker in tickers]


def _signals(draw: random.Random, settings: Settings, day: TradingDay, starts_utc: Utc) -> tuple[PlannedSignal, ...]:
    """Draw signals over the whole session, some of them before and after entries are allowed, often several at once."""
    lanes = _lanes(settings)
    found: list[PlannedSignal] = []
    for _ in range(draw.randrange(6, 28)):
        bucket_utc = day.open_utc + draw.randrange(-20, day.buckets + 10) * BUCKET_NS
        for source, ticker in draw.sample(lanes, draw.choice((1, 1, 1, 2, 3))):
            found.append(_signal(draw, source, ticker, bucket_utc))
    return _sorted(signal for signal in found if signal.at_utc > starts_utc)


def _signal(draw: random.Random, source: str, ticker: str, bucket_utc: Utc) -> PlannedSignal:
    # Off the whole seconds, at which the exchange matches and quotes are told.
    late_ns = 2 * SECOND + draw.randrange(1, 400) * MS + draw.randrange(MS)
    if draw.random() < LATE_SHARE:
        late_ns += draw.randrange(20, 100) * SECOND
    return PlannedSignal(
        Utc(bucket_utc + BUCKET_NS + late_ns), bucket_utc, source, ticker, draw.choice((-1, 1)),
        draw.random() < SHADOW_SHARE,
    )  # fmt: skip


def _sorted(signals: Iterable[PlannedSignal]) -> tuple[PlannedSignal, ...]:
    """Return signals in time, one of a lane and bucket."""
    of_key = {(signal.bucket_utc, signal.source, signal.ticker): signal for signal in signals}
    return tuple(sorted(of_key.values(), key=lambda signal: (signal.at_utc, signal.source, signal.ticker)))


def _with_more(
    draw: random.Random, settings: Settings, day: TradingDay, signals: tuple[PlannedSignal, ...],
    faults: tuple[PlannedFault, ...],
) -> tuple[PlannedSignal, ...]:  # fmt: skip
    """Return the signals with more of them while faults are in force whose gates are to meet them."""
    more = []
    for fault in faults:
        if fault.kind not in WITH_SIGNALS or draw.random() < 0.3:
            continue
        source, ticker = draw.choice(_lanes(settings))
        if fault.subject in settings.tickers:
            source, ticker = draw.choice([lane for lane in _lanes(settings) if lane[1] == fault.subject])
        inside_utc = fault.at_utc + draw.randrange(max(1, fault.lasting_ns + 60 * SECOND))
        bucket_utc = Utc(bucket_of(inside_utc) - BUCKET_NS)
        if day.open_utc <= bucket_utc < day.close_utc:
            more.append(_signal(draw, source, ticker, bucket_utc))
    return _sorted((*more, *signals))


def _faults_beside(
    seed: int, settings: Settings, day: TradingDay, starts_utc: Utc, signals: tuple[PlannedSignal, ...]
) -> tuple[PlannedFault, ...]:
    """Draw what goes wrong with a second desk alone."""
    draw = random.Random(f"faults beside {seed}")
    if draw.random() < QUIET_SHARE:
        return ()
    found = _faults(draw, settings, day, starts_utc, signals, FAULTS_OF_A_DESK)
    return tuple(_of_a_desk(draw, fault) for fault in found if fault.kind not in OF_THE_PROCESS)


def _of_a_desk(draw: random.Random, fault: PlannedFault) -> PlannedFault:
    """Return a fault that strikes actors of a desk where it strikes any."""
    if fault.kind not in (Fault.ACTOR_CRASHED, Fault.ACTOR_STALLED):
        return fault
    return msgspec.structs.replace(fault, subject=draw.choice(OF_A_DESK))


def _faults(
    draw: random.Random, settings: Settings, day: TradingDay, starts_utc: Utc, signals: tuple[PlannedSignal, ...],
    weighed: Mapping[Fault, float] = TIMED_FAULTS,
) -> tuple[PlannedFault, ...]:  # fmt: skip
    """Draw faults: half of them shortly after a signal, when most is under way, the others anywhere."""
    kinds, weights = list(weighed), list(weighed.values())
    found: list[PlannedFault] = []
    ahead = [signal.at_utc for signal in signals if starts_utc < signal.at_utc < day.close_utc]
    for kind in draw.choices(kinds, weights, k=draw.choice((0, 1, 2, 3, 4, 5, 6, 8))):
        if ahead and draw.random() < 0.6:
            at_utc = draw.choice(ahead) + round(draw.expovariate(draw.choice((1.0, 0.2, 1 / 60.0))) * SECOND)
        elif draw.random() < 0.15:
            at_utc = day.close_utc - draw.randrange(1, 26 * 60) * SECOND
        else:
            at_utc = starts_utc + draw.randrange(max(1, day.close_utc - starts_utc))
        at_utc += draw.randrange(SECOND)
        if kind in (Fault.ACTOR_STALLED, Fault.PORT_SLOW) and ahead:
            at_utc = draw.choice(ahead) - draw.randrange(300) * MS  # what a signal brings about waits
        if kind is Fault.LINK_OUT_AT_CLOSE:
            at_utc = day.close_utc - draw.randrange(8 * 60, 40 * 60) * SECOND
        if not starts_utc + SECOND < at_utc < day.close_utc:
            continue
        found.append(_fault(draw, settings, kind, at_utc))
        if kind is Fault.PROCESS_KILLED_AGAIN:
            again_utc = found[-1].until_utc + draw.randrange(1, 20_000) * MS
            found.append(PlannedFault(Fault.PROCESS_KILLED_AGAIN, again_utc, draw.randrange(1, 10) * SECOND))
        if kind in (Fault.PROCESS_KILLED, Fault.PROCESS_KILLED_AGAIN) and draw.random() < 0.3:
            again = draw.choice((Fault.LINK_RESET, Fault.READ_SILENT))
            found.append(PlannedFault(again, found[-1].until_utc, draw.randrange(1, 90) * SECOND))
        if kind in (Fault.ACTOR_STALLED, Fault.PORT_SLOW) and draw.random() < 0.6:
            inside_utc = Utc(at_utc + draw.randrange(found[-1].lasting_ns))
            found.append(_fault(draw, settings, draw.choice(IN_A_STALL), inside_utc))
        if kind in LOSSES and draw.random() < 0.4:
            after_ns = draw.choice((draw.randrange(20 * SECOND), found[-1].lasting_ns + draw.randrange(55 * SECOND)))
            found.append(PlannedFault(draw.choice(AFTER_LOSS), at_utc + after_ns, draw.randrange(1, 20) * SECOND))
        if kind in STOPPING and draw.random() < 0.8:
            after_ns = found[-1].lasting_ns + draw.randrange(60, 1_200) * SECOND
            found.append(PlannedFault(Fault.RESUMED, at_utc + after_ns))
    return tuple(sorted(found, key=lambda fault: fault.at_utc))


def _faults_of_spreads(
    seed: int, settings: Settings, day: TradingDay, spreads: PlannedSpreads
) -> Iterator[PlannedFault]:
    """Draw faults around the first spread's opening, and while one is held."""
    draw = random.Random(f"faults of spreads {seed}")
    opening_utc = bucket_of(spreads.first_utc) + BUCKET_NS
    kinds, weights = list(TIMED_FAULTS), list(TIMED_FAULTS.values())
    for kind in draw.choices(kinds, weights, k=draw.choice((0, 1, 2, 2, 3, 4))):
        at_utc = Utc(opening_utc + round(draw.expovariate(draw.choice((1.0, 0.2, 1 / 60, 1 / 900))) * SECOND))
        if at_utc >= day.close_utc:
            continue
        fault = _fault(draw, settings, kind, at_utc)
        if kind in (Fault.ACTOR_CRASHED, Fault.ACTOR_STALLED):
            fault = msgspec.structs.replace(fault, subject=draw.choice(OF_SPREADS))
        yield fault


def _fault(draw: random.Random, settings: Settings, kind: Fault, at_utc: Utc) -> PlannedFault:
    seconds = draw.choice((1, 3, 6, 15, 40, 120, 400))
    subject, n = "", 0
    match kind:
        case Fault.PROCESS_KILLED | Fault.PROCESS_KILLED_AGAIN:
            seconds, n = draw.choice((1, 2, 5, 20, 90, 600)), draw.choice((0, 0, *range(1, 40)))
        case Fault.ACTOR_CRASHED:
            subject, n = draw.choice(CRASHABLE), draw.choice((1, 1, 1, 2, 7))
        case Fault.ACTOR_STALLED:
            subject, seconds = draw.choice(STALLABLE), draw.choice((0, 1, 3, 3, 8, 20))
        case Fault.PORT_SLOW:
            seconds = draw.choice((1, 5, 20, 40))
        case Fault.SESSION_GIVEN_UP:
            subject, n = "session", 50
        case Fault.SPOT_SILENT | Fault.HALT:
            subject = draw.choice([t for tickers in settings.lanes.values() for t in tickers])
        case Fault.LINK_OUT_AT_CLOSE:
            seconds = 3_600
        case Fault.QUOTES_JUMP | Fault.QUOTES_WIDE:
            seconds, n = draw.choice((2, 5, 30, 90)), draw.choice((500, 1_500, 4_000))
        case Fault.ACCOUNT_BAD:
            n = draw.randrange(1, 5)
        case Fault.SPOT_JUMP:
            subject, seconds, n = draw.choice(("SPX", "VIX")), draw.choice((2, 30)), draw.choice((60, 1_500))
        case Fault.READ_GROUP_FAILED | Fault.READ_FAILED | Fault.READ_SILENT:
            n = draw.randrange(4)
        case Fault.LEDGER_FAILED | Fault.SHARED_LEDGER_FAILED:
            seconds = draw.choice((1, 1, 3, 20, 120))
        case Fault.CLOCK_OFF:
            n = draw.choice((-2_000, 700, 40_000))
        case _:
            n = draw.randrange(1, 4)
    return PlannedFault(kind, at_utc, seconds * SECOND + draw.randrange(SECOND), subject, n)
