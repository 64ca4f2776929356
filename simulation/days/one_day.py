"""One seed from plan to result, in one process; and the same seed again with the trace on."""

from __future__ import annotations

import gc
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from config.settings import Settings, load_settings
from domain.instants import exchange_clock
from domain.orders.capabilities import TASTYTRADE
from domain.signals.spread import OF_ONE_ORDER, PROMOTION, VERSION
from domain.units import Cents, Utc
from simulation.days.beside import SECOND_DESK, with_desk, without_desks
from simulation.days.coverage import Coverage
from simulation.days.plan import LOST_PERMITS_MS, SLOW_READ_BACK_MS, DayPlan, plan_day
from simulation.days.sliced import with_slices, without_slices
from simulation.days.spreads import WIDTH_USD, with_spreads, without_spreads
from simulation.days.world import World, executions_hash, fresh_ledgers, make_template
from supervision.stepped import VirtualClock
from supervision.trace import SIMULATED, FileTrace, Header, Trace

HOUR_MS: Final = 3_600_000
PARITY_EVERY: Final = 200
TICKERS: Final = ["SPX", "SPY", "QQQ", "IWM", "NVDA"]
LANES: Final = {"gexwatch": ["SPX", "SPY", "NVDA"], "advisor": ["QQQ", "IWM", "SPX"]}


class DayResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a day came to; `is_same` is the verdict of its comparison, `None` where there was none."""

    seed: int
    cpu_s: float
    messages: int
    lives: int
    executions: int
    digest: str
    broken: tuple[str, ...]
    is_same: bool | None
    coverage: Coverage


def day_settings(
    *,
    has_spreads: bool = False,
    has_slices: bool = False,
    has_desks: bool = False,
    has_rest: bool = False,
    has_slow_reads: bool = False,
    has_combos: bool = False,
    has_lost_permits: bool = False,
) -> Settings:
    """Return the settings of simulated days: the defaults, five tickers, six lanes, the anchored market.

    Its prices lead across the levels, so that a day brings about twice the executions of an honest one: what is sought
    here is action, and says nothing about profit. `has_spreads`: a share of the days has credit spreads, too;
    `has_slices`: on a share of them entries go out in slices; `has_desks`: a share has a second desk; `has_rest`: the
    orders of a desk go to the REST broker on a share of them; `has_slow_reads`: on all of them read-backs take time and
    reports come in any order; `has_combos`: the spreads are verticals, iron condors or iron butterflies that go
    out as one order, with `has_spreads` those of every other day; `has_lost_permits`: on all of them a share of risk's
    answers on permits and slices never arrives.
    """
    promoted = ["GAMMA_FLIP-1", "STRUCTURE_BREAK-2", *([PROMOTION] if has_spreads else [])]
    promoted += [f"{kind}-{VERSION}" for kind in OF_ONE_ORDER] if has_combos else []
    overrides: dict[str, object] = {
        "tickers": TICKERS, "lanes": LANES, "promoted": promoted, "market": {"kind": "anchored"},
        "spread": {"is_on": has_spreads or has_combos, "vertical_width": WIDTH_USD if has_combos else 0},
    }  # fmt: skip
    entry: dict[str, object] = {}
    if has_slices:
        entry["twap_min_qty"] = 4  # a day with slices has its own
    if has_lost_permits:
        entry["permit_ms"] = LOST_PERMITS_MS  # by this the plan knows it
    if entry:
        overrides["entry"] = entry
    if has_desks:
        overrides["desks"] = {SECOND_DESK: {"kind": "sim"}}  # a day with a second desk has its own
    if has_rest:
        overrides["broker"] = {"orders": TASTYTRADE}  # a day at the REST broker says which desk
    if has_slow_reads:
        overrides["connection"] = {"read_back_ms": SLOW_READ_BACK_MS}  # by this the plan knows it
    return load_settings(None, "demo", overrides)


def variants_of(settings: Settings) -> dict[str, Settings]:
    """Return the settings by variant: other accounts and limits, so that other gates decide."""
    entry, strategies, demo = settings.entry, settings.strategies, settings.demo
    often = {
        name: replace(
            rules, cooldown_ms=60_000, trades_per_day_max=60, one_position_only=False
        ) for name, rules in strategies.items()
    }  # fmt: skip
    two = replace(settings.broker, gateways=settings.broker.gateways * 2)
    liquidity = replace(entry.liquidity, display_share_max=3.0)
    patient = replace(
        settings.exits, no_progress_ms=5 * HOUR_MS, premium_stop=0.6, premium_backstop=0.8, take_single=3.0
    )
    long_holds = {name: replace(rules, max_hold_ms=5 * HOUR_MS) for name, rules in settings.ticker_rules.items()}
    return {
        "plain": settings,
        "patient": settings.model_copy(
            update={
                "broker": two,
                "entry": replace(entry, liquidity=liquidity, loss_streak_max=100, positions_max=8),
                "exits": patient,
                "ticker_rules": long_holds,
                "strategies": often,
            }
        ),
        "small": settings.model_copy(update={"demo": replace(demo, nav_usd=24_000)}),
        "strict": settings.model_copy(
            update={
                "entry": replace(
                    entry, daily_loss_max_cents=Cents(25_000), loss_streak_max=20, premium_nav_per_underlying=0.004,
                    premium_nav_total=0.008,
                ),
                "broker": two,
            }
        ),
        "roomy": settings.model_copy(
            update={
                "demo": replace(demo, nav_usd=3_000_000),
                "broker": two,
                "entry": replace(
                    entry, liquidity=liquidity, loss_streak_max=100, positions_max=8, positions_per_ticker_max=3
                ),
                "strategies": often,
            }
        ),
    }  # fmt: skip


class Days:
    """A folder in which days are run, one after the other; days of one market seed share its columns."""

    def __init__(self, settings: Settings, folder: Path, parity_every: int = PARITY_EVERY) -> None:
        self._settings = settings
        plain = without_desks(without_slices(without_spreads(settings)))
        self._variants = variants_of(plain)
        self._folder = folder
        self._parity_every = parity_every
        self._templates = {False: folder / "template", True: folder / "template with spreads"}
        for has_spreads, template in self._templates.items():
            make_template(without_desks(without_slices(settings)) if has_spreads else plain, template, Utc(0))

    def settings_of(self, plan: DayPlan) -> Settings:
        """Return the settings that a day is traded with."""
        settings = self._variants[plan.variant]
        settings = settings.model_copy(update={"broker": replace(settings.broker, orders=plan.broker)})
        if plan.spreads is not None:
            settings = with_spreads(settings, plan.spreads)
        if plan.slices is not None:
            settings = with_slices(settings, plan.slices)
        return settings if plan.beside is None else with_desk(settings, plan.beside)

    def run(self, seed: int) -> DayResult:
        """Run a day; on a sample also the way the plain ports step it, whose executions must be the same."""
        began = time.process_time()
        world, broken = self._run(seed)
        cpu_s = time.process_time() - began
        is_compared = bool(self._parity_every) and seed % self._parity_every == 0
        is_same = self.is_same(seed) if is_compared else None
        if is_same is False:
            broken = (*broken, "stepped as the plain ports do, the day had other executions")
        if is_compared and world.plan.beside is not None and not self.is_apart(self.comparable(seed)):
            broken = (*broken, "without what went wrong at the second desk, the first had other executions")
        result = DayResult(
            seed=seed, cpu_s=round(cpu_s, 4), messages=world.messages, lives=world.lives,
            executions=world.executions, digest=_digest(world),
            broken=broken, is_same=is_same, coverage=world.coverage,
        )  # fmt: skip
        del world
        gc.collect(1)  # a day is a knot of references
        return result

    def is_same(self, seed: int) -> bool:
        """Return whether a day comes to the same executions, stepped by event and every second."""
        found = [_digest(self._run(seed, is_dense=is_dense, is_comparable=True)[0]) for is_dense in (False, True)]
        return found[0] == found[1]

    def comparable(self, seed: int) -> DayPlan:
        """Return the plan of a day without what strikes by the number of messages, and without switches."""
        return plan_day(seed, self._settings, is_comparable=True)

    def is_apart(self, plan: DayPlan) -> bool:
        """Return whether the first desk of a comparable day has the same executions, whatever strikes the second."""
        assert plan.beside is not None
        calm = msgspec.structs.replace(
            plan, beside=msgspec.structs.replace(plan.beside, order_faults=0.0), faults_beside=()
        )  # fmt: skip
        found = [executions_hash(self.played(one, is_dense=False)[0].scene.exchange) for one in (plan, calm)]
        return found[0] == found[1]

    def trace(self, seed: int, folder: Path) -> tuple[str, ...]:
        """Run a day with its trace on, into a folder; return what broke."""
        folder.mkdir(parents=True, exist_ok=True)
        plan = plan_day(seed, self._settings)
        settings = self.settings_of(plan)

        def make_trace(clock: VirtualClock, run_n: int) -> Trace:
            header = Header(
                run_n=run_n, session=SIMULATED, started_utc=clock.now_utc(), rate=1.0,
                settings_digest=settings.digest(), code_version="", settings=msgspec.Raw(settings.to_json()),
            )  # fmt: skip
            path = folder / f"trace-{run_n}.jsonl"
            path.unlink(missing_ok=True)
            return FileTrace(path, header, clock)

        ledgers = folder / "ledgers"
        fresh_ledgers(self._templates[plan.spreads is not None], ledgers)
        world = World(settings, plan, ledgers, make_trace=make_trace)
        broken = _run(world)
        lines = [f"seed {seed}: {text}" for text in broken or ("nothing broke",)]
        planned = (*plan.faults, *plan.faults_beside)
        lines += [f"planned {exchange_clock(fault.at_utc)} {fault.kind.value} {fault}" for fault in planned]
        lines += [] if plan.beside is None else [f"second desk: {plan.beside}"]
        lines += [f"{seq} {exchange_clock(at)} {at} -> {to}: {message}" for seq, at, to, message in world.scene.ring]
        (folder / "findings.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return broken

    def _run(self, seed: int, *, is_dense: bool = False, is_comparable: bool = False) -> tuple[World, tuple[str, ...]]:
        return self.played(plan_day(seed, self._settings, is_comparable=is_comparable), is_dense=is_dense)

    def played(self, plan: DayPlan, *, is_dense: bool) -> tuple[World, tuple[str, ...]]:
        """Play a plan; return its world and what broke."""
        ledgers = self._folder / "ledgers"
        fresh_ledgers(self._templates[plan.spreads is not None], ledgers)
        world = World(self.settings_of(plan), plan, ledgers, is_dense=is_dense)
        return world, _run(world)


def _digest(world: World) -> str:
    """Return the hash of the executions of every desk."""
    return executions_hash(*(desk.scene.exchange for desk in world.desks))


def _run(world: World) -> tuple[str, ...]:
    """Run a world; what the simulator itself raises is a finding, too."""
    try:
        world.run()
    except KeyboardInterrupt:
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        world.scene.breaks(f"the simulator raised {error!r} in {where.filename}:{where.lineno}")
    return tuple(world.scene.broken)
