"""A start on ledgers of which bytes have changed on the disk: it is refused in one sentence, and nothing is lost by it.

What SQLite and the ledger's own rules cannot see is taken for what it says; the broker's book is compared with it.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from messages import lifecycle
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import SharedLedger, start_run
from storage.sqlite_file import LedgerRefusedError
from storage.warehouse import Warehouse
from tests.commands.test_damaged_files import damage
from tests.testkit import ledger_asks as ask
from tests.testkit.paths import DATA

CASES = 60  # some of them change only what nobody reads
QUESTIONS = ("positions:paper", "risk:paper", "position:paper:5", "ibkr:paper")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    start_run(folder, ("paper",), ask.T0)
    desk = DeskLedger(folder, "paper", run_n=1, is_durable=False)
    desk.open()
    for n in range(1, 40):
        for message in (
            ask.reserve(n, con_id=n, positions_max=999, trades_per_day_max=999),
            ask.execution(n, f"00e{n}.1"),
            ask.position(n),
        ):
            desk.apply(message, ask.T0)
    desk.close()
    shared = SharedLedger(folder, ("paper",), is_durable=False)
    shared.open()
    for n in range(1, 40):
        shared.apply(ask.alert(n), ask.T0)
    shared.close()
    return folder


@pytest.mark.parametrize("name", ["paper.db", "ledger.db"])
def test_start_on_a_damaged_ledger_is_refused_in_a_sentence_or_answers_every_question(
    whole: Path, tmp_path: Path, name: str
) -> None:
    refused_n = 0
    for seed in range(CASES):
        folder = tmp_path / str(seed)
        shutil.copytree(whole, folder)
        path = folder / name
        damage(path, random.Random(seed))
        before = path.read_bytes()
        try:
            start_run(folder, ("paper",), ask.T0)
        except LedgerRefusedError as refused:
            refused_n += 1
            assert name in str(refused) and "\n" not in str(refused), seed
            assert "backup" in str(refused) or "folder" in str(refused) or "update" in str(refused), (seed, refused)
            assert path.read_bytes() == before, seed
        else:
            _ask_all(folder, seed)
        shutil.rmtree(folder)
    assert refused_n > CASES // 4


def test_start_on_a_damaged_manifest_or_market_file_goes_on_with_the_rest(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(DATA / "warehouse_v1", whole)
    for seed in range(20):
        source, folder = random.Random(seed), tmp_path / str(seed)
        shutil.copytree(whole, folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
        for path in {files[-1], source.choice(files)}:
            damage(path, source)
        warehouse = Warehouse(folder, free_min_mb=1)
        warehouse.open()
        warehouse.close()
        shutil.rmtree(folder)


def _ask_all(folder: Path, seed: int) -> None:
    """Ask a ledger that was taken for whole what a start asks: each question is answered, or it says why not."""
    desk = DeskLedger(folder, "paper", run_n=2, is_durable=False)
    desk.open()
    for name in QUESTIONS:
        asked = lifecycle.RequestState(name=name, reply_to="supervisor", session=ask.DAY)
        answers = desk.apply(asked, ask.T0)
        assert answers or desk.outage is not None or desk.take_set_aside(), (seed, name)
    desk.close()
