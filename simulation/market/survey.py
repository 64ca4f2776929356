"""Many simulated days measured: the stylised facts beside those of real days, and what each alert kind was worth.

A day is measured in a process of its own kind, alone: its prices, some instants of its quotes, and the alerts that the
lanes' own evaluators find on the index's readings. What an alert is worth is the move of spot in its direction after
15 min, before any cost; what the straddle is worth is its payment at the close less its mid at 10:00.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from functools import partial
from multiprocessing import get_context
from typing import Final, NamedTuple

import msgspec
import numpy as np

from config.settings import Settings, from_json
from domain.features.measures import Floats
from domain.instants import MINUTE
from domain.session import calendar
from domain.session.calendar import TradingDay
from domain.signals.alerts import EVALUATORS, evaluators_of
from domain.signals.columns import Lane, Memory, TickerDay, alerts_in
from domain.signals.outcome import PATH_MINUTES
from domain.units import Utc
from simulation.market import facts
from simulation.market.from_settings import nature_of
from simulation.market.market import Market
from simulation.market.readings import readings_of
from simulation.market.style import Kind, Nature

TICKER: Final = "SPX"
JUDGED_FROM: Final = 200  # even then the variance ratio of 130 min has a standard error of half its bounds
WORTH_MIN: Final = 15
NOTHING_FED_BACK: Final = "1 at feedback 0"
DEVIATIONS: Final = (-2.9, 1.5, 2.9)
PREMIUMS_USD: Final = ((10.0, 20.0), (20.0, 40.0))
LATER_MIN: Final = (60, 120, 180, 240, 300, 360)


class DayFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What one day came to.

    `minutes` are log prices; `spreads` by premiums of 10–20 and 20–40 USD after the first 25 min, then within them;
    `levels_usd` are zero gammas through the day; `worth_bps` of each alert by kind.
    """

    seed: int
    minutes: list[float]
    expected_move_bps: float
    iv: float
    smile: list[float]
    spreads: tuple[list[float], list[float], list[float], list[float]]
    volume: int
    parity_missed: float
    refilled: float
    crossings: list[int]
    wrong: list[bool]
    levels_usd: list[float]
    straddle_bps: float
    worth_bps: dict[str, list[float]]


def measure_day(seed: int, session: date, nature: Nature, settings: Settings, *, with_alerts: bool) -> DayFigures:
    """Return the figures of one day.

    Raises:
        ValueError: no trading on that date.
    """
    day = calendar.day(session)
    if day is None:
        raise ValueError(f"{session} is no session")
    market = Market(seed, session, (TICKER,), nature=nature)
    # Readings come first: they draw the order flow of the whole day, of which the rest looks at some whole minutes.
    worth = _worth(readings_of(*market.made_of(TICKER), day), day, settings) if with_alerts else {}
    narrow: tuple[list[float], list[float]] = ([], [])
    early: tuple[list[float], list[float]] = ([], [])
    crossings: list[facts.Crossings] = []

    def look(minute: int, widths: tuple[list[float], list[float]]) -> list[facts.Pair]:
        market.step(Utc(day.open_utc + minute * MINUTE))
        pairs = facts.pairs_of(market)
        for kept, (low, high) in zip(widths, PREMIUMS_USD, strict=True):
            kept.extend(facts.widths_usd(pairs, low, high))
        crossings.append(facts.crossings_of(market))
        return pairs

    expected = facts.expected_move_bps(market, look(5, early))
    look(15, early)
    pairs = look(30, narrow)
    spot = facts.spot_usd(market)
    iv, curve = facts.iv_at_usual_vix(market, pairs), facts.smile(market, pairs, DEVIATIONS)
    bought = facts.nearest(pairs, spot)
    later = [minute for minute in LATER_MIN if minute * MINUTE < day.close_utc - day.open_utc]
    missed = [facts.parity_missed(market, look(minute, narrow)) for minute in later]
    refilled = facts.refilled(market, facts.pairs_of(market))
    market.step(day.close_utc)
    nearest = market.nearest_chain(TICKER)
    paid = abs(market.settlement_ticks(TICKER) / facts.TICKS - bought.strike_usd)
    return DayFigures(
        seed=seed, minutes=facts.minutes_of(market).tolist(), expected_move_bps=expected, iv=iv, smile=curve,
        spreads=(*narrow, *early), volume=int(nearest.volume.sum()),
        parity_missed=float(np.mean(missed)), refilled=refilled,
        crossings=[one.levels for one in crossings], wrong=[one.is_wrong for one in crossings],
        levels_usd=[one.nearest_usd for one in crossings if one.nearest_usd is not None],
        straddle_bps=(paid - bought.mid_usd) / spot * facts.BPS,
        worth_bps=worth,
    )  # fmt: skip


def _worth(readings: Floats, day: TradingDay, settings: Settings) -> dict[str, list[float]]:
    """Return what each kind's alerts on the index were worth, in bps."""
    rules = settings.alert_rules
    evaluators = evaluators_of([kind for kind in EVALUATORS if kind in rules], rules, {})
    one = TickerDay.of(TICKER, day, readings)
    worth: dict[str, list[float]] = {evaluator.kind: [] for evaluator in evaluators}
    for found in alerts_in([one], Lane("survey", evaluators), settings.day, Memory()):
        after = found.outcome.path_bps[PATH_MINUTES.index(WORTH_MIN)]
        if after is not None:
            worth[found.alert.key.kind].append(after)
    return worth


def _measured(place: tuple[int, date], raw: bytes, with_alerts: bool) -> DayFigures:
    settings = from_json(raw)
    return measure_day(*place, nature_of(settings), settings, with_alerts=with_alerts)


