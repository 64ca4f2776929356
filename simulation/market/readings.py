"""The readings of a simulated day in columns: what a ticker's published profiles say, all buckets at once.

They are equal to the last bit to those of a market that is stepped bucket by bucket and publishes once in each, at its
begin: what is computed strike by strike, or contract by contract, is computed for the whole day; measures are those of
the domain. Only what readings are made of is computed: no priors, and no scalar that nobody looks at.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from domain.features.frames import session_columns
from domain.features.measures import Floats, with_measures
from domain.instants import BUCKET_NS, MINUTE, SECOND
from domain.options import black_scholes, gamma
from domain.options.gamma import MULTIPLIER, Chain
from domain.options.profile import SCALARS, Ints, Profile, Row, shape_of
from domain.session.calendar import TradingDay
from domain.signals.snapshot import reduced
from domain.units import Ticks, Utc
from simulation.market.chain import OptionChain
from simulation.market.flow import Flow
from simulation.market.profiles import SATURATION, to_wire

Longs = NDArray[np.int64]
A = TypeVar("A", Floats, Longs)

BUCKET_S: Final = BUCKET_NS // SECOND
PER_MINUTE: Final = MINUTE // BUCKET_NS
CHANGE_MIN: Final = 5  # minutes, of the largest change that readings know


class _Category(NamedTuple):
    """One category through the day: (buckets, scalars) and (buckets, strikes, columns), in the wire's integers."""

    scalars: list[list[int]]
    values: Ints


def readings_of(options: OptionChain, flow: Flow, day: TradingDay) -> Floats:
    """Return a ticker's readings of a day (measures, buckets), each of the profiles at the begin of its bucket."""
    found = _Day(options, flow, day)
    categories = found.categories()
    levels = found.levels.astype(np.int32)
    no_priors = np.zeros((len(levels), 0), np.int32)
    snapshots = []
    for n, spot_usd in enumerate(found.spot[:, 0].tolist()):
        bucket_utc, spot = Utc(day.open_utc + n * BUCKET_NS), Ticks(round(spot_usd * 100.0))
        rows = tuple(
            Row(
                Profile(
                    options.ticker, name, bucket_utc, spot, tuple(of.scalars[n]), levels, of.values[n], no_priors
                ), "hub", 1, bucket_utc, bucket_utc,
            )
            for name, of in categories.items()
        )  # fmt: skip
        snapshots.append(with_measures(reduced(bucket_utc, rows), rows, day))
    return session_columns(snapshots, day)


