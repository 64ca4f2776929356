"""What the dashboard knows: facts that the supervisor pushed, and what ledger and warehouse hold, as the API's models.

Everything that must be exact (trades, positions, refusals, alerts, kill level) is read from the ledgers, again whenever
their files have changed; pushed facts (quotes, prices, mode, phase) are the newest of their kind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec

from config.settings import Settings
from domain.instants import MINUTE, MS, SECOND, session_of
from domain.instruments import Quote, Spot
from domain.position.exits import HeldPosition
from domain.position.nearest import Distance, distances
from domain.risk.day import hard_limit_cents
from domain.risk.kill import KillLevel
from domain.session import calendar
from domain.session.calendar import TradingDay
from domain.session.modes import ALLOWS_ENTRIES, ALLOWS_EXITS
from domain.session.phases import Phase
from domain.units import Cents, Qty, Utc
from messages import broker, market, operator, positions, session, signals
from messages.base import Message
from storage.queries import Found, LedgerReader
from storage.sqlite_file import LedgerRefusedError
from storage.warehouse_reader import WarehouseReader
from web import models
from web.gamma_day import GammaDay
from web.history import gap_rows, lifetime_of, weeks_of
from web.story import story_of
from web.times import iso, iso_of

ALARMS_MAX = 50
LIST_MAX = 50
TRADES_DAYS_MAX = 30
ANSWER_AGE_MAX_S = 5.0  # of what the supervisor said of itself; older, and the ledger counts
_STATE = {"PENDING_ENTRY": "pending", "OPEN": "open", "PENDING_EXIT": "closing", "SETTLING": "settling"}


class Ledgers(msgspec.Struct):
    """What was read of the ledgers at once; `trouble` says in one sentence why it could not be read again."""

    held: list[Found] = msgspec.field(default_factory=list)
    trades: list[Found] = msgspec.field(default_factory=list)
    executions: list[Found] = msgspec.field(default_factory=list)
    attempts: list[Found] = msgspec.field(default_factory=list)
    alerts: list[Found] = msgspec.field(default_factory=list)
    contracts: dict[int, Found] = msgspec.field(default_factory=dict)
    kill: Found | None = None
    day: Found | None = None
    trouble: str | None = None


class View:
    """All of it; one thread reads and writes it."""

    def __init__(self, settings: Settings, data_dir: Path, run_n: int, account: str | None) -> None:
        self.settings = settings
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
        self.alarms: list[operator.Alarm] = []
        self.days: dict[str, GammaDay] = {}
        self.ledgers = Ledgers()
        self.curve: list[tuple[int, float]] = []
        self.market_trouble: str | None = None
        self.page_trouble: str | None = None
        self.process: dict[str, Any] = {}
        self.actor_rows: list[dict[str, Any]] = []
        self.answered_s: float | None = None
        self.silence: str | None = None
        self._kill_told: Found | None = None
        self._folder = data_dir / "ledgers"
        self._reader = LedgerReader(self._folder, settings.desk)
        self._warehouse = WarehouseReader(data_dir / "warehouse")
        self._stamp: tuple[tuple[int, int], ...] = ()
        self._session: date | None = None

    # -- what comes in ---------------------------------------------------------------------------

    def take(self, at_utc: Utc, fact: Message) -> None:
        """Take a pushed fact."""
        self.now_utc = max(self.now_utc, at_utc)
        match fact:
            case session.PhaseChanged():
                self.phase = fact
                self._begin(fact.session)
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
                self._take_spots(fact.spots)
            case market.QuoteChanged():
                self.quotes[fact.con_id] = fact.quote
                if fact.spot is not None:
                    self._take_spots((fact.spot,))
            case signals.FeaturesComputed():
                self.readings[fact.ticker] = fact
            case positions.PositionChanged():
                self.marks[fact.ref.position_id] = fact
            case positions.PositionClosed():
                self.marks.pop(fact.ref.position_id, None)
            case operator.Alarm():
                self.alarms = [fact, *(a for a in self.alarms if a.key != fact.key)][:ALARMS_MAX]
            case _:
                pass  # of no screen yet

    def _take_spots(self, spots: Iterable[Spot]) -> None:
        for spot in spots:
            self.spots[spot.ticker] = spot
            if spot.ticker in self.days:
                self.days[spot.ticker].tick(spot.price_ticks, spot.at_utc)

    def _begin(self, session_: date) -> None:
        if session_ != self._session:
            self._session, self.curve, self.days = session_, [], {}
            self._stamp = ()

    @property
    def session(self) -> date | None:
        """The session shown: the one that runs, else the newest that is on record."""
        if self._session is None and self.now_utc:
            self._begin(session_of(self.now_utc))
        if self._session is None:
            stored = self._warehouse.sessions()
            if stored:
                self._begin(stored[-1])
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
        self.process, self.actor_rows = status["process"], status["actors"]
        self.now_utc = max(self.now_utc, Utc(self.process["at_utc"]))
        self.answered_s, self.silence = time.monotonic(), None
        self._kill_told = status.get("kill")

    async def read_ledgers(self) -> bool:
        """Read the ledgers again where their files have changed; return whether they had."""
        shown, stamp = self.session, self._ledger_stamp()
        if stamp == self._stamp and self.ledgers.trouble is None:
            return False
        try:
            found = await asyncio.to_thread(self._ledgers_of, shown)
        except LedgerRefusedError as error:
            is_news = self.ledgers.trouble != str(error)
            self.ledgers.trouble = str(error)
            return is_news
        self.ledgers, self._stamp = found, stamp
        return True

    def _ledgers_of(self, shown: date | None) -> Ledgers:
        ask = self._reader
        found = Ledgers(held=ask.held(), contracts=ask.contracts(), kill=ask.kill())
        if shown is not None:
            found.trades, found.executions = self._all_trades(shown), ask.executions(shown)
            found.attempts, found.alerts = ask.attempts(shown), ask.alerts(shown)
            found.day = ask.day(shown)
        return found

    async def story(self, ref: str) -> models.Story | None:
        """Return the causal chain of an alert id, an order reference or a position id; `None` where nobody knows it."""
        try:
            return await asyncio.to_thread(story_of, self._reader, ref)
        except (LedgerRefusedError, ValueError):
            return None

    async def weeks(self, *, with_today: bool = True) -> list[models.Week]:
        """Return the last weeks, newest first."""
        newest = self.session or date.max
        return await asyncio.to_thread(weeks_of, self._reader, newest if with_today else newest - timedelta(days=1))

    async def lifetime(self) -> models.Lifetime:
        """Return the sums of everything on record."""
        return await asyncio.to_thread(lifetime_of, self._reader, self.process.get("uptime_s"))

    async def gaps(self) -> list[models.GapRow]:
        """Return the gaps of the session shown, newest first."""
        shown = self.session
        return [] if shown is None else gap_rows(await asyncio.to_thread(self._warehouse.gaps, shown))

    def _all_trades(self, shown: date) -> list[Found]:
        """Return closed positions, newest first: those of the session shown, then of the days before."""
        found: list[Found] = []
        for session_ in self._reader.sessions()[:TRADES_DAYS_MAX]:
            if session_ <= shown:
                found += reversed([row | {"session": session_.isoformat()} for row in self._reader.trades(session_)])
        return found

    def _ledger_stamp(self) -> tuple[tuple[int, int], ...]:
        names = ("ledger.db", f"{self.settings.desk}.db")
        paths = [self._folder / f"{name}{end}" for name in names for end in ("", "-wal")]
        return tuple(_stamp_of(path) for path in paths)

    async def read_market(self, ticker: str) -> bool:
        """Read a ticker's buckets that were stored since the last look; return whether there were some."""
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

    def sample(self) -> None:
        """Note the day's P&L, once a minute of the market; what came before is known by its closed trades."""
        hours = self.day
        if hours is None or not hours.open_utc <= self.now_utc <= hours.close_utc:
            return
        if not self.curve:
            total = 0
            self.curve.append((hours.open_utc // SECOND, 0.0))
            for trade in reversed(self.today()):
                total += trade["realised_cents"]
                self.curve.append((trade["closed_utc"] // SECOND, total / 100))
        if self.now_utc // SECOND - self.curve[-1][0] >= MINUTE // SECOND:
            total_pnl = self.performance().total_pnl
            if total_pnl is not None:
                self.curve.append((self.now_utc // SECOND, total_pnl))

    # -- what is answered ------------------------------------------------------------------------

    def status(self) -> models.Status:
        """Return where the desk stands."""
        kill = self.kill
        level = None if kill is None else int(kill["level"])
        phase, mode = self.phase, self.mode
        is_open = phase is not None and phase.phase is Phase.ENTRY and mode is not None and mode.mode in ALLOWS_ENTRIES
        is_locked = self.ledgers.day is not None and self.ledgers.day["locked_why"] is not None
        is_latched = self.process.get("latched") is not None
        shown = self.session
        return models.Status(
            is_trading=is_open and level == KillLevel.RUNNING and not is_locked and not is_latched,
            is_connected=mode is not None and mode.mode in ALLOWS_EXITS,
            open_positions=sum(row["state"] == "OPEN" for row in self.ledgers.held), trades_today=len(self.today()),
            mode=None if mode is None else mode.mode.value, kill_level=level,
            kill_epoch=None if kill is None else kill["kill_epoch"], kill_reason=_kill_words(kill),
            phase=None if phase is None else phase.phase.value, session=None if shown is None else shown.isoformat(),
            at=iso(self.now_utc or None), desk=self.settings.desk, trading_mode=self.settings.trading_mode,
            profile=self.settings.profile, run_n=self.run_n, tickers=list(self.settings.tickers), hubs=dict(self.hubs),
            allows_actions=self.settings.web.allows_actions, troubles=self.troubles(),
        )  # fmt: skip

    @property
    def kill(self) -> Found | None:
        """The kill level in force: as its actor said, else as it stands on record; `None` where nobody knows it."""
        told_s = self.answered_s
        if self._kill_told is not None and told_s is not None and time.monotonic() - told_s < ANSWER_AGE_MAX_S:
            return self._kill_told
        return self.ledgers.kill

    def troubles(self) -> list[str]:
        """Return in sentences what is wrong with what the page shows, or with the desk."""
        found = [self.silence, self.ledgers.trouble, self.market_trouble, self.money_trouble, self.page_trouble]
        latched, ended = self.process.get("latched"), self.process.get("ended")
        if latched:
            found.append(f"Entries are latched off until the supervisor is started again: {latched}.")
        if ended:
            found.append(f"The supervisor is ending: {ended}.")
        if self.process.get("trace_failed"):
            found.append(f"The trace cannot be written: {self.process['trace_failed']}.")
        return [text for text in found if text]

    def positions(self) -> list[models.Position]:
        """Return what is held or may soon be, in the order of reservation."""
        return [self._position(row) for row in self.ledgers.held]

    def _position(self, row: Found) -> models.Position:
        fills = self._fills_of(row["con_id"], row["reserved_utc"], None)
        bought = _average([fill for fill in fills if not fill["is_exit"]])
        quote = self.quotes.get(row["con_id"])
        held, strike = abs(row["net_qty"]), row["strike_ticks"] / 100
        exits = self._exits(row, held, bought, quote)
        paid = None if bought is None else -bought * held
        bid, ask = (None, None) if quote is None else (quote.bid_ticks, quote.ask_ticks)
        opened_utc, ticker = row["opened_utc"] or row["reserved_utc"], row["ticker"]
        return models.Position(
            trade_id=row["position_id"] or row["intent_id"], entry_time=iso_of(opened_utc),
            spy_strike=strike if ticker == "SPY" else None, spx_strike=strike if ticker == "SPX" else None,
            entry_credit=paid, current_pnl=self._unrealised(row, held, bought, quote),
            status=_STATE.get(row["position_state"] or row["state"], "open"), ticker=ticker,
            contract=_label(row), right=row["right"], strike=strike, expiry=row["expiry"],
            qty=held or row["qty"], entry_price=None if bought is None else bought / 100,
            bid=_usd(bid), ask=_usd(ask),
            quote_age_s=None if quote is None else max(0.0, round((self.now_utc - quote.at_utc) / SECOND, 1)),
            strategy=row["strategy"], direction=row["direction"], order_ref=row["order_ref"],
            wanted_exit=row["exit_reason"], nearest=exits[0] if exits else None, exits=exits,
            greeks=_greeks(quote, held),
        )  # fmt: skip

    def _exits(self, row: Found, held: int, bought: float | None, quote: Quote | None) -> list[models.NearestExit]:
        rules = self.settings.ticker_rules.get(row["ticker"])
        if not held or bought is None or rules is None or row["opened_utc"] is None:
            return []
        position = HeldPosition(
            qty=Qty(held), average_ticks=bought, direction=row["direction"], entry_spot_ticks=row["entry_spot_ticks"],
            entry_iv=None, opened_utc=Utc(row["opened_utc"]), took_part=bool(row["took_part"]),
        )  # fmt: skip
        hours = self.day
        flatten_utc = None if hours is None else Utc(hours.close_utc - self.settings.day.flatten_ms * MS)
        spot = self.spots.get(row["ticker"])
        found = distances(position, quote, spot, self.now_utc, flatten_utc, self.settings.exits, rules)
        return [_exit(distance) for distance in found]

    def _unrealised(self, row: Found, held: int, bought: float | None, quote: Quote | None) -> float | None:
        """Return what a position has gained so far in USD: at mid, else what it said of itself last."""
        if held and bought is not None and quote is not None and quote.mid_x2 is not None:
            return round((quote.mid_x2 / 2 - bought) * held, 2)
        mark = self.marks.get(row["position_id"] or "")
        return None if mark is None or mark.unrealised_cents is None else mark.unrealised_cents / 100

    def _fills_of(self, con_id: int, from_utc: int, to_utc: int | None) -> list[Found]:
        return [
            fill for fill in self.ledgers.executions
            if fill["con_id"] == con_id and fill["at_utc"] >= from_utc - SECOND
            and (to_utc is None or fill["at_utc"] <= to_utc + SECOND)
        ]  # fmt: skip

    def today(self) -> list[Found]:
        """Return the closed positions of the session shown, newest first."""
        shown = self.session
        return [row for row in self.ledgers.trades if shown is not None and row["session"] == shown.isoformat()]

    def trades(self, limit: int, before_utc: Utc | None = None) -> list[models.Trade]:
        """Return closed positions, newest first; with `before_utc` those that were closed by then."""
        known = self.ledgers.trades
        return [self._trade(row) for row in known if before_utc is None or row["closed_utc"] <= before_utc][:limit]

    def _trade(self, row: Found) -> models.Trade:
        fills = self._fills_of(row["con_id"], row["opened_utc"] or 0, row["closed_utc"])
        bought = _average([fill for fill in fills if not fill["is_exit"]])
        sold = _average([fill for fill in fills if fill["is_exit"]])
        return models.Trade(
            id=row["position_id"], trade_date=row["session"],
            entry_credit=None if bought is None else -bought * row["opened_qty"],
            final_pnl=row["realised_cents"] / 100, exit_reason=row["exit_reason"] or row["end"], status="closed",
            ticker=row["ticker"] or "", contract=_label(row) if row["strike_ticks"] else str(row["con_id"]),
            qty=row["opened_qty"], fees=row["fees_cents"] / 100, entry_time=iso(row["opened_utc"]),
            exit_time=iso_of(row["closed_utc"]), entry_price=None if bought is None else bought / 100,
            exit_price=None if sold is None else sold / 100, strategy=row["strategy"], alert_id=row["alert_id"],
            order_ref=row["order_ref"],
        )  # fmt: skip

    def account(self) -> models.Account:
        """Return the account."""
        money, port = self.money, self.port
        account_class = None if port is None else port.account_class.value
        if money is None:
            return models.Account(
                account_id=self.account_id, account_class=account_class, why_unknown=self.money_trouble
            )
        return models.Account(
            account_id=self.account_id, net_liquidation=_usd(money.nav_cents), total_cash=_usd(money.cash_cents),
            available_funds=_usd(money.available_cents), buying_power=_usd(money.buying_power_cents),
            day_trades_remaining=money.day_trades_remaining, account_class=account_class, at=iso(money.read_utc),
        )  # fmt: skip

    def market(self) -> models.Market:
        """Return the prices of the underlyings: the broker's, else those of the newest reading."""
        prices = {t: r.spot / 100 for t, r in self.readings.items() if r.spot is not None}
        prices |= {ticker: spot.price_ticks / 100 for ticker, spot in self.spots.items()}
        spy, spx = prices.get("SPY"), prices.get("SPX")
        return models.Market(
            spy_price=spy, spx_price=spx, ratio=round(spx / spy, 4) if spx and spy else None,
            prices=dict(sorted(prices.items())), at=iso(self.now_utc or None),
        )  # fmt: skip

    def performance(self) -> models.Performance:
        """Return the day's money."""
        today, held = self.today(), self.ledgers.held
        realised = sum(row["realised_cents"] for row in today)
        realised += sum(row["realised_cents"] or 0 for row in held if row["position_id"] is not None)
        open_pnl = [p.current_pnl for p in self.positions() if p.status != "pending"]
        unrealised = None if None in open_pnl else round(sum(pnl for pnl in open_pnl if pnl is not None), 2)
        row = self.ledgers.day
        nav = None if row is None or row["start_nav_cents"] is None else Cents(row["start_nav_cents"])
        limits = self.settings.entry
        hard = None if nav is None else hard_limit_cents(nav, limits) / 100
        locked = None if row is None else row["locked_why"]
        return models.Performance(
            daily_realized_pnl=realised / 100, unrealized_pnl=unrealised,
            total_pnl=None if unrealised is None else round(realised / 100 + unrealised, 2),
            max_daily_loss=None if hard is None else -hard, risk_breached=locked == "daily_loss",
            trades_count=len(today), active_positions=sum(r["state"] == "OPEN" for r in held),
            soft_stop=None if nav is None else -limits.soft_stop_nav * nav / 100, hard_stop=hard,
            start_nav=_usd(nav), locked=locked, fees=sum(r["fees_cents"] for r in today) / 100,
            wins=sum(r["realised_cents"] > 0 for r in today), losses=sum(r["realised_cents"] < 0 for r in today),
            curve=self.curve,
        )  # fmt: skip

    def alerts(self, limit: int = LIST_MAX, before_utc: Utc | None = None) -> list[models.Alert]:
        """Return the session's alerts, newest first, each with what became of it; `before_utc` as in `trades`."""
        known = [row for row in self.ledgers.alerts if before_utc is None or row["raised_utc"] <= before_utc]
        became = {row["alert_id"]: row["amended_code"] or row["code"] or "traded" for row in self.ledgers.attempts}
        return [
            models.Alert(
                alert_id=row["alert_id"], at=iso_of(row["raised_utc"]), source=row["source"], ticker=row["ticker"],
                kind=row["kind"], direction=row["direction"], price=row["entry_ticks"] / 100,
                target=row["target_ticks"] / 100, stop=row["stop_ticks"] / 100, is_shadow=bool(row["is_shadow"]),
                alignment=row["alignment"], became=became.get(row["alert_id"]), outcome=None,
            )
            for row in reversed(known[-limit:])
        ]  # fmt: skip

    def gates(self, limit: int = LIST_MAX) -> models.Gates:
        """Return the session's attempts by the code that they ended with, and the newest refusals."""
        counts: dict[str, int] = {}
        refusals: list[models.Refusal] = []
        for row in reversed(self.ledgers.attempts):
            code = row["amended_code"] or row["code"]
            counts[code or "accepted"] = counts.get(code or "accepted", 0) + 1
            if code is not None and len(refusals) < limit:
                refusals.append(models.Refusal(
                    at=iso_of(row["decided_utc"]), alert_id=row["alert_id"], source=row["source"],
                    ticker=row["ticker"], kind=row["kind"], code=code, gate=row["gate"], measured=row["measured"],
                    limit=row["limit_value"], unit=row["unit"], words=row["amended_words"], is_shadow=code == "shadow",
                ))  # fmt: skip
        return models.Gates(counts=dict(sorted(counts.items(), key=lambda item: -item[1])), refusals=refusals)

    def fills(self, limit: int = LIST_MAX, before_utc: Utc | None = None) -> list[models.Fill]:
        """Return the session's executions in force, newest first; `before_utc` as in `trades`."""
        known = self.ledgers.contracts
        found = [row for row in self.ledgers.executions if before_utc is None or row["at_utc"] <= before_utc]
        return [
            models.Fill(
                at=iso_of(row["at_utc"]), order_ref=row["order_ref"], side=row["side"], qty=row["qty"],
                price=row["price_ticks"] / 100, fee=_usd(row["fee_cents"]),
                is_exit=None if row["is_exit"] is None else bool(row["is_exit"]), ticker=row["ticker"],
                contract=_label(known[row["con_id"]]) if row["con_id"] in known else None,
                slippage=_usd(row["slippage_ticks"]),
            )
            for row in reversed(found[-limit:])
        ]  # fmt: skip

    def marks_of(self, ticker: str) -> list[tuple[int, str, str]]:
        """Return a chart's entries and exits: seconds since the epoch, `entry` or `exit`, a few letters."""
        known = self.ledgers.contracts
        found = [
            (fill["at_utc"] // SECOND, "entry", _short_label(known[fill["con_id"]]))
            for fill in self.ledgers.executions
            if fill["ticker"] == ticker and not fill["is_exit"] and fill["con_id"] in known
        ]  # fmt: skip
        found += [
            (trade["closed_utc"] // SECOND, "exit", f"{trade['realised_cents'] / 100:+,.0f}".replace("-", "\u2212"))
            for trade in self.today()
            if trade["ticker"] == ticker
        ]
        return sorted(found)

    def actors(self) -> models.Actors:
        """Return the tree of actors as the supervisor told it last."""
        rows = [
            models.ActorRow(
                name=row["name"], is_up=row["is_up"], mail=row["depth"],
                p99_ms=None if row["p99_us"] is None else round(row["p99_us"] / 1000, 1), restarts=row["restarts"],
            )
            for row in self.actor_rows
        ]  # fmt: skip
        return models.Actors(
            rows=rows, rss_mb=self.process.get("rss_mb"), uptime_s=self.process.get("uptime_s"),
            latched=self.process.get("latched"), ended=self.process.get("ended"), why_unknown=self.silence,
        )  # fmt: skip

    def reading(self, ticker: str) -> models.Reading | None:
        """Return the newest reading of a ticker; `None` before the first."""
        found = self.readings.get(ticker)
        if found is None:
            return None
        forces = [models.Force(name=f.name, score=f.score, confidence=f.confidence) for f in found.forces]
        return models.Reading(
            ticker=ticker, at=iso_of(found.bucket_utc), spot=_usd(found.spot), zero_gamma=_usd(found.zero_gamma),
            alignment=found.alignment, missing=list(found.missing), forces=forces,
        )  # fmt: skip

    def alarm_lines(self) -> list[models.AlarmLine]:
        """Return the newest alarm of each key, newest first."""
        return [
            models.AlarmLine(at=iso_of(a.at_utc), key=a.key, severity=a.severity.value, text=a.text)
            for a in self.alarms
        ]


def _stamp_of(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _kill_words(kill: Found | None) -> str | None:
    return None if kill is None or not kill["reason"] else f"{kill['reason']} ({kill['by']})"


def _usd(hundredths: float | None) -> float | None:
    return None if hundredths is None else round(hundredths / 100, 4)


def _average(fills: list[Found]) -> float | None:
    """Return the average price in ticks; `None` of nothing."""
    qty = sum(fill["qty"] for fill in fills)
    return sum(fill["qty"] * fill["price_ticks"] for fill in fills) / qty if qty else None


def _label(row: Found) -> str:
    return f"{row['trading_class']} {row['strike_ticks'] / 100:g}{row['right']}"


def _short_label(row: Found) -> str:
    return f"{row['strike_ticks'] / 100:g}{row['right']}"


def _exit(distance: Distance) -> models.NearestExit:
    level = None if distance.level_ticks is None else round(distance.level_ticks / 100, 2)
    return models.NearestExit(
        reason=distance.reason.value, left=round(distance.left, 3), level=level, at=iso(distance.at_utc)
    )


def _greeks(quote: Quote | None, held: int) -> models.GreeksOf | None:
    if quote is None or quote.greeks is None or not held:
        return None
    greeks, shares = quote.greeks, held * 100
    return models.GreeksOf(
        delta=round(greeks.delta * shares, 1), gamma=round(greeks.gamma * shares, 2),
        theta=round(greeks.theta * shares, 2), vega=round(greeks.vega * shares, 2), iv=round(greeks.iv, 4),
    )  # fmt: skip
