"""The vendor's profiles of one simulated chain: by the domain's functions, in the wire's integers.

Units on the wire are millions of USD (per 1 % move, per volatility point, per hour). `full` is all that
the market has: the nearest and the next expiry. State exposures are in the customers' perspective. Sums
and differences are taken of wire integers, so that the identities hold exactly wherever nothing
saturates. Priors are those of the last whole minute at least as long ago as their lag.
"""

from __future__ import annotations

from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from domain.instants import SECOND
from domain.options import gamma
from domain.options.black_scholes import Floats
from domain.options.gamma import Chain, ChainRefusal, Exposures, GammaProfile
from domain.options.profile import ORDERFLOW_SCALARS, PRIORS, Ints, Profile, Shape, shape_of
from domain.units import Ticks
from simulation.market.chain import OptionChain
from simulation.market.flow import Flow

Longs = NDArray[np.int64]

CATEGORIES = (
    "classic_gex_full", "classic_gex_zero", "classic_gex_one", "state_gex_zero", "state_gex_one",
    "state_delta_zero", "state_gamma_zero", "state_vanna_zero", "state_charm_zero",
    "state_gamma_one", "state_vanna_one", "state_charm_one", "orderflow_orderflow",
)  # fmt: skip
SATURATION = 2_147_483_647
LAGS_MIN = (1, 5, 10, 15, 30)
KEPT_MINUTES, KEPT_SECONDS = 36, 4


def to_wire(usd: Floats) -> Longs:
    """Return USD as hundredths of a million, saturated as a sint32 of the wire is, on both sides."""
    bounded = np.minimum(np.maximum(usd * 1e-4, -SATURATION), SATURATION)
    return np.rint(bounded).astype(np.int64)


def sum_to_wire(hundredths: Longs) -> int:
    """Return the sum of a column of 1/100 as a scalar of 1/1000, saturated."""
    return _clip(10 * int(hundredths.sum()))


def _clip(value: int) -> int:
    return min(max(value, -SATURATION), SATURATION)


class _Instant:
    """Chains, profiles and exposures at one second, each computed when first asked for."""

    def __init__(self, options: OptionChain, flow: Flow, second: int) -> None:
        self._options, self.second = options, second
        self.tally = flow.at(second)
        self.spot = float(options.spots[second])
        minutes = options.minutes_left(second)
        self.iv = options.surface(slice(None), second, self.spot, minutes * 60.0)
        self._columns: dict[str, Longs] = {}
        full = Chain(
            spot=self.spot,
            ladder=options.ladder,
            open_interest=options.open_interest + options.style.opens * self.tally.volume,
            volume=self.tally.volume.astype(np.float64),
            iv=self.iv,
            minutes=minutes,
        )
        self._chains: dict[str, Chain] = {"full": full}
        self._exposures: dict[str, Exposures] = {}

    def rows(self, part: str) -> slice:
        """Return the rows of `zero`, `one` or `full`."""
        half = self._options.per_expiry
        return {"zero": slice(0, half), "one": slice(half, None), "full": slice(None)}[part]

    def chain(self, part: str) -> Chain:
        """Return the option chain of a part."""
        found = self._chains.get(part)
        if found is None:
            ladder = self._options.single_ladder
            found = self._chains[part] = self._chains["full"].part(self.rows(part), ladder)
        return found

    def classic(self, part: str) -> GammaProfile:
        """Return the gamma profile of a part.

        Raises:
            ValueError: the chain was refused, which a simulated session never is before its close.
        """
        found = gamma.profile_of(self.chain(part))
        if isinstance(found, ChainRefusal):
            raise ValueError(f"the simulated chain of second {self.second} is refused: {found}")
        return found

    def exposures(self, part: str) -> Exposures:
        """Return the exposures of customers' net positions of a part."""
        found = self._exposures.get(part)
        if found is None:
            net = self.tally.net[self.rows(part)].astype(np.float64)
            found = self._exposures[part] = gamma.exposures_of(self.chain(part), net)
        return found

    def column(self, name: str) -> Longs:
        """Return a per-strike column of a category in 1/100, as `classic_gex_zero` or `state_charm_one`."""
        found = self._columns.get(name)
        if found is None:
            package, kind, part = name.split("_")
            if package == "classic":
                profile = self.classic(part)
                self._columns[f"classic_oi_{part}"] = to_wire(profile.gex_oi)
                found = to_wire(profile.gex_vol)
            else:
                found = to_wire(cast(Floats, getattr(self.exposures(part), kind)))
            self._columns[name] = found
        return found

    @cached_property
    def orderflow(self) -> dict[str, int]:
        """The order-flow scalars that are levels, not differences, in 1/100, saturated."""
        out: dict[str, int] = {}
        half, is_call = self._options.per_expiry, self._options.is_call
        for part, z, prefix in (("zero", "z", ""), ("one", "o", "one_")):
            rows, exposures = self.rows(part), self.exposures(part)
            out[f"{z}cvr"] = _clip(int(self.column(f"state_gamma_{part}").sum()))
            out[f"{z}gr"] = _clip(int(self.column(f"state_gex_{part}").sum()))
            out[f"{z}vanna"] = -_clip(int(to_wire(exposures.vanna).sum()))
            out[f"{z}charm"] = _clip(int(to_wire(exposures.charm).sum()))
            traded, calls = self.tally.delta_usd[rows], is_call[:half]
            for name, call, put in (
                ("agg", float(traded[calls].sum()), float(traded[~calls].sum())),
                ("net", exposures.call_delta, exposures.put_delta),
            ):
                both = to_wire(np.array([call, put])).tolist()
                out[f"{prefix}{name}_call_dex"], out[f"{prefix}{name}_put_dex"] = both
                out[f"{prefix}{name}_dex"] = _clip(sum(both))
        return out