class _Day:
    """The chain at the begin of every bucket, an array of (buckets, rows) each; `spot` is (buckets, 1)."""

    def __init__(self, options: OptionChain, flow: Flow, day: TradingDay) -> None:
        self._options = options
        self.levels: Longs = np.rint(options.single_ladder.levels * 100.0).astype(np.int64)
        at = (options.path.open_s + BUCKET_S * np.arange(day.buckets))[:, None]
        self.spot: Floats = options.spots[at]
        self._minutes = np.maximum(-((at - options.expiry_s) // 60), 0).astype(np.float64)
        self._iv = options.surface(slice(None), at, self.spot, self._minutes * 60.0)
        self._greeks = black_scholes.values(
            self.spot, options.strikes, black_scholes.years_of(self._minutes), self._iv, options.is_call
        )
        tallies = [flow.at(second) for second in at[:, 0].tolist()]
        self._volume = np.array([tally.volume for tally in tallies]).astype(np.float64)
        self._net = np.array([tally.net for tally in tallies]).astype(np.float64)
        self._traded_usd = np.array([tally.delta_usd for tally in tallies])
        self._open = options.open_interest + options.style.opens * self._volume

    def categories(self) -> dict[str, _Category]:
        """Return the categories that features, forces and conditions are made of."""
        gamma_usd = self._greeks.gamma * (MULTIPLIER * self.spot * self.spot * 0.01)
        calls, puts = self._sides(gamma_usd * self._net, "zero")
        gex, net_gamma = to_wire(calls - puts), to_wire(calls + puts)
        vanna_usd = self._greeks.vanna * (MULTIPLIER * self.spot * 0.01) * self._net
        charm_usd = self._greeks.charm * (MULTIPLIER * self.spot / black_scholes.HOURS_PER_YEAR) * self._net
        majors = {"major_long_gamma": self._highest(net_gamma), "major_short_gamma": self._highest(-net_gamma)}
        return {
            "classic_gex_zero": self._classic(gamma_usd),
            "state_gex_zero": self._category("state_gex_zero", {}, gex, np.zeros_like(gex)),
            "state_gamma_zero": self._greek("state_gamma_zero", net_gamma, majors),
            **{
                f"state_{name}_{part}": self._greek(f"state_{name}_{part}", to_wire(np.add(*self._sides(usd, part))))
                for name, usd in (("vanna", vanna_usd), ("charm", charm_usd))
                for part in ("zero", "one")
            },
            "orderflow_orderflow": self._orderflow(gex, net_gamma),
        }

    def _classic(self, gamma_usd: Floats) -> _Category:
        by_volume, by_oi = (
            to_wire(calls - puts)
            for calls, puts in (self._sides(gamma_usd * held, "zero") for held in (self._volume, self._open))
        )
        minutes = np.arange(len(by_volume)) // PER_MINUTE
        before = (minutes - CHANGE_MIN) * PER_MINUTE
        change = by_volume - np.where(before[:, None] >= 0, by_volume[before], 0)  # nothing trades before the open
        largest = np.abs(change).argmax(axis=1)
        changed = np.take_along_axis(change, largest[:, None], axis=1)[:, 0]
        scalars = {
            "zero_gamma": np.array([self._zero_gamma(n) for n in range(len(by_volume))]),
            "major_pos_vol": self._highest(by_volume), "major_pos_oi": self._highest(by_oi),
            "major_neg_vol": self._highest(-by_volume), "major_neg_oi": self._highest(-by_oi),
            "sum_gex_vol": _clipped(10 * by_volume.sum(axis=1)), "sum_gex_oi": _clipped(10 * by_oi.sum(axis=1)),
            "max_strike_5": np.where(changed != 0, self.levels[largest], 0), "max_change_5": _clipped(10 * changed),
        }  # fmt: skip
        return self._category("classic_gex_zero", scalars, by_volume, by_oi)

    def _zero_gamma(self, n: int) -> int:
        options = self._options
        open_interest, volume, iv, minutes = (
            of_rows[n, : options.per_expiry] for of_rows in (self._open, self._volume, self._iv, self._minutes)
        )
        chain = Chain(float(self.spot[n, 0]), options.single_ladder, open_interest, volume, iv, minutes)
        found = gamma.zero_gamma(chain, chain.open_interest, options.style.flip_reach)
        return 0 if found is None else round(found * 100.0)

    def _orderflow(self, gex: Longs, net_gamma: Longs) -> _Category:
        call_agg, put_agg = (_sum_to_wire(side) for side in self._sides(self._traded_usd, "zero"))
        delta_usd = self._greeks.delta * (MULTIPLIER * self.spot) * self._net
        call_dex, put_dex = (_sum_to_wire(side) for side in self._sides(delta_usd, "one"))
        return self._category("orderflow_orderflow", {
            "agg_dex": _clipped(call_agg + put_agg), "zgr": _clipped(gex.sum(axis=1)),
            "zcvr": _clipped(net_gamma.sum(axis=1)), "one_net_call_dex": call_dex, "one_net_put_dex": put_dex,
            "one_net_dex": _clipped(call_dex + put_dex),
        })  # fmt: skip

    def _greek(self, category: str, exposure: Longs, scalars: dict[str, Longs] | None = None) -> _Category:
        ivs = self._sides(np.rint(self._iv * 1_000.0).astype(np.int64), category.rpartition("_")[2])
        return self._category(category, scalars or {}, *ivs, exposure)

    def _category(self, category: str, scalars: dict[str, Longs], *columns: Longs) -> _Category:
        zeros = np.zeros(len(self.spot), np.int64)
        told = [scalars.get(name, zeros) for name in SCALARS[shape_of(category)]]
        values = np.stack(columns, axis=2).astype(np.int32) if columns else np.zeros((len(zeros), 0, 0), np.int32)
        return _Category(np.stack(told, axis=1).tolist(), values)

    def _sides(self, of_rows: A, part: str) -> tuple[A, A]:
        """Return the calls and the puts of the nearest expiry (`zero`) or of the next one (`one`), by strike."""
        width, half = self._options.width, self._options.per_expiry
        first = {"zero": 0, "one": half}[part]
        return of_rows[:, first : first + width], of_rows[:, first + width : first + half]

    def _highest(self, column: Longs) -> Longs:
        """Return the strike of each bucket's largest value; 0 where none is positive."""
        at = column.argmax(axis=1)
        return np.where(np.take_along_axis(column, at[:, None], axis=1)[:, 0] > 0, self.levels[at], 0)


def _clipped(hundredths: Longs) -> Longs:
    return np.clip(hundredths, -SATURATION, SATURATION)


def _sum_to_wire(usd: Floats) -> Longs:
    """Return the sum over strikes in the wire's integers."""
    return to_wire(usd.sum(axis=1))
