"""The other exit profile in the ledgers: a row of each change, what a restart gets back, what a promotion asks."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import UNSET, UnsetType

from domain.instants import SECOND
from domain.position.profiles import ADAPTIVE, LEARNED, SOURCE
from domain.signals.rates import PromotionRefused
from domain.units import Qty, Utc
from messages import signals
from messages.lifecycle import RequestState, StateRead
from messages.restored import PositionRestored, Tightened
from storage.desk_ledger import DeskLedger
from storage.exit_rows import proof_of
from storage.queries import LedgerReader
from storage.shared_ledger import SharedLedger, start_run
from tests.testkit import ledger_asks as ask


@pytest.fixture
def ledger(tmp_path: Path) -> DeskLedger:
    start_run(tmp_path, ("paper",), ask.T0)
    desk = DeskLedger(tmp_path, "paper", run_n=1)
    desk.open()
    return desk


def restored(ledger: DeskLedger) -> Tightened | UnsetType:
    asked = RequestState(name="position:paper:1", reply_to="supervisor", session=ask.DAY)
    (read,) = ledger.apply(asked, ask.T0)
    assert isinstance(read, StateRead)
    assert isinstance(read.restored, PositionRestored)
    return read.restored.tightened


def test_a_restart_gets_the_tightest_scales_of_the_life_back(ledger: DeskLedger) -> None:
    for message in (ask.reserve(1), ask.execution(1)):
        ledger.apply(message, ask.T0)
    assert restored(ledger) is UNSET
    for n, (stop, take) in enumerate([(1.0, 1.0), (0.75, 1.0), (0.75, 0.6)]):
        ledger.apply(ask.tightened(stop_scale=stop, take_scale=take, is_in_force=True, at_utc=ask.T0 + n), ask.T0)
    assert restored(ledger) == Tightened(version=1, stop_scale=0.75, take_scale=0.6, is_in_force=True)
    ledger.apply(ask.tightened(kind=LEARNED, is_in_force=True, at_utc=ask.T0 + 9), ask.T0)
    assert restored(ledger) == Tightened(kind=LEARNED, version=1, stop_scale=1.0, take_scale=1.0, is_in_force=True), (
        "of the profile that it began with last"
    )


def shown(ledger: DeskLedger, better: int, worse: int, same: int = 0, kind: str = ADAPTIVE) -> None:
    """Let so many shadows have made more than their position, or less, or gone with it."""
    results = [1] * better + [-1] * worse + [0] * same
    for n, more in enumerate(results, 1):
        changes = {} if more else {"sales": (), "left": Qty(2)}
        ledger.apply(ask.shadow_closed(n, -12_000, -12_000 + more * 500, kind=kind, **changes), Utc(ask.T0 + n))


def test_a_proof_counts_the_positions_that_the_shadow_left_by_itself(ledger: DeskLedger, tmp_path: Path) -> None:
    shown(ledger, better=3, worse=1, same=5)
    rate = proof_of(tmp_path, ("paper", "another"), ADAPTIVE, 1)
    assert (rate.n, rate.wins, rate.rate) == (4, 3, 0.75)
    assert proof_of(tmp_path, ("paper",), ADAPTIVE, 2).n == 0
    assert proof_of(tmp_path, ("paper",), LEARNED, 1).n == 0
    assert len(LedgerReader(tmp_path, "paper").shadow_exits(ask.DAY)) == 9


@pytest.mark.parametrize("kind", [ADAPTIVE, LEARNED])
@pytest.mark.parametrize(
    ("better", "worse", "is_refused"), [(28, 4, False), (16, 16, True), (20, 0, True)],
    ids=["proven", "no better than chance", "too few"],
)  # fmt: skip
def test_a_promotion_of_a_profile_needs_what_its_shadow_has_shown(
    ledger: DeskLedger, tmp_path: Path, better: int, worse: int, is_refused: bool, kind: str
) -> None:
    shown(ledger, better, worse, kind=kind)
    shared = SharedLedger(tmp_path, ("paper",))
    shared.open()
    promotion = signals.RecordPromotion(
        command_id="p1", source=SOURCE, kind=kind, version=1, is_promoted=True, by="ann", reason="r",
        at_utc=ask.T0, outcomes_min=30, rate_floor=0.5,
    )  # fmt: skip
    (answer,) = shared.apply(promotion, ask.T0)
    assert isinstance(answer, signals.PromotionRecorded)
    assert (answer.refused is PromotionRefused.UNPROVEN) is is_refused
    assert bool(answer.why) is is_refused
    asked = RequestState(name="risk:paper", reply_to="supervisor", session=ask.DAY)
    (read,) = ledger.apply(asked, Utc(ask.T0 + SECOND))
    assert isinstance(read, StateRead)
    assert ((SOURCE, kind, 1) in (read.restored.promoted or ())) is not is_refused  # type: ignore[union-attr]
    shared.close()
