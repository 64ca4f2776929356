"""The witness: play whole stepped days and write down what was decided, in words that no refactoring changes.

    python -m tests.scenarios.decisions                       play every day and print its number of decisions and hash
    python -m tests.scenarios.decisions --list                name the days, cheapest group first
    python -m tests.scenarios.decisions --only 'quick-*'      a glob over names; may be given several times
    python -m tests.scenarios.decisions --days 8              the first eight: under a minute
    ... --lines                                               print the decisions themselves
    ... --write FILE                                          put these days into FILE, which keeps its others
    ... --compare [FILE]                                      compare with what was kept; a difference ends with 1

A decision is one line of JSON: an alert, an attempt with the verdict of each gate, a reservation, an order, a change or
a cancel as the broker got it, a fill, a broker's refusal, a position's end, the day's row, a kill level, a command, a
gap. They come from two witnesses alone: the durable files (ledgers and the warehouse's manifest), and the calls that
the simulated broker receives. Nothing comes from messages, so there are no message names, ids or sequence numbers in
it. Lines are sorted by (instant, what, ref, text): the order of rows within one instant says nothing.

What a refactoring has to adapt stands in the first section: imports, columns, and how a day is put together.
"""

from __future__ import annotations

import argparse
import difflib
import fnmatch
import functools
import gc
import hashlib
import inspect
import json
import sqlite3
import sys
import tempfile
import time as real_time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import zstandard

from config.settings import load_settings
from domain.risk.kill import KillLevel
from messages import operator
from simulation import day as day_module
from storage.warehouse_reader import WarehouseReader
from supervision.stepped import VirtualClock
from supervision.trace import NoTrace
from tests.testkit.anchored import anchored

SECOND = 1_000_000_000
REFERENCE = Path(__file__).with_name("decisions.jsonl.zst")
SHOWN_DIFFERENCES = 40
Found = dict[str, Any]


# == what a refactoring adapts =================================================================================

# Values that were renamed: what stands in the new ledger -> what the reference calls it (gates, reasons, states, ...).
RENAMED: dict[str, str] = {}


@dataclass(frozen=True)
class Table:
    """Where one kind of decision stands: file, table, the column of its instant, and shown name -> column.

    A column may be a dotted path into JSON (`facts.exit.reason`). Shown names that end in `_at` are instants.
    """

    what: str
    file: str  # `shared`, or `desk`
    name: str
    instant: str
    columns: dict[str, str]


TABLES = (
    Table(
        "alert", "shared", "alerts", "raised_utc",
        {
            "ref": "alert_id", "source": "source", "ticker": "ticker", "kind": "kind", "version": "version",
            "bucket_at": "bucket_utc", "direction": "direction", "entry": "entry_ticks", "target": "target_ticks",
            "stop": "stop_ticks", "horizon_ms": "horizon_ms", "alignment": "alignment", "shadow": "is_shadow",
        },
    ),
    Table(
        "attempt", "desk", "gate_log", "decided_utc",
        {
            "ref": "alert_id", "strategy": "strategy", "ticker": "ticker", "kind": "kind", "code": "code",
            "measured": "measured", "limit": "limit_value", "unit": "unit", "shadow": "is_shadow",
            "bucket_at": "bucket_utc",
        },
    ),
    Table(
        "reservation", "desk", "reservations", "reserved_utc",
        {
            "ref": "order_ref", "alert": "alert_id", "strategy": "strategy", "ticker": "ticker", "leg": "leg",
            "con_id": "con_id", "strike": "strike_ticks", "right": "right", "side": "side", "qty": "qty",
            "limit": "limit_ticks", "seen_bid": "decision_bid_ticks", "seen_ask": "decision_ask_ticks",
            "deadline_at": "deadline_utc", "decided_at": "decided_utc", "state": "state", "why": "ended_why",
            "ended_at": "ended_utc",
        },
    ),
    Table("given_up", "desk", "tombstones", "at_utc", {"ref": "intent_id", "why": "reason"}),
    Table(
        "order_row", "desk", "orders", "at_utc",
        {
            "ref": "order_ref", "con_id": "con_id", "exit": "is_exit", "side": "side", "qty": "qty",
            "limit": "limit_ticks", "status": "status", "exit_n": "exit_n", "reason": "exit_reason",
            "kind": "exit_kind", "tier": "tier", "adopted": "is_adopted",
        },
    ),
    Table(
        "execution", "desk", "executions", "at_utc",
        {
            "ref": "order_ref", "con_id": "con_id", "side": "side", "qty": "qty", "price": "price_ticks",
            "current": "is_current", "foreign": "is_foreign",
        },
    ),
    Table(
        "position", "desk", "positions", "closed_utc",
        {
            "ref": "position_id", "con_id": "con_id", "strategy": "strategy", "direction": "direction",
            "state": "state", "reason": "exit_reason", "kind": "exit_kind", "exit_n": "exit_n", "tier": "tier",
            "entry_spot": "entry_spot_ticks", "entry_iv": "entry_iv", "took_part": "took_part", "end": "end",
            "bought": "opened_qty", "realised_cents": "realised_cents", "fees_cents": "fees_cents",
            "opened_at": "opened_utc", "closed_at": "closed_utc",
        },
    ),
    Table(
        "day", "desk", "day", "settled_utc",
        {
            "ref": "session", "locked": "locked_why", "locked_at": "locked_utc", "start_nav_cents": "start_nav_cents",
            "start_nav_at": "start_nav_utc", "trades": "trades", "wins": "wins", "losses": "losses",
            "realised_cents": "realised_cents", "fees_cents": "fees_cents", "drawdown_cents": "drawdown_cents",
        },
    ),
    Table("watermark", "desk", "watermarks", "bucket_utc", {"ref": "alert_id"}),
    # The reason that an actor gives is a sentence with message names in it; a person's is kept by `command`.
    Table("kill", "shared", "kill", "at_utc", {"ref": "by", "level": "level"}),
    Table(
        "command", "shared", "commands", "at_utc",
        {"ref": "command_id", "name": "name", "by": "by", "reason": "reason", "outcome": "outcome"},
    ),
)  # fmt: skip