def survey(
    settings: Settings, places: Sequence[tuple[int, date]], *, workers: int, with_alerts: bool
) -> Iterator[DayFigures]:
    """Yield the figures of the settings' market at each seed and session, as they come, over several processes.

    Raises:
        BrokenProcessPool: a process died.
    """
    if not places:
        return
    measure = partial(_measured, raw=settings.to_json(), with_alerts=with_alerts)
    # Ctrl-C is answered by whoever reads this: a process would count it as one day that failed, and go on.
    pool = ProcessPoolExecutor(
        min(workers, len(places)), get_context("spawn"), initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )  # fmt: skip
    with pool:
        yield from pool.map(measure, places)


# -- the table ------------------------------------------------------------------------------------


class Fact(NamedTuple):
    """One line: what real days say, what the simulated ones say, and the bounds within which it is taken to agree.

    `needs` says at which factor of feedback it is judged: that of 1 where dealers' premium is in it, 0 where nothing
    may pay; `None`: always.
    """

    name: str
    real: str
    value: float
    low: float
    high: float
    needs: float | None = None

    def verdict(self, nature: Nature, days: int) -> str:
        """Return `yes`, `no`, or `-` where it is not judged of such a market, or of so few days."""
        if days < JUDGED_FROM or (self.needs is not None and nature != Nature(Kind.HONEST, self.needs)):
            return "-"
        return "yes" if self.low <= self.value <= self.high else "no"


class Worth(NamedTuple):
    """What one kind's alerts came to: how many, the mean in bps after 15 min, and the t of it over days."""

    kind: str
    alerts: int
    mean_bps: float
    t: float


def facts_of(days: Sequence[DayFigures]) -> list[Fact]:
    """Return the table of a survey's days."""
    prices = np.array([one.minutes for one in days])

    def mean(values: Iterable[float]) -> float:
        found = list(values)
        return float(np.mean(found)) if found else float("nan")

    narrow_10, narrow_20, early_10, early_20 = (
        float(np.median([width for one in days for width in one.spreads[n]] or [np.nan])) for n in range(4)
    )
    below, above, wing = (mean(one.smile[n] for one in days) for n in range(3))
    spans = [(max(one.levels_usd) / min(one.levels_usd) - 1.0) * facts.BPS for one in days if one.levels_usd]
    several = mean(n > 1 for one in days for n in one.crossings)
    ratios = {n: facts.variance_ratio(prices, n) for n in (5, 30, 130)}
    return [
        *(Fact(f"variance ratio, {n} min", NOTHING_FED_BACK, ratio, 0.9, 1.1, 0.0) for n, ratio in ratios.items()),
        Fact("autocorrelation of 1 min returns", "0 at feedback 0", facts.lag_one(prices), -0.03, 0.03, 0.0),
        Fact("expected move at 09:35, VIX 16 (bps)", "53", mean(d.expected_move_bps for d in days), 50.0, 56.0, 1.0),
        Fact("realised a day (bps)", "48", facts.realised_bps(prices), 44.0, 52.0),
        Fact("IV at 10:00 a year, VIX 16", "0.186", mean(one.iv for one in days), 0.176, 0.196, 1.0),
        Fact("excess kurtosis, time of day out", "1.9", facts.excess_kurtosis(prices), 1.2, 2.6),
        Fact("smile at -2.9 sd", "1.5", below, 1.4, 1.6),
        Fact("smile at +1.5 sd", "1.0", above, 0.95, 1.05),
        Fact("smile at +2.9 sd", "1.2 to 1.4", wing, 1.2, 1.4),
        Fact("spread at 10 to 20 USD", "0.40", narrow_10, 0.30, 0.50),
        Fact("spread at 20 to 40 USD", "0.70 to 1.20", narrow_20, 0.70, 1.20),
        Fact("the same, first 25 min", "wider", early_10, narrow_10 + 0.01, 1.5),
        Fact("the same at 20 to 40 USD", "wider", early_20, narrow_20 + 0.01, 3.0),
        Fact("contracts of today's expiry (M)", "2.2 to 2.6", mean(one.volume for one in days) / 1e6, 2.2, 2.6),
        Fact("zero gamma's range in a day (bps)", "moves", mean(spans), 10.0, 300.0),
        Fact("instants with several crossings", "at times", several, 0.005, 0.5),
        Fact("spot on the wrong side of one", "2 of 88", mean(float(w) for one in days for w in one.wrong), 0.0, 0.06),
        Fact("parity missed by more than spreads", "0", mean(one.parity_missed for one in days), 0.0, 0.01),
        Fact("sizes that are new each second", "few", mean(one.refilled for one in days), 0.0, 0.15),
        Fact("t of the straddle, 10:00 to close", "0 at feedback 0", straddle_of(days).t, -2.0, 2.0, 0.0),
        *(Fact(f"t of {one.kind}", "0 at feedback 0", one.t, -2.0, 2.0, 0.0) for one in worth_of(days)),
    ]  # fmt: skip


def worth_of(days: Sequence[DayFigures]) -> list[Worth]:
    """Return what each kind's alerts came to."""
    kinds = sorted({kind for one in days for kind in one.worth_bps})
    found = []
    for kind in kinds:
        values = [value for one in days for value in one.worth_bps[kind]]
        t = facts.t_of([sum(one.worth_bps[kind]) for one in days])
        found.append(Worth(kind, len(values), float(np.mean(values)) if values else 0.0, t))
    return found


def straddle_of(days: Sequence[DayFigures]) -> Worth:
    """Return what buying the straddle at 10:00 came to, at mid."""
    values = [one.straddle_bps for one in days]
    return Worth("straddle", len(values), float(np.mean(values)), facts.t_of(values))