class ProfileBoard:
    """The profiles of one chain; `snapshot_s` apart are the frames whose differences order flow reports."""

    def __init__(self, options: OptionChain, flow: Flow, snapshot_s: int) -> None:
        self._options, self._flow, self._snapshot_s = options, flow, snapshot_s
        self._levels: Longs = np.rint(options.single_ladder.levels * 100.0).astype(np.int64)
        self._minutes: dict[int, _Instant] = {}
        self._seconds: dict[int, _Instant] = {}

    def profile(self, second: int, category: str) -> Profile:
        """Return the profile of a category at the last snapshot up to a second; after the close it stands still.

        Raises:
            ValueError: the market has no such category.
        """
        last = self._options.path.close_s - 1
        second = min(second, last)
        second = max(second - second % self._snapshot_s, 0)
        shape, now = shape_of(category), self._instant(second)
        if shape is Shape.ORDERFLOW:
            scalars = self._orderflow(now)
            empty = np.zeros(0, np.int64)
            return self._make(category, now, scalars, empty, empty.reshape(0, 0), empty.reshape(0, 0))
        package, kind, part = category.split("_")
        if part not in ("zero", "one") and (kind, part) != ("gex", "full"):
            raise ValueError(f"the simulated market has no category {category!r}")
        column = now.column(category)
        before = [self._before(second, lag).column(category) for lag in LAGS_MIN[: PRIORS[shape]]]
        priors = np.stack(before, axis=1)
        if shape is Shape.GREEK:
            width, rows = self._options.width, now.rows(part)
            iv = np.rint(now.iv[rows] * 1_000.0).astype(np.int64)
            values = np.stack([iv[:width], iv[width:], column], axis=1)
            return self._make(category, now, self._majors(now, part), self._levels, values, priors)
        is_classic = package == "classic"
        oi = now.column(f"classic_oi_{part}") if is_classic else np.zeros_like(column)
        scalars = self._gex(now, part, column, oi, is_classic)
        running = self._before(second, 0).column(category)
        for prior in (running, *before):
            scalars += self._largest(column - prior)
        values = np.stack([column, oi], axis=1)
        return self._make(category, now, scalars, self._levels, values, priors)

    def chain(self, second: int, part: str = "full") -> Chain:
        """Return the option chain of a part at a second; after the close it stands still."""
        return self._instant(min(max(second, 0), self._options.path.close_s - 1)).chain(part)

    def _make(
        self,
        category: str,
        now: _Instant,
        scalars: tuple[int, ...],
        levels: Longs,
        values: Longs,
        priors: Longs,
    ) -> Profile:
        def narrow(array: Longs) -> Ints:
            return array.astype(np.int32)

        source_utc = self._options.path.start_utc + now.second * SECOND
        spot = Ticks(round(now.spot * 100.0))
        return Profile(
            self._options.ticker, category, source_utc, spot, scalars, narrow(levels), narrow(values),
            narrow(priors),
        )  # fmt: skip

    def _instant(self, second: int) -> _Instant:
        is_minute = second % 60 == 0
        kept = self._minutes if is_minute else self._seconds
        found = kept.get(second)
        if found is None:
            found = kept[second] = _Instant(self._options, self._flow, second)
            if len(kept) > (KEPT_MINUTES if is_minute else KEPT_SECONDS):
                del kept[min(kept)]  # the longest ago, not the first that was looked at: lags come back to minutes
        return found

    def _before(self, second: int, minutes: int) -> _Instant:
        """Return the market `minutes` ago, at a whole minute."""
        return self._instant(max(second - second % 60 - 60 * minutes, 0))

    def _gex(self, now: _Instant, part: str, column: Longs, oi: Longs, is_classic: bool) -> tuple[int, ...]:
        flip, reversal = 0, 0
        if is_classic:
            chain = now.chain(part)
            found = gamma.zero_gamma(chain, chain.open_interest, self._options.style.flip_reach)
            flip = 0 if found is None else round(found * 100.0)
            reversal = self._risk_reversal(now, part)
        return (
            flip,
            self._highest(column),
            self._highest(oi),
            self._highest(-column),
            self._highest(-oi),
            sum_to_wire(column),
            sum_to_wire(oi),
            reversal,
        )

    def _risk_reversal(self, now: _Instant, part: str) -> int:
        """Return the 25 Δ call's volatility less the 25 Δ put's, of the part's nearest expiry, in 1/1000."""
        chain, width = now.chain("one" if part == "one" else "zero"), self._options.width
        delta, iv = chain.greeks.delta, chain.iv
        call = int(np.argmin(np.abs(delta[:width] - 0.25)))
        put = int(np.argmin(np.abs(delta[width:] + 0.25)))
        return round(1_000.0 * float(iv[call] - iv[width + put]))

    def _majors(self, now: _Instant, part: str) -> tuple[int, ...]:
        exposures, net = now.exposures(part), now.column(f"state_gamma_{part}")
        return (
            self._highest(np.abs(to_wire(exposures.call_gamma))),
            self._highest(np.abs(to_wire(exposures.put_gamma))),
            self._highest(net),
            self._highest(-net),
        )

    def _highest(self, column: Longs) -> int:
        at = int(np.argmax(column))
        return int(self._levels[at]) if column[at] > 0 else 0

    def _largest(self, change: Longs) -> tuple[int, int]:
        at = int(np.argmax(np.abs(change)))
        return (int(self._levels[at]), _clip(10 * int(change[at]))) if change[at] else (0, 0)

    def _orderflow(self, now: _Instant) -> tuple[int, ...]:
        earlier = self._instant(max(now.second - self._snapshot_s, 0)).orderflow
        out = dict(now.orderflow)
        for prefix, z in (("", "z"), ("one_", "o")):
            for name, of in ((f"{prefix}dexoflow", f"{prefix}agg_dex"), (f"{prefix}gexoflow", f"{z}gr"),
                             (f"{prefix}cvroflow", f"{z}cvr")):  # fmt: skip
                out[name] = _clip(out[of] - earlier[of])
        for part, z in (("zero", "z"), ("one", "o")):
            net, gex = now.column(f"state_gamma_{part}"), now.column(f"state_gex_{part}")
            out[f"{z}_mlgamma"], out[f"{z}_msgamma"] = self._highest(net), self._highest(-net)
            out[f"{part}_mcall"], out[f"{part}_mput"] = self._highest(gex), self._highest(-gex)
        return tuple(out[name] for name in ORDERFLOW_SCALARS)
