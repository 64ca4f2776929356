"""What the dashboard knows of a desk: facts that the supervisor pushed, and what ledgers and warehouse hold.

Everything that must be exact (trades, positions, refusals, alerts, kill level) is read from the ledgers, again whenever
their files have changed; pushed facts (quotes, prices, mode, phase) are the newest of their kind.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from config.desks import desk_names, kind_at, of_desk
from config.settings import Settings
from domain.instants import session_of
from domain.instruments import Quote, Spot
from domain.session import calendar
from domain.session.calendar import TradingDay
from domain.units import Utc
from messages import broker, market, operator, positions, session, signals
from messages.base import Message
from storage.queries import Found, LedgerReader
from storage.series_reader import SeriesReader
from storage.sqlite_file import LedgerRefusedError
from storage.warehouse_reader import WarehouseReader
from web import models
from web.context import MarketContext
from web.gamma_day import GammaDay
from web.history import gap_rows, lifetime_of, weeks_of
from web.ledgers import Ledgers, Stamp, ledgers_of, stamp_of
from web.outcomes import Outcomes
from web.story import story_of

ALARMS_MAX = 50
ANSWER_AGE_MAX_S = 60.0  # of what the supervisor said of itself: on a busy machine it takes its time


class View:
    """All of it, of one desk; one thread reads and writes it."""

    def __init__(
        self, settings: Settings, data_dir: Path, run_n: int, account: str | None, desk: str | None = None
    ) -> None:  # fmt: skip
        """Know nothing yet of a desk of the settings; `None`: of that of `desk`."""
        desk = desk or settings.desk
        self.desk_names = desk_names(settings)
        self.kind = kind_at(settings, desk)
        self.settings = of_desk(settings, desk)  # as the desk sees them
        self.run_n = run_n
        self.account_id = account
        self.now_utc = Utc(0)
        self.phase: session.PhaseChanged | None = None
        self.mode: session.ModeChanged | None = None
        self.port: session.AccountChecked | None = None
        self.money: broker.AccountRead | None = None
        self.money_trouble: str | None = None
        self.hubs: dict[str, bool] = {}
        self.spots: dict[str, Spot] = {}
        self.quotes: dict[int, Quote] = {}
        self.readings: dict[str, signals.FeaturesComputed] = {}
        self.marks: dict[str, positions.PositionChanged] = {}
        self.alarms: list[tuple[str, operator.Alarm]] = []  # newest first, each with whose it is (empty: no desk's)
        self.days: dict[str, GammaDay] = {}
        self.ledgers = Ledgers()
        self.outcomes = Outcomes()
        self.curve: list[tuple[int, float]] = []
        self.market_trouble: str | None = None
        self.page_trouble: str | None = None
        self.ended: str | None = None  # why there is no supervisor any more, in a sentence
        self.is_finished = False  # and its day was played to the end, with nothing held
        self.heard_utc: dict[str, Utc] = {}  # the last sign of life of each kind
        self.process: dict[str, Any] = {}
        self.latched: str | None = None  # why entries are latched off: in the process, or at this desk alone
        self.actor_rows: list[dict[str, Any]] = []
        self.answered_s: float | None = None
        self._heard_s: float | None = None  # of an answer, or of anything pushed
        self.silence: str | None = None
        self._kill_told: Found | None = None
        self._folder = data_dir / "ledgers"
        self._reader = LedgerReader(self._folder, desk)
        self._warehouse = WarehouseReader(data_dir / "warehouse")
        self._series = data_dir / "series"
        self._context = MarketContext(self._series)
        self._market_reads: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._stamp: Stamp = ()
        self._session: date | None = None

    @property
    def is_one_of_several(self) -> bool:
        """Whether the process has other desks."""
        return len(self.desk_names) > 1

    # -- what comes in ---------------------------------------------------------------------------

    def hear(self, at_utc: Utc) -> None:
        """Take a sign of life of the supervisor: it has pushed something."""
        self.now_utc, self._heard_s = max(self.now_utc, at_utc), time.monotonic()

    def take(self, at_utc: Utc, fact: Message, desk: str = "") -> None:
        """Take a pushed fact; `desk` is whose it is where there are several (empty: of none)."""
        self.hear(at_utc)
        match fact:
            case session.PhaseChanged():
                self.phase = fact
                self.show(fact.session)
            case session.ModeChanged():
                self.mode = fact
            case session.AccountChecked():
                self.port = fact
            case broker.AccountRead():
                self.money, self.money_trouble = fact, None
            case broker.AccountUnreadable():
                self.money_trouble = fact.why
            case market.HubUp():
                self.hubs[fact.hub] = True
            case market.HubDown():
                self.hubs[fact.hub] = False
            case market.SpotsChanged():
                self.heard_utc["spots"] = at_utc
                self._take_spots(fact.spots)
            case market.QuoteChanged():
                self.quotes[fact.con_id] = fact.quote
                if fact.spot is not None:
                    self._take_spots((fact.spot,))
            case signals.FeaturesComputed():
                self.heard_utc["reading"] = at_utc
                self.readings[fact.ticker] = fact
            case positions.PositionChanged():
                self.marks[fact.ref.position_id] = fact
            case positions.PositionClosed():
                self.marks.pop(fact.ref.position_id, None)
            case operator.Alarm():
                others = (known for known in self.alarms if (known[0], known[1].key) != (desk, fact.key))
                self.alarms = [(desk, fact), *others][:ALARMS_MAX]
            case _:
                pass  # of no screen yet

    def _take_spots(self, spots: Iterable[Spot]) -> None:
        for spot in spots:
            self.spots[spot.ticker] = spot
            if spot.ticker in self.days:
                self.days[spot.ticker].tick(spot.price_ticks, spot.at_utc)

    def show(self, session_: date) -> None:
        """Show a session; of another one nothing is kept."""
        if session_ != self._session:
            self._session, self.curve, self.days, self.ledgers = session_, [], {}, Ledgers()
            self.outcomes = Outcomes()

    @property
    def session(self) -> date | None:
        """The session shown: the one that runs, else the newest that is on record."""
        if self._session is None and self.now_utc:
            self.show(session_of(self.now_utc))
        if self._session is None:
            stored = self._warehouse.sessions()
            if stored:
                self.show(stored[-1])
        return self._session

    @property
    def day(self) -> TradingDay | None:
        """The hours of the session shown; `None` on a day without trading."""
        shown = self.session
        return None if shown is None else calendar.day(shown, self.settings.day.closed_dates)

    def answered(self, status: dict[str, Any]) -> None:
        """Take what the supervisor said of itself and its actors."""
        if "process" not in status:
            self.silence = str(status.get("error", "The supervisor gave no status."))
            return
        own = self.settings.desk
        self.process, self.actor_rows = status["process"], status["actors"]
        self.latched = self.process.get("latched") or status.get("latched_desks", {}).get(own)
        self.now_utc = max(self.now_utc, Utc(self.process["at_utc"]))
        self.answered_s = self._heard_s = time.monotonic()
        self.silence = None
        self._kill_told = status.get("kills", {}).get(f"kill:{own}") if self.is_one_of_several else status.get("kill")

    @property
    def is_unheard(self) -> bool:
        """Whether the supervisor gives no answer and has pushed nothing for a minute: what it said last is no word."""
        heard_s = self._heard_s
        return self.silence is not None and (heard_s is None or time.monotonic() - heard_s >= ANSWER_AGE_MAX_S)

    @property
    def kill(self) -> Found | None:
        """The kill level in force: what its actor said or what is on record, whichever has the later epoch.

        `None` where nobody knows it. Each change has an epoch of its own and is on record at once, so an answer that is
        some seconds old hides none.
        """
        told_s, told, recorded = self.answered_s, self._kill_told, self.ledgers.kill
        if told is None or told_s is None or time.monotonic() - told_s >= ANSWER_AGE_MAX_S:
            return recorded
        return recorded if recorded is not None and recorded["kill_epoch"] > told["kill_epoch"] else told

    async def read_ledgers(self) -> bool:
        """Read the ledgers again where their files have changed; return whether they had."""
        shown, stamp = self.session, stamp_of(self._folder, self.settings.desk)
        known = self.ledgers
        if stamp == self._stamp and known.trouble is None and known.is_read and known.session == shown:
            return False
        try:
            found = await asyncio.to_thread(ledgers_of, self._reader, shown)
        except LedgerRefusedError as error:
            is_news = self.ledgers.trouble != str(error)
            self.ledgers.trouble = str(error)
            return is_news
        self.ledgers, self._stamp = found, stamp
        return True

    async def story(self, ref: str) -> models.Story | None:
        """Return the causal chain of an alert id, an order reference or a position id; `None` where nobody knows it."""
        try:
            return await asyncio.to_thread(story_of, self._reader, ref)
        except ValueError:  # no alert id of any day
            return None

    async def weeks(self, *, with_today: bool = True) -> list[models.Week]:
        """Return the last weeks, newest first."""
        newest = self.session or date.max
        return await asyncio.to_thread(weeks_of, self._reader, newest if with_today else newest - timedelta(days=1))

    async def lifetime(self) -> models.Lifetime:
        """Return the sums of everything on record."""
        return await asyncio.to_thread(
            lifetime_of, self._reader, self._warehouse, SeriesReader(self._series), self.process.get("uptime_s")
        )

    async def context(self) -> models.Context | None:
        """Return what lies around the session shown; `None` where there is none."""
        shown = self.session
        return None if shown is None else await asyncio.to_thread(self._context.read, self._warehouse, shown)

    async def gaps(self) -> list[models.GapRow]:
        """Return the gaps of the session shown, newest first."""
        shown = self.session
        return [] if shown is None else gap_rows(await asyncio.to_thread(self._warehouse.gaps, shown))

    async def read_market(self, ticker: str) -> bool:
        """Read a ticker's buckets that were stored since the last look; return whether there were some."""
        async with self._market_reads[ticker]:  # a whole day takes a while: who asks meanwhile reads what came since
            chart = self.chart(ticker)
            if chart is None:
                return False
            try:
                is_new = chart.take(await asyncio.to_thread(chart.read, self._warehouse))
            except Exception as error:  # a damaged or vanished file: said on the page, and tried again
                self.market_trouble = f"Market data of {ticker} cannot be read: {error}."
                return False
            self.market_trouble = None
            return is_new

    async def read_outcomes(self) -> None:
        """Follow the session's alerts as far as their spots are stored."""
        hours, outcomes = self.day, self.outcomes
        if hours is None:
            return
        try:
            await asyncio.to_thread(outcomes.read, self._warehouse, hours, self.ledgers.alerts, self.ledgers.outcomes)
        except Exception as error:  # as in `read_market`
            self.market_trouble = f"Outcomes of alerts cannot be followed: {error}."

    def is_market_behind(self, ticker: str) -> bool:
        """Return whether a reading tells of a bucket that was not read yet."""
        chart, reading = self.chart(ticker), self.readings.get(ticker)
        return chart is not None and (reading is None or chart.bucket_n(reading.bucket_utc) > chart.last)

    def chart(self, ticker: str) -> GammaDay | None:
        """Return the day of a ticker that is followed; `None` where there is no session or no such ticker."""
        hours = self.day
        if hours is None or ticker not in self.settings.tickers:
            return None
        return self.days.setdefault(ticker, GammaDay(ticker, hours))
