"""The market side's ports of the stepped runtime: quotes, feed and hubs over the simulated market."""

from __future__ import annotations

from typing import assert_never

from domain.instants import BUCKET_NS, SECOND, bucket_of
from domain.instruments import Quote
from domain.options.profile import Row, Rows
from domain.units import Utc
from messages import broker, market
from simulation.inprocess.port import STEP_NS, InProcessPort, LinkedPort
from simulation.market.market import Market
from supervision.stepped import SteppedRuntime

QuotesCommand = broker.LinkCommand | market.ListChain | market.Subscribe | market.Unsubscribe | market.WatchClosely
HubCommand = market.DialHub | market.SealBucket | market.CoverHub | market.FollowCategories

WIDE_EVERY = 5  # steps between batches of quotes that nobody holds or waits for
TOKEN_LIFE_NS = 3600 * SECOND
RECOVERY_NS = 30 * SECOND


class InProcessQuotes(LinkedPort[QuotesCommand]):
    """The market data session over the market itself: what is watched closely every step, the rest more slowly."""

    def __init__(self, owner: str, runtime: SteppedRuntime, simulated: Market) -> None:
        super().__init__(owner, runtime, simulated)
        self._contracts: set[int] = set()
        self._close: set[int] = set()
        self._tickers: set[str] = set()
        self._last: dict[int, Quote] = {}
        self._steps = 0
        self._every(STEP_NS, self._step)

    def _take(self, command: QuotesCommand) -> None:
        match command:
            case broker.Dial():
                self._contracts.clear()
                self._close.clear()
                self._tickers.clear()
                self._last.clear()
                self._dial(command)
            case broker.CloseLink():
                self._is_up = False
            case market.ListChain():
                self._list_chain(command)
            case market.Subscribe():
                self._contracts.update(c.con_id for c in command.contracts)
                self._tickers.update(command.tickers)
                self._tell_quotes(self._contracts)
            case market.Unsubscribe():
                self._contracts.difference_update(command.con_ids)
            case market.WatchClosely():
                self._close = set(command.con_ids)
            case _:
                assert_never(command)

    def halt(self, ticker: str, is_halted: bool) -> None:
        """Say that an underlying is halted, or trades again; what its options do is the exchange's `halt`."""
        if self._is_up:
            con_id = self._market.underlying_con_id(ticker)
            self._tell(market.HaltHeard(session_epoch=self._epoch, con_id=con_id, ticker=ticker, is_halted=is_halted))

    def _list_chain(self, command: market.ListChain) -> None:
        found = tuple(c for c in self._market.contracts(command.ticker) if c.expiry == command.expiry)
        self._tell(
            market.ChainListed(
                session_epoch=self._epoch, ticker=command.ticker, contracts=found,
                underlying_con_id=self._market.underlying_con_id(command.ticker),
                hours=((self._market.open_utc, self._market.close_utc),),
            )
        )  # fmt: skip

    def _step(self) -> None:
        self._steps += 1
        if self._steps % WIDE_EVERY == 0:
            self._tell_quotes(self._contracts)
        elif self._close:
            self._tell_quotes(self._contracts & self._close)

    def _tell_quotes(self, con_ids: set[int]) -> None:
        if not self._is_up:
            return
        self._market_now()
        changed = []
        quote_of, spot_of, last = self._market.quote, self._market.spot, self._last
        for con_id in sorted(con_ids):
            quote, known = quote_of(con_id), last.get(con_id)
            if quote is not known and quote != known:
                last[con_id] = quote
                changed.append(quote)
        spots = tuple([spot_of(ticker) for ticker in sorted(self._tickers)])
        if changed or spots:
            self._tell(market.QuotesArrived(session_epoch=self._epoch, quotes=tuple(changed), spots=spots))


