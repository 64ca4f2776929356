"""Days of the past, one after the other, on the actors that run live; only the clock and the ports are others.

Ledgers go on from day to day, as a desk's do; of the market there is one day in memory at a time.
"""

from __future__ import annotations

import gc
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from config.settings import Settings
from domain.instants import MINUTE, MS, SECOND, session_of
from domain.market.derived import Told
from domain.position.cycle import EndReason
from domain.reports.trades import by_structure, closing_text, exit_reasons
from domain.session import calendar
from domain.session.calendar import TradingDay
from domain.units import Cents, Utc
from main import Port, Stores, assemble
from messages.market import ContextRead
from simulation.backtest.exchange import BacktestExchange
from simulation.backtest.heard import Heard, HeardHub, HeardQuotes, Hearing
from simulation.backtest.holes import holes_of
from simulation.backtest.market import RecordedMarket
from simulation.backtest.model import FillModel
from simulation.backtest.ports import (
    DamagedBucket,
    RecordedBroker,
    RecordedQuotes,
    RecordedRows,
    StoredAlready,
    as_market,
)
from simulation.backtest.readings import DayReadings, RecordedReadings, measured, without_feed
from simulation.backtest.recorded import RecordedDay, load
from simulation.backtest.recorded_fills import RecordedFills, RecordedFillsBroker, RecordedFillsExchange
from simulation.inprocess.market import InProcessFeed
from simulation.inprocess.port import PAPER
from storage.derived_told import derived_told
from storage.desk_ledger import DeskLedger
from storage.ledger_file import Together
from storage.promotions import promote
from storage.queries import Found, LedgerReader
from storage.series_reader import SeriesReader
from storage.shared_ledger import SharedLedger, start_run
from storage.sqlite_file import LedgerRefusedError
from storage.warehouse_reader import WarehouseReader
from supervision.collecting import collected_seldom
from supervision.spec import Tree
from supervision.stepped import SteppedRuntime, VirtualClock
from supervision.trace import NoTrace

BEFORE_OPEN_NS: Final = 10 * MINUTE
AFTER_NS: Final = 60 * SECOND  # behind the settlement routine
_DAY_MS: Final = 24 * 60 * MINUTE // MS

Promotions = Mapping[str, tuple[str, ...]]  # by source, each as KIND-version


def on_paper(settings: Settings) -> Settings:
    """Return the settings with the simulated paper account, whatever the port and the money of a desk are."""
    broker = replace(settings.broker, paper_port=PAPER.port)
    return settings.model_copy(update={"broker": broker, "trading_mode": "paper"})


