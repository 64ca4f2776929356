"""What `main.py simulate` prints of its days: the verdict first, then a short table."""

from __future__ import annotations

from argparse import Namespace

import orjson
import pytest

from commands import simulate
from simulation.days.coverage import Coverage
from simulation.days.one_day import DayResult


def of(days: int, *broken: str, as_json: bool = False) -> tuple[list[DayResult], Namespace]:
    coverage = Coverage(others={"restarts": 3})
    coverage.code("stale_quote")
    found = [
        DayResult(
            seed=7 + n, cpu_s=1.5, messages=4_000, lives=1, executions=6, digest="0",
            broken=broken if n == 0 else (), is_same=None, coverage=coverage,
        )
        for n in range(days)
    ]  # fmt: skip
    return found, Namespace(seed=7, json=as_json, extras=[])


def test_one_day_is_told_in_few_lines_with_the_verdict_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate._report(*of(1)) == 0
    verdict, told, *others = capsys.readouterr().out.splitlines()
    assert verdict == "no invariant broken"
    assert told == "1 day from seed 7, 4,000 messages, 6 executions, 1.5 CPU s a day"
    assert len(others) < 12
    assert max(map(len, others)) <= 80
    assert "tests/" not in "".join(others), "the names of tests are for --json"


def test_a_broken_day_stands_first_with_the_command_that_repeats_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate._report(*of(2, "two exits at once")) == 1
    verdict, finding, command, *_ = capsys.readouterr().out.splitlines()
    assert verdict == "BROKEN: 1 of 2 days broke an invariant"
    assert finding == "  Seed 7: two exits at once"
    assert command.strip() == "main.py simulate --only-seed 7"


def test_what_was_not_reached_is_named_where_it_is_judged(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulate, "JUDGED_FROM", 2)
    assert simulate._report(*of(2)) == 1
    text = capsys.readouterr().out
    assert text.splitlines()[0].startswith("no invariant broken, but ")
    assert "not reached, " in text


def test_json_still_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate._report(*of(1, as_json=True)) == 0
    row = orjson.loads(capsys.readouterr().out)
    assert sum(len(of["missing"]) for of in row["coverage"].values()) > 20
