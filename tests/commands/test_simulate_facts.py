"""`main.py simulate --facts`: what a simulated market is like, beside real days."""

from __future__ import annotations

import json

import pytest

from commands import simulate
from commands.cli import main
from config.settings import load_settings
from domain.signals.alerts import EVALUATORS
from simulation.days.one_day import day_settings
from simulation.market.from_settings import nature_of
from simulation.market.style import Kind, Nature


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