def for_recorded_days(settings: Settings) -> Settings:
    """Return the settings without what comes to nothing on a recorded day, and decides nothing.

    Nobody keeps what is told for keeping, a chain of which nothing was recorded never will be listed, and a link that
    is dialled comes up.
    """
    warehouse = replace(settings.warehouse, quotes_every_ms=_DAY_MS, chain_every_ms=_DAY_MS)
    connection = replace(settings.connection, retry_slow_ms=_DAY_MS)
    return settings.model_copy(update={"warehouse": warehouse, "connection": connection})


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """One closed position, or all legs of a structure: money in cents, net of fees; instants in ns UTC.

    `reason` is the code of its last part, `closed_by` says those of all parts in words. Of a structure `contract` and
    `ticker` name its legs, and `qty` is that of a bought one.
    """

    session: date
    ticker: str
    contract: str
    strategy: str
    qty: int
    pnl_cents: int
    fees_cents: int
    reason: str
    opened_utc: Utc
    closed_utc: Utc
    closed_by: str = ""


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """What a session came to; `rows` and `quotes` are what was recorded of it, `nav_cents` is at its end.

    `refused` counts refused attempts by code, without `shadows`; `held` are positions that nothing closed; `digest` is
    the hash of its alerts, verdicts and executions; `damaged` names buckets and files that were left out, `lacking`
    what was not recorded for ten minutes or more; `unpriced` are positions that expired without a fresh price of their
    underlying: booked as worthless, while NAV has them at its last price; `killed` says why kill levels were raised,
    each level once, the first ones first; `damaged_buckets` are the hubs' alone, each; `apart_s` are the seconds
    between two recorded quotes of a contract, by the median (0: there are none); `messages` is how many were handled.
    """

    session: date
    trades: tuple[Trade, ...]
    rows: int
    quotes: int
    contracts: int
    alerts: int
    shadows: int
    refused: dict[str, int]
    unfilled: int
    held: int
    nav_cents: Cents
    digest: str
    crashed: tuple[str, ...]
    damaged: tuple[str, ...]
    unpriced: int = 0
    apart_s: float = 0.0
    killed: tuple[tuple[int, str], ...] = ()
    lacking: tuple[str, ...] = ()
    damaged_buckets: tuple[DamagedBucket, ...] = ()
    messages: int = 0

    @property
    def why_no_entry(self) -> str | None:
        """Why nothing was entered, in a few words; `None` where something was."""
        if self.trades or self.held:
            return None
        if not self.rows:
            return "no profile of a hub is stored: no reading, so no alert"
        if not self.alerts:
            return "no alert was found"
        if self.alerts == self.shadows:
            return f"{self.shadows} alerts, all shadows: nothing of them is promoted"
        if not self.contracts:
            return "no quote of a contract that expires that day is stored"
        codes = ", ".join(f"{code} {n}" for code, n in self.refused.items())
        unfilled = f"{self.unfilled} not filled" if self.unfilled else ""
        return "; ".join(filter(None, (codes and f"refused: {codes}", unfilled))) or "nothing was decided"


