"""`why-not` and `ask` know the spread's lane, and that a leg of it was sold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from commands.ask import answer_to
from commands.cli import main
from config.settings import load_settings
from domain.instants import SECOND, exchange_clock
from tests.testkit import ledger_asks as ask
from tests.testkit.spread_desk import KEY, Desk

LANE = "spread:SPX-SPY"
LATER = KEY.bucket_utc + 30 * SECOND
CREDIT = "credit: 55500 against 60000 cents (net credit after fees of 15.90 USD)"


class World:
    """A folder whose desk opened one spread, and a trace in which the lane says why it opened no other."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.desk = Desk(root)
        self.desk.record_alert()
        self._root, self._capsys = root, capsys
        self.config = root / "own.yaml"
        self.switch(is_on=True)

    def switch(self, *, is_on: bool) -> None:
        self.config.write_text(f"profile: demo\nspread: {{is_on: {str(is_on).lower()}}}\n", encoding="utf-8")

    def trace(self, *whys: str) -> None:
        path = self.desk.folder.traces / ask.DAY.isoformat() / "run-1.jsonl"
        path.parent.mkdir(parents=True)
        rows: list[dict[str, Any]] = [{"kind": "header", "run_n": 1}]
        for n, why in enumerate(whys):
            message = {
                "type": "signals.NotEvaluated", "source": KEY.source, "ticker": KEY.ticker, "kind": KEY.kind,
                "bucket_utc": LATER + n * 30 * SECOND, "why": why,
            }  # fmt: skip
            rows.append({"kind": "envelope", "seq": n, "at_utc": ask.T0, "to": "record", "message": message})
        path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))

    def said(self, *words: str) -> tuple[int, str]:
        code = main(["--config", str(self.config), "--data", str(self._root), *words])
        told = self._capsys.readouterr()
        return code, " ".join((told.out or told.err).split())


@pytest.fixture
def world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> World:
    return World(tmp_path, capsys)


def test_a_day_counts_the_spread_and_says_what_kept_the_lane_from_another(world: World) -> None:
    world.trace(CREDIT, CREDIT.replace("55500", "57000"), f"{KEY.alert_id}/spread/0 is under way")
    code, said = world.said("why-not", ask.DAY.isoformat())
    assert code == 0
    assert "1 alert (0 of them shadows), 1 attempt: 1 traded, 0 without a fill, 0 refused" in said
    nearest = f"nearest to an alert: {exchange_clock(LATER + 30 * SECOND)} {CREDIT.replace('55500', '57000')}"
    assert f"{LANE} CREDIT_SPREAD: 1 alert, 1 traded {nearest} nothing was opened: credit 2, one is under way 1" in said


def test_the_spread_that_came_nearest_is_the_one_least_beyond_its_own_limit_and_the_first_of_two(world: World) -> None:
    wide, no_quote = "spx_spread: 52 against 50 ticks (ask less bid of the SPX call)", "quotes: a quote is crossed"
    world.trace(CREDIT, wide, no_quote, wide, "damaged: 1 against 1 cents (nothing)")
    _, said = world.said("why-not", ask.DAY.isoformat())
    assert f"nearest to an alert: {exchange_clock(LATER + 30 * SECOND)} {wide} nothing was opened" in said
    found = orjson.loads(world.said("why-not", ask.DAY.isoformat(), "--json")[1])
    assert [row["nearest_spread"] for row in found if row["is_spread"]] == [
        {
            "bucket_utc": LATER + 30 * SECOND,
            "unmet": {
                "condition": "spx_spread", "measured": 52.0, "limit": 50.0, "unit": "ticks",
                "looked_at": "ask less bid of the SPX call",
            },
        }
    ]  # fmt: skip


def test_the_spreads_lane_can_be_asked_about_a_minute(world: World) -> None:
    world.trace(CREDIT)
    code, said = world.said("why-not", LANE, "CREDIT_SPREAD", exchange_clock(LATER))
    assert (code, said.endswith(f"No alert: {CREDIT}.")) == (0, True)
    code, said = world.said("why-not", LANE, "CREDIT_SPREAD-1", exchange_clock(KEY.bucket_utc))
    assert "alert: SPX at 6000.00, credit 483.00 USD net of fees" in said and " up at " not in said
    assert "It was traded: 1 SPXW 6005C and -10 SPY 600C filled;" in said
    code, said = world.said("why-not", LANE, "CREDIT_SPREAD", "15:00")
    assert (code, "The spread's lane said nothing of this bucket" in said) == (1, True)


def test_a_spread_on_record_is_known_though_it_was_switched_off_since(world: World) -> None:
    world.switch(is_on=False)
    assert f"{LANE} CREDIT_SPREAD: 1 alert, 1 traded" in world.said("why-not", ask.DAY.isoformat())[1]
    assert world.said("why-not", LANE, "CREDIT_SPREAD", exchange_clock(KEY.bucket_utc))[0] == 0
    code, said = world.said("why-not", LANE, "CREDIT_SPREAD", "10:00", "--session", "2026-11-19")
    assert (code, said.endswith("The spread is switched off (spread.is_on).")) == (2, True)


@pytest.mark.parametrize(
    "text", ["why did we sell the 600 call?", "why was the 600 call sold?", "why the SPY 600 call?"]
)
def test_ask_knows_that_a_leg_was_sold_to_open(world: World, text: str) -> None:
    world.desk.close()
    found = answer_to(text, load_settings(profile="demo", overrides={"data_dir": str(world.desk.folder.root)}),
                      world.desk.folder)  # fmt: skip
    assert found.text.startswith("Sold 10 SPY 600C (spread, ")
    assert "credit 483.00 USD net of fees" in found.text
    assert "-300.00 USD net of 9.50 USD fees" in found.text
    assert "Its 2 legs together made +150.00 USD." in found.text


def test_how_a_leg_that_was_sold_ended_is_how_it_was_bought_back(world: World) -> None:
    world.desk.close()
    settings = load_settings(profile="demo", overrides={"data_dir": str(world.desk.folder.root)})
    for text in ("why did we buy back the 600 call?", "why did we close the 600 call?"):
        assert answer_to(text, settings, world.desk.folder).text.startswith("Closed at"), text


def test_ask_lists_a_spread_as_one_trade_of_both_of_its_tickers(world: World) -> None:
    world.desk.close()
    settings = load_settings(profile="demo", overrides={"data_dir": str(world.desk.folder.root)})
    for text in ("what did we trade today?", "what did we trade in SPY today?", "what did we trade in SPX today?"):
        told = answer_to(text, settings, world.desk.folder).text
        assert "1 closed trade" in told, text
        assert "1 SPXW 6005C / -10 SPY 600C: +150.00 USD, assignment risk" in told, text