def _extra(what: str, row: Found) -> Found:
    """Return what of a row is no plain column: an alert's thresholds and inputs, the order of an attempt's gates."""
    if what == "alert":
        forces = {f["name"]: [f["score"], f["confidence"]] for f in _decoded(row["forces"])}
        return {
            "thresholds": dict(_decoded(row["thresholds"])),
            "forces": forces,
            "features": _hash([_plain(value) for value in _decoded(row["features"])]),
        }
    if what == "attempt":
        return {"gates": [_renamed(verdict["gate"]) for verdict in _decoded(row["verdicts"])]}
    return {}


def _verdicts(row: Found) -> Iterator[Found]:
    """Yield the verdicts of an attempt's row, each gate by its name."""
    for verdict in _decoded(row["verdicts"]):
        yield {
            "ref": row["alert_id"], "gate": verdict["gate"], "outcome": verdict["finding"]["outcome"],
            "code": verdict["finding"]["code"], "measured": verdict["finding"]["measured"],
            "limit": verdict["finding"]["limit"], "unit": verdict["finding"]["unit"],
        }  # fmt: skip


class Day:
    """One process on one stepped day, as the scenarios handle it.

    Args:
        overrides: settings over profile `demo`.
        folder: where ledgers and warehouse lie; a second process on it goes on from there.
        at_utc: the instant at which this process starts; `None` is the demo day's start.
        before: the process that was here before: its broker and its market live on.
    """

    def __init__(
        self, overrides: Found, folder: Path, shuffle_seed: int | None = None, at_utc: int | None = None,
        before: Day | None = None,
    ) -> None:  # fmt: skip
        settings = load_settings(profile="demo", overrides=overrides)
        clock = day_module.start_of(settings) if at_utc is None else VirtualClock(at_utc)
        module: Any = day_module
        kept = (module.market_of, module.Exchange)
        if before is not None:
            old = before.exchange
            # the broker outlives the process, and looks at the market that it has always looked at
            module.market_of, module.Exchange = (lambda _, **__: old.market), (lambda *_, **__: old)
        try:
            day = day_module.stepped_day(
                settings, folder, trace=NoTrace(clock), shuffle_seed=shuffle_seed, clock=clock, shows=False
            )
        finally:
            module.market_of, module.Exchange = kept
        self._day = day
        self._runtime = day.runtime
        self.folder = folder
        self.files = {"shared": folder / "ledgers" / "ledger.db", "desk": folder / "ledgers" / f"{settings.desk}.db"}
        self.session = settings.demo.session
        self.exchange: Any = day.exchange
        self.end_utc: int = day.end_utc
        self._runtime.sinks["edge:witness"] = lambda _: None
        self.crashing: list[Crashing] = []

    def now_utc(self) -> int:
        """Return the virtual instant."""
        return int(self._runtime.clock.now_utc())

    def run_until(self, until_utc: int) -> None:
        """Run to an instant, or until the process ends."""
        self._runtime.run_until(until_utc)

    def call_at(self, at_utc: int, act: Callable[[], None]) -> None:
        """Have something happen at a virtual instant."""
        self._runtime.call_at(at_utc, act)

    def end(self) -> None:
        """End the process where it stands (kill -9)."""
        self._runtime.end("the witness ended it")

    def close(self) -> None:
        """Release the files.

        Raises:
            LookupError: an actor that was to crash was never woken again: the scenario must be aimed at another.
        """
        self._runtime.close()
        left = [crashing.name for crashing in self.crashing if not crashing.is_done]
        if left:
            raise LookupError(f"nothing woke {', '.join(left)}, so that it never crashed")

    def drop(self, what: str, duration_ns: int) -> None:
        """Drop the `gateway` (orders and quotes), or the hub of that name."""
        for name in ("ibkr", "quotes") if what == "gateway" else (what,):
            self._day.ports[name].drop(duration_ns)

    def say(self, order: str, command_id: str, level: int, expires_utc: int) -> None:
        """Send `kill`, `resume` or `flatten` as a person at the command line does."""
        common: Found = {
            "command_id": command_id,
            "reply_to": "edge:witness",
            "by": "witness",
            "reason": f"scenario {order}",
        }
        message: Any
        if order == "kill":
            message = operator.Kill(**common, level=KillLevel(level), expires_utc=expires_utc)
        elif order == "resume":
            message = operator.Resume(**common, level=KillLevel(level), expires_utc=expires_utc)
        else:
            message = operator.Flatten(**common, expires_utc=expires_utc)
        self._runtime.post("operator", message, "edge:witness")

    def crash(self, role: str) -> None:
        """Make an actor's next decision raise, once; `role` is its name, or the first words of it.

        Raises:
            LookupError: there is none at that instant; the scenario must be aimed at another.
        """
        cells: dict[str, Any] = self._runtime.cells
        names = sorted(name for name in cells if name == role or name.startswith(f"{role}:"))
        for cell in (cells[name] for name in names):
            if cell.actor is not None:
                cell.decide = crashing = Crashing(cell.name, cell.decide)
                self.crashing.append(crashing)
                return
        raise LookupError(f"there is no actor {role!r} to crash")

    def gaps(self) -> Iterator[Found]:
        """Yield the warehouse's gaps of the session."""
        for gap in WarehouseReader(self.folder / "warehouse").gaps(self.session):
            yield {
                "utc": gap.from_utc, "ref": gap.hub, "ticker": gap.ticker, "category": gap.category,
                "to_at": gap.to_utc,
            }  # fmt: skip


