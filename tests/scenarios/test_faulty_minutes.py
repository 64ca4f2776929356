"""Random signals, quotes, fills and faults against the whole trading side, minute by minute, on virtual time.

The actors are the real ones; what must hold is looked at after each instant by the simulator's own checks.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from domain.instants import BUCKET_NS, MINUTE, MS, SECOND
from domain.units import Utc
from simulation.days.faults import TIMED_FAULTS, Fault
from simulation.days.one_day import day_settings, variants_of
from simulation.days.plan import DayPlan, PlannedFault, plan_day
from simulation.days.world import World, fresh_ledgers, make_template

SETTINGS: Final = day_settings()
VARIANTS: Final = variants_of(SETTINGS)
LANES: Final = [(source, ticker) for source, tickers in SETTINGS.lanes.items() for ticker in tickers]
# Those that strike at an instant; a night and what a whole day is made of are the simulator's.
KINDS: Final = sorted(set(TIMED_FAULTS) - {Fault.LINK_OUT_AT_CLOSE}, key=lambda kind: kind.name)


class FaultyMinutes(RuleBasedStateMachine):
    """One process (or several, one after the other) that trades from 10:00 on."""

    @initialize(
        order_faults=st.sampled_from((0.0, 0.3, 0.7)), seed=st.integers(0, 49),
        variant=st.sampled_from(sorted(VARIANTS)), shuffle_seed=st.none() | st.integers(0, 1_000),
    )  # fmt: skip
    def start(self, order_faults: float, seed: int, variant: str, shuffle_seed: int | None) -> None:
        """Start at ten, with the whole warm-up over."""
        self.folder = tempfile.TemporaryDirectory()
        ledgers, template = Path(self.folder.name) / "ledgers", Path(self.folder.name) / "template"
        make_template(SETTINGS, template, Utc(0))
        fresh_ledgers(template, ledgers)
        plan = quiet(plan_day(seed, SETTINGS), order_faults, shuffle_seed)
        self.world = World(VARIANTS[variant], plan, ledgers, is_dense=True)
        self.world.begin()
        self.world.go(2 * MINUTE)
        self.faults = 0

    @rule(lane=st.sampled_from(LANES), direction=st.sampled_from((-1, 1)), seconds=st.integers(0, 45))
    def signal(self, lane: tuple[str, str], direction: int, seconds: int) -> None:
        """An alert is found two seconds after a bucket's end, and some time passes."""
        now = self.world.clock.now_utc()
        self.world.go(BUCKET_NS - now % BUCKET_NS + 2 * SECOND + 137 * MS)
        if not self.world.scene.broken:
            self.world.find(*lane, direction)
            self.world.go(seconds * SECOND + 1)

    @rule(seconds=st.integers(1, 200))
    def time_passes(self, seconds: int) -> None:
        """Nothing but the market happens."""
        self.world.go(seconds * SECOND)

    @rule(kind=st.sampled_from(KINDS), seconds=st.integers(0, 60), n=st.integers(0, 12), wait_ms=st.integers(0, 3_000))
    def fault(self, kind: Fault, seconds: int, n: int, wait_ms: int) -> None:
        """Something goes wrong."""
        self.world.go(wait_ms * MS)
        if self.world.scene.broken:
            return
        self.faults += 1
        subject = {Fault.ACTOR_CRASHED: ("risk", "ibkr", "position", "quotes", "kill")[n % 5]}.get(
            kind, LANES[n % len(LANES)][1]
        )
        n = {Fault.READ_GROUP_FAILED: n % 4, Fault.SESSION_GIVEN_UP: 50, Fault.CLOCK_OFF: 900}.get(kind, n)
        at_utc = self.world.clock.now_utc()
        self.world.strike(PlannedFault(kind, at_utc, seconds * SECOND + 7, subject, n))

    @rule()
    def people_resume(self) -> None:
        """A person lowers the kill level."""
        self.world.strike(PlannedFault(Fault.RESUMED, self.world.clock.now_utc()))

    @invariant()
    def nothing_is_broken(self) -> None:
        """What must hold has held at each instant so far."""
        if hasattr(self, "world"):
            assert not self.world.scene.broken, self.world.scene.broken

    def teardown(self) -> None:
        """Let ten quiet minutes pass: what is open must find its way back to agreement; then end."""
        if hasattr(self, "world"):
            if not self.world.scene.broken:
                self.world.go(10 * MINUTE)
            broken = self.world.scene.broken
            self.world.end()
            self.folder.cleanup()
            assert not broken, broken


def quiet(plan: DayPlan, order_faults: float, shuffle_seed: int | None) -> DayPlan:
    """Return a plan in which nothing is planned but what goes wrong with orders; it starts at ten."""
    return DayPlan(
        seed=plan.seed, market_seed=0, day=plan_day(0, SETTINGS).day, next_day=None,
        starts_utc=Utc(plan_day(0, SETTINGS).day.open_utc + 30 * MINUTE), signals=(), faults=(),
        order_faults=order_faults, shuffle_seed=shuffle_seed, variant="plain", odd_chain=None,
    )  # fmt: skip


@pytest.mark.slow
def test_no_sequence_of_signals_and_faults_breaks_an_invariant() -> None:
    run_state_machine_as_test(
        FaultyMinutes,
        settings=settings(
            max_examples=25, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
