"""A whole faulty day: the same each time, the same stepped every second, and broken where the desk is."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from actors.position import actor as position_actor
from actors.position.state import PositionData
from commands.replay import replay_share
from config.settings import from_json
from domain.instants import SECOND
from simulation.days.one_day import Days, day_settings
from simulation.days.plan import plan_day
from simulation.days.world import World, fresh_ledgers
from simulation.inprocess.broker import InProcessBroker
from supervision.post import RECORD
from supervision.stepped import VirtualClock
from supervision.trace import SIMULATED, FileTrace, Header, MemoryTrace, NoTrace, Trace

SEED = 10  # a patient desk: kills of the process, a failing ledger, a slow port, faults of a third of its orders
SOLD_BY_HAND = 106  # part of a position, a flatten within the next seconds
LIVE_BESIDE = 219  # a patient desk, and an armed one that trades live money
SLOW_PORT = 15  # takes an entry after its deadline


@pytest.mark.slow
def test_a_day_is_the_same_each_time_and_stepped_every_second(tmp_path: Path) -> None:
    days = Days(day_settings(), tmp_path, parity_every=0)
    first, again = days.run(SEED), days.run(SEED)
    assert first.broken == ()
    assert (first.digest, first.messages, first.executions) == (again.digest, again.messages, again.executions)
    assert first.executions > 0
    assert days.is_same(SEED)


def test_a_day_is_stamped_alike_with_its_records_and_without(tmp_path: Path) -> None:
    settings = day_settings()
    Days(settings, tmp_path, parity_every=0)
    plan = plan_day(SEED, settings)
    heard: list[list[tuple[int, str, object]]] = []

    def quiet(clock: VirtualClock, _: int) -> Trace:
        return NoTrace(clock)

    def recorded(clock: VirtualClock, _: int) -> Trace:
        return MemoryTrace(clock)

    for make_trace in (quiet, recorded):
        fresh_ledgers(tmp_path / "template", tmp_path / "ledgers")
        world = World(settings, plan, tmp_path / "ledgers", make_trace=make_trace)
        world.begin()
        world.go(60 * SECOND)
        ring = list(world.scene.ring)
        world.end()
        assert [seq for seq, _, _, _ in ring] == list(range(ring[0][0], ring[0][0] + len(ring)))
        heard.append([(at, to, message) for _, at, to, message in ring if to != RECORD])
    quietly, on_record = heard
    assert len(quietly) > 50
    assert quietly[-len(on_record) :] == on_record[-len(quietly) :]


def test_whatever_a_day_is_traded_with_is_read_back_for_its_replay(tmp_path: Path) -> None:
    everything = day_settings(
        has_spreads=True, has_slices=True, has_desks=True, has_rest=True, has_slow_reads=True, has_combos=True
    )
    days = Days(everything, tmp_path)
    for seed in range(40):
        recorded = days.settings_of(plan_day(seed, everything)).to_json()
        assert from_json(recorded, is_judged=False).to_json() == recorded


def test_the_trace_of_a_day_with_two_desks_is_replayed_without_a_difference(tmp_path: Path) -> None:
    everything = day_settings(has_desks=True)
    days, plan = Days(everything, tmp_path), plan_day(LIVE_BESIDE, everything)
    settings, path = days.settings_of(plan), tmp_path / "trace-1.jsonl"
    assert plan.beside is not None

    def make_trace(clock: VirtualClock, run_n: int) -> Trace:
        header = Header(
            run_n=run_n, session=SIMULATED, started_utc=clock.now_utc(), rate=1.0, settings_digest="",
            code_version="", settings=msgspec.Raw(settings.to_json()),
        )  # fmt: skip
        return FileTrace(path, header, clock)

    fresh_ledgers(tmp_path / "template", tmp_path / "ledgers")
    world = World(settings, plan, tmp_path / "ledgers", make_trace=make_trace)
    world.begin()
    world.go(20 * SECOND)
    world.end()
    report, _ = replay_share((path,), settings.to_json(), tmp_path / "warehouse", 0, 1)
    assert report.divergence is None
    assert report.envelopes > 50


@pytest.mark.slow
def test_a_desk_whose_exits_are_disabled_breaks_an_invariant_and_leaves_a_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(position_actor, "steer_exit", lambda rules, turn: None)
    days = Days(day_settings(), tmp_path / "days", parity_every=0)
    found = days.run(SEED).broken
    assert any("after a flatten" in text or "not flat" in text for text in found), found
    assert days.trace(SEED, tmp_path / "trace") == found
    assert (tmp_path / "trace" / "findings.txt").read_text(encoding="utf-8").startswith(f"seed {SEED}: ")
    assert list((tmp_path / "trace").glob("trace-*.jsonl"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("owner", "guard", "without", "seed", "words"),
    [
        (InProcessBroker, "_refusal", lambda port, order, command: None, SLOW_PORT, "after its deadline"),
        (PositionData, "closable_qty", property(lambda state: state.fills.held), SOLD_BY_HAND, "the broker has told"),
    ],
    ids=["the port's own checks", "min(ledger, broker)"],
)
def test_a_desk_without_a_guard_breaks_an_invariant_that_holds_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, guard: str, without: object, seed: int, words: str
) -> None:
    days = Days(day_settings(), tmp_path, parity_every=0)
    assert days.run(seed).broken == ()
    monkeypatch.setattr(owner, guard, without)
    assert any(words in text for text in days.run(seed).broken)
