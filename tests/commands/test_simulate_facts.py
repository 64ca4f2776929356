"""`main.py simulate --facts`: what a simulated market is like, beside real days."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from commands import market_facts, simulate
from commands.cli import main
from config.settings import load_settings
from domain.signals.alerts import EVALUATORS
from simulation.days.coverage import Coverage
from simulation.days.one_day import DayResult, day_settings
from simulation.days.results import Results, source_digest
from simulation.market.from_settings import nature_of
from simulation.market.style import Kind, Nature
from simulation.market.survey import DayFigures


@pytest.mark.slow
def test_the_table_has_every_fact_and_every_kind_within_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--facts", "--days", "1", "--feedback", "0", "--workers", "1"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("1 day of an honest market, feedback 0.\n")
    for name in ("variance ratio, 130 min", "IV at 10:00", "parity missed", "straddle", *EVALUATORS):
        assert name in text, name
    assert max(map(len, text.splitlines())) <= 80
    assert main(["simulate", "--facts", "--days", "1", "--workers", "1", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["market"], row["days"]) == ("honest market, feedback 1", 1)
    assert {fact["agrees"] for fact in row["facts"]} == {"-"}, "one day is not judged"
    assert {one["kind"] for one in row["before_costs"]} == {"straddle", *EVALUATORS}


@pytest.mark.slow
def test_many_simulated_days_say_what_their_markets_were_like(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulate, "FACTS_FROM", 1)
    arguments = ["simulate", "--days", "1", "--seed", "250", "--feedback", "0", "--workers", "1", "--parity-every", "0"]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "no invariant broken" in text
    assert "1 day of an honest market, feedback 0." in text.partition("no invariant broken")[2]


def test_a_demo_day_is_honest_and_faulty_days_have_the_market_that_brings_about_more() -> None:
    assert nature_of(load_settings(profile="demo")) == Nature(Kind.HONEST)
    assert nature_of(day_settings()).kind is Kind.ANCHORED


@pytest.mark.parametrize("given", ["-1", "3.1", "nan"])
def test_a_factor_that_cannot_be_is_refused(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["simulate", "--feedback", given])
    assert "from 0 to 3" in capsys.readouterr().err


Places = list[tuple[int, date]]


def figures(seed: int) -> DayFigures:
    walk = np.cumsum(np.random.default_rng(seed).standard_normal(391) * 2e-4)
    return DayFigures(
        seed=seed, minutes=walk.tolist(), expected_move_bps=53.0 + seed / 7.0, iv=0.186, smile=[1.5, 1.0, 1.3],
        spreads=([0.4], [0.9], [0.5], [1.2]), volume=2_400_000 + seed, parity_missed=0.0, refilled=0.05,
        crossings=[1, 2], wrong=[False], levels_usd=[6_000.0, 6_010.0 + seed], straddle_bps=float(seed - 2),
        worth_bps={"GAMMA_FLIP": [1.5 * seed]},
    )  # fmt: skip


class Surveyed:
    """Measures nothing; dies before the given day."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.asked: list[Places] = []
        self._dies_at = dies_at

    def __call__(self, _settings: object, places: Places, **_: object) -> Iterator[DayFigures]:
        self.asked.append(places)
        for seed, _session in places:
            if seed == self._dies_at:
                raise BrokenProcessPool
            yield figures(seed)


def test_days_that_were_measured_are_kept_and_not_measured_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["simulate", "--facts", "--days", "3", "--feedback", "0"]
    monkeypatch.setattr(market_facts, "survey", Surveyed())
    assert main(command) == 0
    at_once = capsys.readouterr().out
    assert "(-: not judged" in at_once
    resumed = [*command, "--resume", str(tmp_path / "facts.jsonl")]
    monkeypatch.setattr(market_facts, "survey", Surveyed(dies_at=3))
    assert main(resumed) == 2
    assert "run the same command to go on" in capsys.readouterr().err
    monkeypatch.setattr(market_facts, "survey", going_on := Surveyed())
    assert main(resumed) == 0
    assert [[seed for seed, _ in places] for places in going_on.asked] == [[3]]
    assert capsys.readouterr().out == at_once


def test_a_process_that_dies_is_told_with_the_way_to_lose_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market_facts, "survey", Surveyed(dies_at=1))
    assert main(["simulate", "--facts", "--days", "2"]) == 2
    assert "--resume FILE" in capsys.readouterr().err


def test_a_file_of_faulty_days_is_not_taken_for_one_of_facts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = day_settings()
    honest = settings.model_copy(update={"market": replace(settings.market, kind="honest", feedback=0.0)})
    results = Results(tmp_path / "days.jsonl", honest, source_digest(), DayResult)
    faulty = DayResult(
        seed=1, cpu_s=0.1, messages=5, lives=1, executions=2, digest="d", broken=(), is_same=None, coverage=Coverage()
    )  # fmt: skip
    results.add(faulty)
    results.close()
    assert main(["simulate", "--facts", "--feedback", "0", "--resume", str(tmp_path / "days.jsonl")]) == 2
    assert "is no results file" in capsys.readouterr().err
