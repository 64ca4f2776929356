"""The port of the hub `chain`: in every bucket it has the gamma of each ticker's chain computed, as the vendor would.

What it delivers are the classic categories, and nothing that needs trades classified by side (the state package, order
flow): features that need those are missing, as with any category that does not come.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from domain.instants import BUCKET_NS, MINUTE, SECOND, bucket_of, session_of
from domain.options.chain_files import NoChain
from domain.options.chain_gamma import ChainGamma
from domain.options.chain_rows import PRIORS_MIN, classic_profiles
from domain.options.gamma import ChainRefusal
from domain.options.profile import IngestMode, Profile
from domain.ports import Capability
from domain.session import calendar
from domain.units import Utc
from gateways.bucket_port import BucketPort, End, PortSetup
from gateways.chain.sources import ChainSource
from messages import market

COMPUTE_FROM_NS: Final = 21 * SECOND  # of a bucket: late enough to be its last word, early enough to be in time
AGAIN_S: Final = 0.1  # real, before a ticker that has no chain yet is looked at again
LOOK_S: Final = 0.02  # real; the market's clock may run at any pace
KEPT_N: Final = PRIORS_MIN[-1] * MINUTE // BUCKET_NS + 2  # buckets whose gamma is remembered for the priors


class ChainHubPort(BucketPort):
    """A hub whose profiles are computed.

    Args:
        setup: as for every hub.
        source: where chains come from.
    """

    mode = IngestMode.CHAIN
    capabilities = frozenset({Capability.STREAM})

    def __init__(self, setup: PortSetup, source: ChainSource) -> None:
        super().__init__(setup)
        self._source = source
        self._tickers = tuple(dict.fromkeys(ticker for ticker, _ in setup.expected))
        self._expected = frozenset(setup.expected)
        self._whys: tuple[str, ...] = ()
        self._past: dict[tuple[str, str], deque[ChainGamma]] = {}
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="chain")

    async def hold(self, dial: market.DialHub) -> End:
        """Compute once a bucket of regular hours until no ticker has a chain; why, is how the session ends.

        What a bucket lacks is looked for again until it is over where the source may have it later.
        """
        self.note_up(dial)
        done_utc, has_delivered = Utc(-1), False
        while True:
            now = self.setup.now_utc()
            bucket_utc = bucket_of(now)
            if bucket_utc > done_utc and now - bucket_utc >= COMPUTE_FROM_NS and is_open(now):
                done_utc = bucket_utc
                whys = await self._keep_chains(self._tickers, now)
                while whys and self._source.comes_later and bucket_of(now := self.setup.now_utc()) == bucket_utc:
                    await asyncio.sleep(AGAIN_S)
                    whys = await self._keep_chains(tuple(whys), now)
                has_none = len(whys) == len(self._tickers)
                has_delivered = has_delivered or not has_none
                if has_none:
                    return End(self._whys[0].rstrip("."), has_delivered=has_delivered)
            await asyncio.sleep(LOOK_S)

    async def _keep_chains(self, tickers: tuple[str, ...], now: Utc) -> dict[str, str]:
        """Keep the profiles of tickers at an instant; return why others have none."""
        whys: dict[str, str] = {}
        for ticker in tickers:
            found = await self.loop.run_in_executor(self._executor, self._profiles, ticker, now)
            if isinstance(found, str):
                whys[ticker] = found
                continue
            for profile in found:
                self.keep(profile)
        self._whys = tuple(whys.values())
        return whys

    def notes(self) -> tuple[str, ...]:
        """Return why tickers have no chain, a sentence each."""
        return self._whys

    def close(self, timeout_s: float = 5.0) -> None:
        """End the computing, then the thread."""
        super().close(timeout_s)
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _profiles(self, ticker: str, now: Utc) -> list[Profile] | str:
        """Return a ticker's profiles at an instant, or why it has none."""
        try:
            return self._computed(ticker, now)
        except Exception as error:  # a bug that one file meets must not silence the other tickers
            return f"The chain of {ticker} cannot be used ({error!r:.120}); download it again."

    def _computed(self, ticker: str, now: Utc) -> list[Profile] | str:
        chain = self._source.read(ticker, now)
        if isinstance(chain, NoChain):
            return chain.why
        categories = [category for name, category in self._expected if name == ticker]
        earlier = {category: self._earlier(ticker, category, now) for category in categories}
        found = classic_profiles(ticker, chain.quotes, chain.spot, now, earlier)
        profiles: list[Profile] = []
        refusal: ChainRefusal | None = None
        for category, computed in found.items():
            if isinstance(computed, ChainRefusal):
                refusal = computed
            elif (ticker, category) in self._expected:
                profile, gamma = computed
                self._past.setdefault((ticker, category), deque(maxlen=KEPT_N)).append(gamma)
                profiles.append(profile)
        if not profiles:
            return f"The chain of {ticker} gives no gamma: {'none' if refusal is None else refusal.value}."
        return profiles

    def _earlier(self, ticker: str, category: str, now: Utc) -> dict[int, ChainGamma]:
        """Return what a category was some minutes ago, to half a bucket; what is not known is left out."""
        past = self._past.get((ticker, category), ())
        found: dict[int, ChainGamma] = {}
        for minutes in PRIORS_MIN:
            nearest = min(past, key=lambda gamma: abs(gamma.at_utc - (now - minutes * MINUTE)), default=None)
            if nearest is not None and abs(nearest.at_utc - (now - minutes * MINUTE)) <= BUCKET_NS // 2:
                found[minutes] = nearest
        return found


def is_open(now: Utc) -> bool:
    """Return whether an instant lies in regular hours; outside of them the vendor is silent too."""
    day = calendar.day(session_of(now))
    return day is not None and day.open_utc <= now < day.close_utc