class InProcessFeed(InProcessPort[market.Negotiate | market.PatchMemberships]):
    """Negotiation that always succeeds; the hubs deliver what the settings name, whatever is joined."""

    def __init__(self, owner: str, runtime: SteppedRuntime, simulated: Market, hubs: tuple[str, ...]) -> None:
        super().__init__(owner, runtime, simulated)
        self._hubs = hubs

    def _take(self, command: market.Negotiate | market.PatchMemberships) -> None:
        if isinstance(command, market.PatchMemberships):
            joined_n = len(command.memberships)
            self._tell(market.MembershipsPatched(feed_epoch=command.feed_epoch, updated_n=joined_n))
            return
        until_utc = self._now() + TOKEN_LIFE_NS
        self._tell(market.Negotiated(feed_epoch=command.feed_epoch, hubs=self._hubs, token_until_utc=until_utc))


class InProcessHub(InProcessPort[HubCommand]):
    """One hub: each bucket holds the market's profiles as of the bucket's last second."""

    def __init__(
        self, owner: str, runtime: SteppedRuntime, simulated: Market, keys: tuple[tuple[str, str], ...]
    ) -> None:
        super().__init__(owner, runtime, simulated)
        self._hub = owner.partition(":")[2]
        self._keys = keys
        self._buckets: dict[Utc, tuple[Row, ...]] = {}
        self._feed_epoch = 0
        self._is_up = False
        self._down_until_utc = Utc(0)
        runtime.call_at(simulated.open_utc + BUCKET_NS - SECOND, self._capture)

    def drop(self, duration_ns: int) -> None:
        """Lose the connection now; a dial succeeds `duration_ns` later.

        As a real port does, it tries to recover it for a while before it tells.
        """
        self._down_until_utc = self._now() + duration_ns
        self._is_up = False
        self._later(min(duration_ns, RECOVERY_NS), self._end_recovery)

    def _end_recovery(self) -> None:
        self._is_up = self._now() >= self._down_until_utc
        if self._is_up:
            self._tell(market.HubUp(hub=self._hub, feed_epoch=self._feed_epoch, recovered=True))
        else:
            self._tell(
                market.HubDown(
                    hub=self._hub, feed_epoch=self._feed_epoch, cause="closed", can_reuse=True, has_delivered=True
                )
            )

    def _capture(self) -> None:
        now = self._market_now()
        if self._is_up:
            profiles = [self._market.profile(*key) for key in self._keys]
            self._buckets[bucket_of(now)] = tuple(
                Row(profile=p, hub=self._hub, frames=1, first_utc=p.source_utc, last_utc=p.source_utc, mode="simulated")
                for p in profiles
            )
        if now + BUCKET_NS <= self._market.close_utc:
            self._later(BUCKET_NS, self._capture)
        else:
            self._await_session()

    def _await_session(self) -> None:
        """Go on with the market's next session, where it rolls into one."""
        if self._market_now() < self._market.open_utc:
            self._runtime.call_at(self._market.open_utc + BUCKET_NS - SECOND, self._capture)
        elif self._market.over_utc is not None:
            self._runtime.call_at(self._market.over_utc, self._await_session)

    def _take(self, command: HubCommand) -> None:
        match command:
            case market.DialHub():
                self._dial(command.feed_epoch)
            case market.SealBucket():
                self._seal(command.bucket_utc)
            case market.CoverHub() | market.FollowCategories():
                pass  # in process nothing is silent, nothing is polled, and nobody joins anything
            case _:
                assert_never(command)

    def _dial(self, feed_epoch: int) -> None:
        self._feed_epoch = feed_epoch
        if self._now() < self._down_until_utc:
            self._tell(market.HubDown(hub=self._hub, feed_epoch=feed_epoch, cause="refused", can_reuse=True))
            return
        self._is_up = True
        self._tell(market.HubUp(hub=self._hub, feed_epoch=feed_epoch, recovered=False))

    def _seal(self, bucket_utc: Utc) -> None:
        rows = Rows(f"{self._hub}/{bucket_utc}", self._buckets.pop(bucket_utc, ()))
        present = {(row.profile.ticker, row.profile.category) for row in rows.rows}
        self._tell(
            market.BucketSealed(
                hub=self._hub, bucket_utc=bucket_utc, rows=rows,
                absent=tuple(key for key in self._keys if key not in present),
                counts=market.FrameCounts(accepted=len(rows.rows)),
            )
        )  # fmt: skip