# == the broker's own record ===================================================================================


class Broker:
    """Logs what an exchange is asked to do and what it does; it stays when a process goes.

    `listeners` hear of every line at once, so that a scenario can strike while an order works or a position is held.
    """

    def __init__(self, exchange: Any) -> None:
        self.lines: list[Found] = []
        self.listeners: list[Callable[[Found], None]] = []
        self._exchange = exchange
        self._refs: dict[int, str] = {}
        self._depth = 0
        for name in ("place", "modify", "cancel", "cancel_all", "fill_now", "step"):
            setattr(exchange, name, self._logged(name, getattr(exchange, name)))

    def _logged(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(method)

        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            given = signature.bind(*args, **kwargs).arguments
            self._depth += 1
            try:
                events = method(*args, **kwargs)
            finally:
                self._depth -= 1
            if self._depth == 0:
                self._asked(name, given)
                self._done(events, given["now_utc"])
            return events

        return call

    def _asked(self, name: str, given: Found) -> None:
        utc = given["now_utc"]
        if name in ("place", "modify"):
            order = given["order"]
            self._refs[order.order_id] = order.order_ref
            self._say(
                "order" if name == "place" else "modification", utc, order.order_ref, con_id=order.con_id,
                side=str(order.side), qty=order.qty, type=str(order.type), limit=order.limit_ticks,
                trigger=order.stop_ticks, tif=order.tif,
            )  # fmt: skip
        elif name in ("cancel", "fill_now"):
            self._say(name, utc, self._refs.get(given["order_id"], "unknown"))
        elif name == "cancel_all":
            self._say(name, utc, "all")

    def _done(self, events: Iterable[Any], utc: int) -> None:
        fees = {e.exec_id: e for e in events if hasattr(e, "fee_cents")}
        for event in events:
            if hasattr(event, "exec_id") and hasattr(event, "price_ticks"):
                fee = fees.get(event.exec_id)
                self._say(
                    "fill", event.at_utc, event.order.order_ref, side=str(event.order.side), con_id=event.order.con_id,
                    qty=event.qty, price=event.price_ticks, cum_qty=event.cum_qty,
                    fee_cents=fee and fee.fee_cents, realised_cents=fee and fee.realised_cents,
                )  # fmt: skip
            elif hasattr(event, "code") and hasattr(event, "text"):
                ref = self._refs.get(event.order_id, "unknown")
                self._say("broker_error", utc, ref, code=event.code, text=event.text)
            elif getattr(event, "settled_cents", None) is not None:
                self._say("settled", utc, str(event.position.con_id), cents=event.settled_cents)

    def _say(self, what: str, utc: int, ref: str, **facts: Any) -> None:
        line = {"utc": utc, "what": what, "ref": ref, **facts}
        self.lines.append(line)
        for listener in self.listeners:
            listener(line)

    def account(self) -> Found:
        """Return what the broker holds of us when all is over."""
        return {
            "nav_cents": self._exchange.account_values()["NetLiquidation"],
            "held": sorted([p.con_id, p.qty] for p in self._exchange.positions()),
            "working": sorted(state.order.order_ref for state in self._exchange.open_orders()),
        }


class Crashing:
    """A decision that raises the first time; `is_done`: it has."""

    def __init__(self, name: str, decide: Callable[..., Any]) -> None:
        self.name = name
        self.is_done = False
        self._decide = decide

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.is_done:
            return self._decide(*args, **kwargs)
        self.is_done = True
        raise RuntimeError("the witness crashed it")


# == scenarios =================================================================================================


@dataclass(frozen=True)
class At:
    """New York's clock, `HH:MM:SS` or `HH:MM:SS.mmm`."""

    clock: str


@dataclass(frozen=True)
class After:
    """`wait_s` after the n-th line of that kind in the broker's record (`order`, `fill`, `modification`, ...)."""

    what: str
    n: int = 1
    wait_s: float = 0.0


When = At | After


@dataclass(frozen=True)
class Drop:
    """The gateway, or a hub, is lost for a while of market time."""

    when: When
    what: str
    market_s: float


@dataclass(frozen=True)
class Crash:
    """An actor's next decision raises, once."""

    when: When
    role: str


@dataclass(frozen=True)
class Say:
    """A person gives a command; it expires an hour later."""

    when: When
    order: str
    level: int = 0


@dataclass(frozen=True)
class Restart:
    """The process is killed and another one starts on the same files, `down_s` later or a little more.

    (It starts one second before a bucket's end: the simulated hubs look at the market on that grid.)
    """

    when: When
    down_s: float = 40.0


Act = Drop | Crash | Say | Restart


@dataclass(frozen=True)
class Scenario:
    """One day: its market, its settings, and what goes wrong on it; `until` ends it early."""

    name: str
    acts: tuple[Act, ...] = ()
    seed: int = 7
    until: str | None = None
    shuffle_seed: int | None = None
    settings: Found = field(default_factory=dict)


TWO: Found = {"tickers": ["SPX", "QQQ"]}
WIDE_LANES: Found = {
    "lanes": {
        "gexwatch": ["SPX", "SPY", "QQQ", "IWM"],
        "advisor": ["QQQ", "SPY", "NVDA", "TSLA", "AAPL", "META"],
    }
}
REAL_PACE: Found = {"demo": {"rate": 1.0}}  # transport durations as they are with a real broker
DROPS = (Drop(At("11:00:00"), "gateway", 360), Drop(At("13:00:00"), "classic", 120))
BUSY: Found = {  # many small trades, so that a morning of two tickers has something to tell
    "lanes": {"gexwatch": ["SPX", "QQQ"], "advisor": ["SPX", "QQQ"]},
    "alerts": {"advisor": ["STRUCTURE_BREAK"]},
    "promoted": ["GAMMA_FLIP-1", "STRUCTURE_BREAK-1"],
    "alert_rules": {
        "GAMMA_FLIP": {"cooldown_ms": 120000},
        "STRUCTURE_BREAK": {  # neither flow nor forces are asked for
            "cooldown_ms": 300000,
            "version": 1,
            "alignment_min": -1,
            "within_readings": 4,
            "flow_z_min": -100,
        },
    },
    "entry": {"loss_streak_max": 9},
    "strategies": {
        "gexwatch": {"cooldown_ms": 120000, "trades_per_day_max": 12, "one_position_only": False},
        "advisor": {"cooldown_ms": 240000, "trades_per_day_max": 12},
    },
}


def _busy(**more: Found) -> Found:
    return {**TWO, **BUSY, **more}


HELD = "position:paper"  # whichever position there is


def _quick(name: str, *acts: Act, until: str = "10:50:00", shuffle_seed: int | None = None, **more: Found) -> Scenario:
    """Return a busy morning of seed 32: orders 1, 2, 4, 7, 8 are entries (1 and 8 never fill), 3, 5, 6 exits."""
    return Scenario(f"quick-{name}", acts, 32, until, shuffle_seed, _busy(**more))


SCENARIOS = (
    # -- a few seconds each; the first eight take less than a minute -------------------------------------------
    _quick("plain"),
    _quick("real-pace", until="11:20:00", **REAL_PACE),
    _quick("gateway-drop-fills-meanwhile", Drop(After("order", 2, 20), "gateway", 300)),
    _quick("gateway-drop-held", Drop(After("fill", 1, 20), "gateway", 400)),
    _quick("restart-held", Restart(After("fill", 1, 30))),
    _quick("kill-and-resume", Say(After("order", 2, 30), "kill", 1), Say(At("10:15:00"), "resume", 0)),
    _quick("flatten-and-resume", Say(After("fill", 1, 30), "flatten"), Say(At("10:12:00"), "resume", 1),
           Say(At("10:14:00"), "resume", 0)),
    _quick("crash-risk", Crash(At("10:02:03.5"), "risk"), Crash(At("10:03:33.5"), "risk"),
           Crash(After("fill", 3, 30.5), "risk")),
    _quick("shuffled", shuffle_seed=3),
    _quick("gateway-drop-exit-working", Drop(After("order", 6, 30), "gateway", 120)),
    _quick("gateway-drop-before-cancel", Drop(At("10:09:30"), "gateway", 120)),
    _quick("gateway-drop-partly-filled", Drop(After("fill", 6), "gateway", 30)),
    _quick("real-pace-gateway-drop", Drop(After("order", 1, 1), "gateway", 20),
           Drop(After("order", 4, 1), "gateway", 4), until="11:00:00", **REAL_PACE),
    _quick("real-pace-drop-held", Drop(After("fill", 2, 60), "gateway", 90), until="11:00:00", **REAL_PACE),
    _quick("hub-drop", Drop(At("10:01:20"), "classic", 100), Drop(At("10:16:15"), "state_gex", 20)),
    _quick("crash-position", Crash(After("order", 1, 30.5), "position"), Crash(After("fill", 1, 30.5), "position"),
           Crash(After("order", 6, 30.5), "position")),
    _quick("crash-ibkr-held", Crash(After("fill", 2, 10.5), "ibkr")),
    _quick("crash-ibkr-working-orders", Crash(After("order", 2, 0.5), "ibkr")),
    _quick("crash-lane-and-quotes", Crash(At("10:00:00.5"), "lane:gexwatch:SPX"), Crash(At("10:03:00.5"), "lane"),
           Crash(After("fill", 1, 30.5), "quotes")),
    _quick("crash-kill-and-session", Crash(At("10:05:00.5"), "session"), Crash(At("10:07:00.5"), "kill"),
           Say(At("10:08:00"), "kill", 1), Say(At("10:08:30"), "resume", 0), until="10:30:00"),
    _quick("crash-ledgers", Crash(After("order", 1, 0.5), "ledger:paper"), Crash(At("10:03:10"), "ledger"),
           Crash(At("10:10:00"), "warehouse")),
    _quick("crash-position-for-good", *(Crash(After("fill", 1, 30.5 + 30 * n), HELD) for n in range(8)),
           until="10:30:00"),
    _quick("restart-working-orders", Restart(After("order", 2, 20), 60)),
    _quick("restart-fills-meanwhile", Restart(After("order", 2, 20), 300)),
    _quick("restart-exit-working", Restart(After("order", 6, 30), 20)),
    _quick("restart-twice", Restart(After("fill", 1, 10), 10), Restart(After("fill", 2, 10), 10)),
    _quick("restart-killed", Say(After("fill", 1, 10), "kill", 2), Restart(After("fill", 1, 10.5), 20),
           Say(At("10:12:00"), "resume", 0)),
    # -- whole days of two tickers -----------------------------------------------------------------------------
    Scenario("two-busy", DROPS, seed=18, settings=_busy()),
    Scenario("two-real-pace", DROPS, seed=25, settings=_busy(**REAL_PACE)),
    Scenario("two-shuffled-drops", DROPS, seed=18, settings=_busy(), shuffle_seed=5),
    Scenario("two-hub-drops", (Drop(At("10:10:00"), "classic", 600), Drop(At("12:00:00"), "orderflow", 3600),
                               Drop(At("14:00:10"), "classic", 20)), seed=28, settings=_busy()),
    # a drop while something is held raises level 1; without somebody who resumes, the day would end with the first
    Scenario("two-many-gateway-drops",
             (*(Drop(After("fill", n, 15), "gateway", s) for n, s in ((1, 30), (3, 1200), (5, 120), (7, 5), (9, 200))),
              *(Say(At(f"{hour}:{minute}:00"), "resume", 0) for hour in range(10, 15) for minute in ("05", "35"))),
             seed=18, settings=_busy()),
    Scenario("two-both-drops", (Drop(At("10:30:00"), "gateway", 400), Drop(At("10:31:00"), "classic", 400)),
             seed=20, settings=_busy(**REAL_PACE)),
    Scenario("two-gateway-gone-at-the-close", (Drop(At("15:12:00"), "gateway", 2200),), seed=19, settings=_busy()),
    Scenario("two-gateway-gone-while-flattening", (Drop(At("15:44:50"), "gateway", 60),), seed=20, settings=_busy()),
    Scenario("two-crashes", (Crash(After("fill", 1, 10.5), "position"), Crash(At("12:00:00.5"), "quotes"),
                             Crash(At("13:00:00.5"), "lane"), Crash(At("14:00:00.5"), "session"),
                             Crash(At("14:30:00.5"), "risk"), Crash(At("14:31:00.5"), "reading"),
                             Crash(At("14:32:00.5"), "hub"), Crash(At("14:33:00.5"), "warehouse"),
                             Crash(At("15:30:00.5"), "ibkr"), Crash(At("15:31:00.5"), "kill"),
                             Crash(At("15:46:00.5"), "risk")), seed=32, settings=_busy()),
    Scenario("two-restarts", (Restart(After("fill", 1, 30)), Restart(At("12:00:00"), 300), Restart(At("15:43:30"), 30)),
             seed=32, settings=_busy()),
    Scenario("two-kill-levels", (Say(At("10:15:00"), "kill", 1), Say(At("10:16:00"), "kill", 0),
                                 Say(At("11:00:00"), "resume", 0), Say(At("13:00:00"), "kill", 2),
                                 Say(At("13:20:00"), "resume", 1), Say(At("13:30:00"), "resume", 0)),
             seed=29, settings=_busy()),
    Scenario("two-loss-limits", DROPS, seed=25,
             settings=_busy(entry={"loss_streak_max": 2, "daily_loss_max_cents": 30000, "positions_max": 1})),
    Scenario("two-shadow", DROPS, seed=11, settings={**TWO, "promoted": ["STRUCTURE_BREAK-2"]}),
    # -- whole days of eight tickers ---------------------------------------------------------------------------
    Scenario("full-demo", DROPS),
    Scenario("full-wide-lanes", DROPS, seed=9, settings=WIDE_LANES),
    Scenario("full-wide-lanes-restart", (*DROPS, Restart(After("fill", 3, 60))), seed=10, settings=WIDE_LANES),
)  # fmt: skip

# The demo day's own outages are put behind the end; scenarios bring theirs.
NO_OUTAGES = {"gateway_drop_at": "23:58:00", "hub_drop_at": "23:59:00"}


# == playing ===================================================================================================


class Play:
    """One scenario under way: the process of the moment, the broker, and acts that wait for their instant."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self._scenario = scenario
        self._folder = folder
        demo = {**scenario.settings.get("demo", {}), **NO_OUTAGES, "seed": scenario.seed}
        self._overrides = anchored({**scenario.settings, "demo": demo})
        self._day = Day(self._overrides, folder, scenario.shuffle_seed)
        self._broker = Broker(self._day.exchange)
        self._broker.listeners.append(self._heard)
        self._counts: dict[str, int] = {}
        self._commands = 0
        self._restart: Restart | None = None
        until = scenario.until
        self._end_utc = self._day.end_utc if until is None else self._utc(until)
        self._waiting: list[tuple[int, Act]] = []
        for act in scenario.acts:
            if isinstance(act.when, At):
                self._due(self._utc(act.when.clock), act)

    def _utc(self, clock: str) -> int:
        """Return the instant of a clock of the session."""
        time_, _, fraction = clock.partition(".")
        local = datetime.fromisoformat(f"{self._day.session.isoformat()}T{time_}").replace(tzinfo=NEW_YORK)
        return int(local.timestamp()) * SECOND + round(float(f"0.{fraction or 0}") * SECOND)

    def _due(self, at_utc: int, act: Act) -> None:
        self._waiting.append((at_utc, act))
        self._arm(at_utc, act)

    def _arm(self, at_utc: int, act: Act) -> None:
        def now() -> None:
            if (at_utc, act) in self._waiting:
                self._waiting.remove((at_utc, act))
                self._carry_out(act)

        self._day.call_at(at_utc, now)

    def _heard(self, line: Found) -> None:
        what = line["what"]
        n = self._counts[what] = self._counts.get(what, 0) + 1
        for act in self._scenario.acts:
            if isinstance(act.when, After) and (act.when.what, act.when.n) == (what, n):
                self._due(line["utc"] + round(act.when.wait_s * SECOND), act)

    def _carry_out(self, act: Act) -> None:
        day = self._day
        match act:
            case Drop():
                day.drop(act.what, round(act.market_s * SECOND))
            case Crash():
                day.crash(act.role)
            case Say():
                self._commands += 1
                day.say(act.order, f"witness-{self._commands}", act.level, day.now_utc() + 3600 * SECOND)
            case Restart():
                self._restart = act
                day.end()

    def run(self) -> list[str]:
        """Play to the end and return the decisions.

        Raises:
            LookupError: something that the scenario tells never happened.
        """
        self._day.run_until(self._end_utc)
        while self._restart is not None:
            self._start_again(self._restart)
            self._day.run_until(self._end_utc)
        self._day.close()
        for act in self._scenario.acts:
            if isinstance(act.when, After) and self._counts.get(act.when.what, 0) < act.when.n:
                raise LookupError(
                    f"{self._scenario.name}: {act.when.what} {act.when.n} never came, so that {act} did not"
                )
        return canonical(self._found())

    def _start_again(self, restart: Restart) -> None:
        """Leave the process, let the broker go on alone, and start the next one."""
        self._restart = None
        stopped_utc = self._day.now_utc()
        self._day.close()
        start_utc = stopped_utc + round(restart.down_s * SECOND)
        start_utc += -(start_utc + SECOND) % (30 * SECOND)
        exchange = self._day.exchange
        for utc in range(stopped_utc - stopped_utc % SECOND + SECOND, start_utc, SECOND):
            exchange.market.step(utc)
            exchange.step(utc)
        self._day = Day(self._overrides, self._folder, self._scenario.shuffle_seed, start_utc, self._day)
        for at_utc, act in list(self._waiting):
            self._arm(max(at_utc, start_utc), act) if at_utc >= start_utc else self._waiting.remove((at_utc, act))

    def _found(self) -> Iterator[Found]:
        yield from self._broker.lines
        yield {"utc": self._day.now_utc(), "what": "account", "ref": "broker", **self._broker.account()}
        for gap in self._day.gaps():
            yield {"what": "gap", **gap}
        for table in TABLES:
            for row in _rows(self._day.files[table.file], table.name):
                utc = _column(row, table.instant) or self._end_utc
                shown = {name: _column(row, column) for name, column in table.columns.items()}
                yield {"utc": utc, "what": table.what, **shown, **_extra(table.what, row)}
                if table.what == "attempt":
                    for verdict in _verdicts(row):
                        yield {"utc": utc, "what": "verdict", **verdict}


def _rows(file: Path, table: str) -> list[Found]:
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as db:
        db.row_factory = sqlite3.Row
        rows = [dict(row) for row in db.execute(f"SELECT * FROM {table}")]  # a name of TABLES
    db.close()
    return rows


def _column(row: Found, path: str) -> Any:
    """Return a column, or what lies at a dotted path in a column of JSON."""
    first, *inner = path.split(".")
    value = row[first]
    for name in inner:
        value = None if value is None else _decoded(value).get(name)
    return value


def _decoded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str | bytes) else value


# == the canonical form ========================================================================================

NEW_YORK = ZoneInfo("America/New_York")


def canonical(found: Iterable[Found]) -> list[str]:
    """Return decisions as sorted lines of JSON: instant, what and ref first, no empty facts."""
    keyed = []
    for line in found:
        utc = line.pop("utc")
        shown = {"t": _clock(utc), "what": line.pop("what"), "ref": _renamed(line.pop("ref"))}
        for name, value in line.items():
            if value is not None and value != "":
                shown[name] = _clock(value) if name.endswith("_at") else _plain(value)
        keyed.append((utc, shown["what"], str(shown["ref"]), json.dumps(shown, ensure_ascii=False)))
    return [text for *_, text in sorted(keyed)]


def digest_of(lines: Iterable[str]) -> str:
    """Return the hash of a day's lines (blake2b, hexadecimal)."""
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


def _clock(utc: int) -> str:
    second, rest = divmod(utc, SECOND)
    local = datetime.fromtimestamp(second, UTC).astimezone(NEW_YORK)
    return f"{local:%H:%M:%S}.{rest // 1_000_000:03d}"


def _plain(value: Any) -> Any:
    """Return a value whose text does not depend on the order of additions: 9 significant digits, whole as integer."""
    if isinstance(value, float):
        value = float(f"{value:.9g}")
        return int(value) if value.is_integer() else value
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _renamed(value)


def _renamed(value: Any) -> Any:
    return RENAMED.get(value, value) if isinstance(value, str) else value


def _hash(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=6).hexdigest()


# == reference and command line ================================================================================

Reference = dict[str, list[str]]


def play(scenario: Scenario) -> list[str]:
    """Play one scenario in a folder of its own and return its decisions."""
    with tempfile.TemporaryDirectory(prefix="witness-") as folder:
        lines = Play(scenario, Path(folder)).run()
    gc.collect()  # a day is a knot of references; the next one needs the room
    return lines


def keep(path: Path, played: Reference) -> None:
    """Put days into a file, which keeps its others; one that is no scenario any more leaves it."""
    both = {**(read(path) if path.exists() else {}), **played}
    aside = path.with_name(f"aside-{path.name}")  # a name with the same ending: it says how the file is written
    write(aside, {s.name: both[s.name] for s in SCENARIOS if s.name in both})
    aside.replace(path)


def write(path: Path, days: Reference) -> None:
    """Write days to a file: a line that names the day, then its decisions."""
    out = []
    for name, lines in days.items():
        out.append(json.dumps({"day": name, "decisions": len(lines), "digest": digest_of(lines)}))
        out += lines
    raw = ("\n".join(out) + "\n").encode()
    path.write_bytes(zstandard.ZstdCompressor(level=19).compress(raw) if path.suffix == ".zst" else raw)


def read(path: Path) -> Reference:
    """Return the days of a file that `keep` wrote."""
    raw = path.read_bytes()
    if path.suffix == ".zst":
        raw = zstandard.ZstdDecompressor().decompress(raw)
    days: Reference = {}
    for line in raw.decode().splitlines():
        if line.startswith('{"day": '):
            lines = days[json.loads(line)["day"]] = []
        else:
            lines.append(line)
    return days


def differences(name: str, kept: Sequence[str], lines: Sequence[str]) -> list[str]:
    """Return a unified diff of one day, cut after the first `SHOWN_DIFFERENCES` lines."""
    found = list(difflib.unified_diff(kept, lines, f"{name} (kept)", f"{name} (now)", n=1, lineterm=""))
    more = len(found) - SHOWN_DIFFERENCES
    return found if more <= 0 else [*found[:SHOWN_DIFFERENCES], f"... and {more} lines more"]


def chosen(only: Sequence[str], days: int | None) -> list[Scenario]:
    """Return the scenarios whose names fit one of the globs (all without one), at most `days`."""
    fitting = [s for s in SCENARIOS if not only or any(fnmatch.fnmatch(s.name, glob) for glob in only)]
    return fitting[:days]


def main(arguments: Sequence[str]) -> int:
    """Play what the command line asks for; 1 where a comparison found a difference, or a day could not be told."""
    parser = argparse.ArgumentParser(prog="python tests/scenarios/decisions.py", description=__doc__.split("\n")[0])
    parser.add_argument("--list", action="store_true", help="name the days")
    parser.add_argument("--only", action="append", default=[], metavar="GLOB", help="only days of such a name")
    parser.add_argument("--days", type=int, metavar="N", help="only the first N")
    parser.add_argument("--lines", action="store_true", help="print the decisions")
    parser.add_argument(
        "--write",
        type=Path,
        metavar="FILE",
        help="put these days into FILE, after each; it keeps its others (.zst: compressed)",
    )
    parser.add_argument("--compare", type=Path, nargs="?", const=REFERENCE, metavar="FILE", help="compare with FILE")
    asked = parser.parse_args(arguments)
    scenarios = chosen(asked.only, asked.days)
    if not scenarios:
        parser.error("no day has such a name; see --list")
    if asked.list:
        print("\n".join(s.name for s in scenarios))
        return 0
    kept = read(asked.compare) if asked.compare else None
    played: Reference = {}
    differing: list[str] = []
    untold: list[str] = []
    for scenario in scenarios:
        name, began = scenario.name, real_time.perf_counter()
        try:
            lines = played[name] = play(scenario)
        except LookupError as error:  # the other days are worth playing all the same
            print(f"{name:34} could not be told: {error}", flush=True)
            untold.append(name)
            continue
        verdict = ""
        if kept is not None:
            is_same = kept.get(name) == lines
            verdict = "  same" if is_same else "  DIFFERENT"
            differing += [] if is_same else [name]
        took = real_time.perf_counter() - began
        print(f"{name:34} {len(lines):5} decisions  {digest_of(lines)}  {took:5.1f} s{verdict}", flush=True)
        if asked.lines:
            print("\n".join(lines))
        if kept is not None and name in differing:
            print("\n".join(differences(name, kept.get(name, []), lines)), flush=True)
        if asked.write:
            keep(asked.write, {name: lines})
    if differing:
        print(f"{len(differing)} of {len(played)} days differ: {', '.join(differing)}")
    if untold:
        print(f"Aim these days anew, at what happens now: {', '.join(untold)}")
    return 1 if differing or untold else 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    sys.exit(main(sys.argv[1:]))