class Backtest:
    """A data folder's days, traded with its settings.

    Args:
        settings: the whole tree, as a run takes it; a desk of live money is backtested on paper.
        series: the folder of series (quotes, chains, prices).
        warehouse: the folder of the hubs' rows.
        promotions: which alerts may trade.
        model: how orders fill.
        nav_cents: cash at the start.
        folder: where the ledgers of the run lie; empty.
        fills: what orders on record were filled with, which then fill the same way; `None`: all by the model.
        heard: what the market side heard of one session, with its instants; `None`: it hears series and warehouse.
        load_day: what is stored of a session; where it is known from elsewhere, too, that as well.
    """

    def __init__(
        self, settings: Settings, series: Path, warehouse: Path, promotions: Promotions, model: FillModel,
        nav_cents: Cents, folder: Path, fills: RecordedFills | None = None,
        load_day: Callable[[Path, date], RecordedDay] = load, heard: Iterable[Heard] | None = None,
    ) -> None:  # fmt: skip
        self._settings = for_recorded_days(on_paper(settings))
        self._fills = fills
        self._heard = heard
        self._load = load_day
        self._series = series
        self._warehouse = warehouse
        self._promotions = promotions
        self._model = model
        self._nav_cents = nav_cents
        self._folder = folder

    def days(self, sessions: Iterable[date]) -> Iterator[Day]:
        """Trade one session after the other; what is no session of the exchange is passed over.

        Raises:
            LedgerRefusedError: a ledger could not be written for a while: what was done from then on says nothing.
        """
        for session in sessions:
            hours = calendar.day(session, self._settings.day.closed_dates)
            if hours is not None:
                with collected_seldom():
                    day = self._run(hours)
                gc.collect()  # a day is a knot of references: without this some stay in memory
                yield day

    def _run(self, hours: TradingDay) -> Day:
        settings, session = self._settings, hours.session
        recorded, desk = self._load(self._series, session), settings.desk
        market = RecordedMarket(recorded, hours, self._model.stale_ms)
        exchange = (
            BacktestExchange(market, self._nav_cents, self._model) if self._fills is None
            else RecordedFillsExchange(market, self._nav_cents, self._model, self._fills)
        )  # fmt: skip
        clock = VirtualClock(Utc(hours.open_utc - BEFORE_OPEN_NS))
        run_n = start_run(self._folder, (desk,), clock.now_utc())
        for source, kinds in sorted(self._promotions.items()):
            promote(self._folder, kinds, source, "settings", "as the backtest was told", clock.now_utc())
        warehouse = WarehouseReader(self._warehouse, is_past=True)
        hubs = tuple(
            RecordedRows(warehouse, session, hub, settings.tickers, categories)
            for hub, categories in settings.feed.by_hub.items()
        )
        allowed, together = settings.broker.foreign_allowed, Together()
        shared = SharedLedger(self._folder, (desk,), is_durable=False, together=together)
        own = DeskLedger(self._folder, desk, run_n, is_durable=False, foreign_allowed=allowed, together=together)
        readings = None
        if self._heard is None:
            stored = measured(SeriesReader(self._series), warehouse, hours, settings.tickers, hubs)
            readings = DayReadings(stored, hours)
        stores = Stores(shared, own, StoredAlready())
        runtime = self._runtime(clock, run_n, stores, recorded, market, exchange, hubs, readings)
        runtime.start_tree()
        for told in derived_told(SeriesReader(self._series), session):
            runtime.call_at(told.told_utc, partial(self._tell_derived, runtime, session, told))
        runtime.run_until(Utc(hours.close_utc + settings.day.settlement_ms * MS + AFTER_NS))
        crashed = tuple(sorted(cell.name for cell in runtime.cells.values() if cell.crashes))
        runtime.close()
        outage = shared.first_outage or own.first_outage
        if outage is not None:
            raise LedgerRefusedError(f"The backtest of {session} came to nothing. {outage.why}")
        self._nav_cents = exchange.account_values()["NetLiquidation"]
        return self._day(hours, recorded, exchange, hubs, crashed, runtime.steps)

    def _tell_derived(self, runtime: SteppedRuntime, session: date, told: Told) -> None:
        """Tell the lanes what they were told of derived series."""
        read = ContextRead(
            at_utc=told.told_utc, session=session, broken=None, derived=told.values, told_utc=told.told_utc
        )  # fmt: skip
        for source, tickers in self._settings.lanes.items():
            for ticker in tickers:
                runtime.post(f"lane:{source}:{ticker}", read, "series")

    def _runtime(
        self, clock: VirtualClock, run_n: int, stores: Stores, recorded: RecordedDay, market: RecordedMarket,
        exchange: BacktestExchange, hubs: Sequence[RecordedRows], readings: DayReadings | None,
    ) -> SteppedRuntime:  # fmt: skip
        settings, desk = self._settings, self._settings.desk
        shown = as_market(market)

        def make_ports(runtime: SteppedRuntime) -> Iterable[Port]:
            orders, quotes = (f"ibkr:{desk}", runtime, market), (f"quotes:{desk}", runtime, market)
            yield (
                RecordedFillsBroker(*orders, exchange) if isinstance(exchange, RecordedFillsExchange)
                else RecordedBroker(*orders, exchange)
            )  # fmt: skip
            if readings is not None:
                yield RecordedQuotes(*quotes, recorded)
                yield RecordedReadings(runtime, market, readings)
                return
            hearing = Hearing(runtime, self._heard or ())
            yield HeardQuotes(*quotes, hearing)
            yield InProcessFeed("feed", runtime, shown, tuple(settings.feed.by_hub))
            for rows in hubs:
                yield HeardHub(f"hub:{rows.hub}", runtime, market, rows).listen(hearing)

        def make_runtime(tree: Tree) -> SteppedRuntime:
            return SteppedRuntime(tree if readings is None else without_feed(tree), clock, run_n, NoTrace(clock))

        return assemble(settings, stores, make_runtime, make_ports).runtime

    def _day(
        self,
        hours: TradingDay,
        recorded: RecordedDay,
        exchange: BacktestExchange,
        hubs: Sequence[RecordedRows],
        crashed: tuple[str, ...],
        messages: int,
    ) -> Day:
        session, ledger = recorded.session, LedgerReader(self._folder, self._settings.desk)
        attempts, alerts, closed = ledger.attempts(session), ledger.alerts(session), ledger.trades(session)
        executions = ledger.executions(session)
        ended = [row for row in attempts if row["code"] or row["amended_code"]]
        refused = Counter(row["code"] or row["amended_code"] for row in ended if not row["is_shadow"])
        filled = tuple(_trade(session, legs, executions) for legs in by_structure(closed))
        held = sum(1 for position in exchange.positions() if position.qty)
        passed = len(attempts) - len(ended)
        return Day(
            session=session, trades=filled, rows=sum(hub.rows_n for hub in hubs),
            quotes=sum(len(column.at_utc) for column in recorded.columns.values()), contracts=len(recorded.contracts),
            alerts=len(alerts), shadows=sum(bool(row["is_shadow"]) for row in alerts),
            refused=dict(sorted(refused.items(), key=lambda pair: (-pair[1], pair[0]))),
            unfilled=max(0, passed - len(filled) - held), held=held, nav_cents=self._nav_cents,
            digest=_digest(alerts, attempts, executions), crashed=crashed,
            damaged=(*recorded.damaged, *dict.fromkeys(bucket.why for hub in hubs for bucket in hub.damaged)),
            damaged_buckets=tuple(bucket for hub in hubs for bucket in hub.damaged),
            unpriced=sum(row["end"] == EndReason.EXPIRED_UNPRICED for row in closed),
            apart_s=_apart_s(recorded), killed=_killed(ledger.kills(), session),
            lacking=holes_of(recorded, {rows.hub: rows.buckets for rows in hubs}, hours),
            messages=messages,
        )  # fmt: skip


