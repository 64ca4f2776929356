"""The ports of a backtest: recorded quotes, recorded buckets at the hubs' seals, and the order session over both.

At a whole second the exchange matches first, then quotes are told, then everything else happens. Seconds in which
neither could do anything are passed over, which changes nothing else (a test holds a dense day to it).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from datetime import date
from functools import partial
from typing import Any, Final, cast

import msgspec

from domain.options.profile import Row, Rows
from domain.units import Utc
from messages import broker, market
from simulation.backtest.exchange import BacktestExchange
from simulation.backtest.market import RecordedMarket
from simulation.backtest.recorded import RecordedDay
from simulation.days.runtime import EXCHANGE_FIRST, QUOTES_NEXT
from simulation.inprocess.broker import CLOCK_EVERY_NS, InProcessBroker
from simulation.inprocess.market import InProcessQuotes, QuotesCommand
from simulation.inprocess.port import STEP_NS, STEPS_AFTER_CLOSE_NS, C, InProcessPort
from simulation.market.market import Market
from storage.manifest import WarehouseRefusedError
from storage.warehouse_reader import DamagedBucketError, WarehouseReader
from supervision.stepped import SteppedRuntime

_NEVER_UTC: Final = Utc(1 << 62)
HELD_EVERY: Final = 2  # steps between two words of what is held, where nothing new was recorded
HubCommand = market.DialHub | market.SealBucket | market.CoverHub | market.FollowCategories


def as_market(recorded: RecordedMarket) -> Market:
    """Return a recorded market as the in-process ports take one: they ask it for what it has, and for nothing else."""
    return cast(Market, recorded)


class StepsWhenDue(InProcessPort[C]):
    """A port that steps at the whole seconds at which something can come of it; a dense one at all of them."""

    is_dense = False
    _rank: int  # among what steps at the same instant
    _planned_utc: Utc | None = None

    def _every(self, period_ns: int, act: Callable[[], None]) -> None:
        self._act = act
        self._started_utc = self._now()
        self._plan_step()

    def _plan_step(self) -> None:
        now = self._now()
        first_utc = Utc(now + STEP_NS - (now - self._started_utc) % STEP_NS)
        at_utc = first_utc if self.is_dense else max(first_utc, self._due_utc(first_utc))
        if at_utc == self._planned_utc or at_utc > self._market.close_utc + STEPS_AFTER_CLOSE_NS:
            return
        self._planned_utc = at_utc
        self._runtime.call_first_at(at_utc, self._rank, partial(self._step_planned, at_utc))

    def _step_planned(self, at_utc: Utc) -> None:
        if at_utc == self._planned_utc:  # it was not planned anew meanwhile
            self._planned_utc = None
            self._act()
            self._plan_step()

    @abstractmethod
    def _due_utc(self, first_utc: Utc) -> Utc:
        """Return the first step from `first_utc`, the next one, on that could do anything."""


class RecordedBroker(StepsWhenDue[broker.BrokerCommand], InProcessBroker):
    """The order session over recorded quotes."""

    _rank = EXCHANGE_FIRST

    def __init__(
        self, owner: str, runtime: SteppedRuntime, recorded: RecordedMarket, exchange: BacktestExchange
    ) -> None:
        self._of_backtest = exchange
        super().__init__(owner, runtime, as_market(recorded), exchange)

    def _take(self, command: broker.BrokerCommand) -> None:
        super()._take(command)
        self._plan_step()

    def _due_utc(self, first_utc: Utc) -> Utc:
        told_utc = Utc(first_utc + -first_utc % CLOCK_EVERY_NS)  # the account, too
        return told_utc if (due_utc := self._of_backtest.next_due(first_utc)) is None else min(told_utc, due_utc)


class RecordedQuotes(StepsWhenDue[QuotesCommand], InProcessQuotes):
    """The market data session over recorded quotes: told when they were recorded, and at once to who asks."""

    _rank = QUOTES_NEXT

    def __init__(self, owner: str, runtime: SteppedRuntime, recorded: RecordedMarket, day: RecordedDay) -> None:
        self._recorded = recorded
        self._looks = day.looks()
        self._next_n = 0
        super().__init__(owner, runtime, as_market(recorded))

    def _take(self, command: QuotesCommand) -> None:
        self._take_up(command)
        self._plan_step()

    def _due_utc(self, first_utc: Utc) -> Utc:
        next_utc = self._looks[self._next_n][0] if self._next_n < len(self._looks) else _NEVER_UTC
        after_first = -(first_utc - next_utc) // STEP_NS  # so many steps, the last not before it was recorded
        due_utc = first_utc + max(0, after_first) * STEP_NS
        held_utc = first_utc + -(first_utc - self._started_utc) % (HELD_EVERY * STEP_NS)
        return Utc(min(due_utc, held_utc) if self._close else due_utc)

    def _take_up(self, command: QuotesCommand) -> None:
        if isinstance(command, market.WatchClosely):
            new = set(command.con_ids) - self._close
            super()._take(command)
            self._tell_quotes(new & self._contracts)
            return
        if isinstance(command, market.Subscribe):
            self._contracts.update(c.con_id for c in command.contracts)
            self._tickers.update(command.tickers)
            self._tell_quotes({c.con_id for c in command.contracts})
            return
        super()._take(command)

    def _list_chain(self, command: market.ListChain) -> None:
        listed = self._recorded.contracts(command.ticker)
        found = tuple(c for c in listed if (c.expiry, c.trading_class) == (command.expiry, command.trading_class))
        if not found:
            why = "nothing was recorded of it"
            self._tell(market.ChainFailed(session_epoch=self._epoch, ticker=command.ticker, why=why))
            return
        self._tell(
            market.ChainListed(
                session_epoch=self._epoch, ticker=command.ticker, contracts=found,
                underlying_con_id=self._recorded.underlying_con_id(command.ticker),
                hours=((self._recorded.open_utc, self._recorded.close_utc),),
            )
        )  # fmt: skip

    def _step(self) -> None:
        """Tell what was recorded since the last step, and what is held now and then: it stands as it was."""
        self._steps = (self._now() - self._started_utc) // STEP_NS
        now, quoted, priced = self._now(), set[int](), set[str]()
        while self._next_n < len(self._looks) and self._looks[self._next_n][0] <= now:
            _, con_ids, tickers = self._looks[self._next_n]
            quoted.update(con_ids)
            priced.update(tickers)
            self._next_n += 1
        if self._steps % HELD_EVERY == 0:
            quoted |= self._close
        quoted &= self._contracts
        if quoted or priced & self._tickers:
            self._tell_quotes(quoted)

    def _tell_quotes(self, con_ids: set[int]) -> None:
        """Tell these quotes with the prices of all underlyings, so that both are of one instant."""
        if not self._is_up:
            return
        self._market_now()
        self._tell(
            market.QuotesArrived(
                session_epoch=self._epoch, quotes=self._recorded.quotes(sorted(con_ids)),
                spots=self._recorded.spots(sorted(self._tickers)),
            )
        )  # fmt: skip


class DamagedBucket(msgspec.Struct, frozen=True):
    """A bucket of a hub that could not be read and was left out: of which tickers it would have had rows, and why."""

    bucket_utc: Utc
    tickers: tuple[str, ...]
    why: str


class RecordedRows:
    """The rows of one hub as the warehouse has them, of the tickers and categories that are asked for."""

    def __init__(
        self, reader: WarehouseReader, session: date, hub: str, tickers: Sequence[str], categories: Sequence[str]
    ) -> None:
        self.hub = hub
        self.categories = categories
        self.keys = tuple((ticker, category) for ticker in tickers for category in categories)
        self._reader = reader
        self._session = session
        self.rows_n = 0
        self.buckets: list[Utc] = []  # of which there were rows
        self.damaged: list[DamagedBucket] = []

    def of(self, bucket_utc: Utc, absent: Collection[tuple[str, str]] = ()) -> Rows:
        """Return what is stored of a bucket and wanted, without the pairs that were absent; count it."""
        ref = f"{self.hub}/{bucket_utc}"
        try:
            found = self._reader.read_bucket(self._session, self.hub, bucket_utc)
            imported = self._reader.imported_rows(self._session, self.hub, bucket_utc)
        except (DamagedBucketError, WarehouseRefusedError) as error:
            return self._left_out(bucket_utc, ref, str(error).removesuffix("."))
        except FileNotFoundError:
            return self._left_out(bucket_utc, ref, f"a file of {self.hub} that the manifest names is not there")
        stored = () if found is None else found.rows
        live = set(map(_key, stored))
        every = (*stored, *(row for row in imported if _key(row) not in live))
        wanted = set(self.keys).difference(absent)
        rows = tuple(row for row in every if _key(row) in wanted)
        self.count(bucket_utc, len(rows))
        is_as_stored = len(rows) == len(every) == len(stored)
        return Rows(ref, rows, found.content_hash if found is not None and is_as_stored else None)

    def count(self, bucket_utc: Utc, rows_n: int) -> None:
        """Count rows of a bucket."""
        self.rows_n += rows_n
        if rows_n:
            self.buckets.append(bucket_utc)

    def _left_out(self, bucket_utc: Utc, ref: str, why: str) -> Rows:
        tickers = tuple(dict.fromkeys(ticker for ticker, _ in self.keys))
        self.damaged.append(DamagedBucket(bucket_utc, tickers, why))
        return Rows(ref, ())


class RecordedHub(InProcessPort[HubCommand]):
    """One hub: each bucket as the warehouse has it."""

    def __init__(self, owner: str, runtime: SteppedRuntime, recorded: RecordedMarket, stored: RecordedRows) -> None:
        super().__init__(owner, runtime, as_market(recorded))
        self.stored = stored

    def _take(self, command: HubCommand) -> None:
        hub = self.stored.hub
        match command:
            case market.DialHub():
                self._tell(market.HubUp(hub=hub, feed_epoch=command.feed_epoch, recovered=False))
            case market.SealBucket():
                self._seal(command.bucket_utc)
            case market.CoverHub() | market.FollowCategories():
                pass  # what was recorded is all there is

    def _seal(self, bucket_utc: Utc) -> None:
        rows = self.stored.of(bucket_utc)
        present = {_key(row) for row in rows.rows}
        self._tell(
            market.BucketSealed(
                hub=self.stored.hub, bucket_utc=bucket_utc, rows=rows,
                absent=tuple(key for key in self.stored.keys if key not in present),
                counts=market.FrameCounts(accepted=len(rows.rows)), why_absent="not recorded",
            )
        )  # fmt: skip


def _key(row: Row) -> tuple[str, str]:
    return row.profile.ticker, row.profile.category


class StoredAlready:
    """The warehouse of a backtest: what is to be stored lies in the warehouse that it came from."""

    def __init__(self) -> None:
        self._taken: list[market.StoreBucket] = []

    @property
    def in_hand(self) -> int:
        """Buckets taken and not told yet."""
        return len(self._taken)

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to release."""

    def take_findings(self) -> tuple[str, ...]:
        """Return that nothing was found."""
        return ()

    def take(self, message: market.StoreBucket) -> None:
        """Take note of a bucket."""
        self._taken.append(message)

    def flush(self) -> tuple[market.BucketStored | market.BucketNotStored, ...]:
        """Tell that each is stored."""
        told = tuple(
            market.BucketStored(hub=b.hub, bucket_utc=b.bucket_utc, content_hash=b.rows.content_hash)
            for b in self._taken
        )
        self._taken.clear()
        return told

    def show(self) -> None:
        """Show nothing."""

    def disk_fault(self) -> str | None:
        """Return that the disk is well."""
        return None

    def tidy(self) -> None:
        """Take nothing away."""

    def end_day(self, session: Any) -> None:
        """Put nothing on record."""

    def start_seal(self, session: Any = None) -> bool:
        """Return that there is no work."""
        return False

    def poll_seal(self) -> str | None:
        """Return that nothing runs."""
        return ""