def _killed(raised: Iterable[Found], session: date) -> tuple[tuple[int, str], ...]:
    """Return the kill levels that were raised in a session, each with the reason of its first time."""
    found: dict[int, str] = {}
    for row in raised:
        if row["level"] and session_of(row["at_utc"]) == session:
            found.setdefault(row["level"], row["reason"])
    return tuple(found.items())


def _apart_s(recorded: RecordedDay) -> float:
    apart = [np.diff(column.at_utc) for column in recorded.columns.values() if len(column.at_utc) > 1]
    return round(float(np.median(np.concatenate(apart))) / SECOND, 1) if apart else 0.0


def _trade(session: date, closed: Sequence[Found], executions: list[Found]) -> Trade:
    """Return a trade of its positions by closing: one, or the legs of a structure."""
    legs, last = sorted(closed, key=itemgetter("side")), closed[-1]  # BUY first: the leg that covers
    reasons = [reason for leg in closed for reason in exit_reasons(executions, leg)]
    return Trade(
        session=session, ticker=legs[0]["ticker"], strategy=legs[0]["strategy"] or "", qty=legs[0]["opened_qty"],
        contract=" and ".join(f"{leg['trading_class']} {leg['strike_ticks'] / 100:g}{leg['right']}" for leg in legs),
        pnl_cents=sum(leg["realised_cents"] for leg in legs), fees_cents=sum(leg["fees_cents"] for leg in legs),
        reason=last["exit_reason"] or last["end"] or "", opened_utc=min(leg["opened_utc"] for leg in legs),
        closed_utc=last["closed_utc"], closed_by=closing_text(last, list(dict.fromkeys(reasons))),
    )  # fmt: skip


def _digest(alerts: list[Found], attempts: list[Found], executions: list[Found]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for row in alerts:
        digest.update(repr((row["alert_id"], row["direction"], row["is_shadow"])).encode())
    for row in attempts:
        digest.update(repr((row["alert_id"], row["code"], row["amended_code"], row["decided_utc"])).encode())
    for row in executions:
        digest.update(repr((row["order_ref"], row["side"], row["qty"], row["price_ticks"], row["at_utc"])).encode())
    return digest.hexdigest()


def hash_of(days: Iterable[Day]) -> str:
    """Return the hash of a whole run: of every session with its digest."""
    digest = hashlib.blake2b(digest_size=8)
    for day in days:
        digest.update(f"{day.session} {day.digest} {day.nav_cents}\n".encode())
    return digest.hexdigest()
