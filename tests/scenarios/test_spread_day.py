"""Stepped days with the credit spread on: one is held, scared and closed; one is unwound, as its shorts do not fill."""

from __future__ import annotations

from datetime import time
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from commands.why import chain_of
from commands.why_lines import lines_of
from config.settings import Settings, load_settings
from domain.instants import SECOND, at_exchange, exchange_clock
from domain.instruments import Side, Spot
from domain.position.cycle import ExitReason
from domain.units import Ticks, Utc
from domain.wording import reason_text
from messages import market, positions
from simulation.day import SteppedDay, invariants, stepped_day
from supervision.trace import MemoryTrace
from tests.testkit.paths import ROOT

pytestmark = pytest.mark.slow
ON = {
    "is_on": True, "min_entry_credit": 0, "max_position_loss": 5_000, "spx_spread_max_ticks": 500,
    "entry_until_ms": 7_200_000,
}  # fmt: skip
OVERRIDES = {
    "demo": {"seed": 11}, "tickers": ["SPX", "SPY"], "lanes": {"gexwatch": ["SPX"], "advisor": []},
    "promoted": ["CREDIT_SPREAD-1"], "ticker_rules": {t: {"spread_cap_ticks": 500} for t in ("SPX", "SPY")},
}  # fmt: skip
STEP_NS = 30 * SECOND


class SpreadDay:
    """A day, run from 09:35 on until something was told; `now` is where it stands."""

    def __init__(self, folder: Path, **spread: Any) -> None:
        self.play(folder, load_settings(profile="demo", overrides=OVERRIDES | {"spread": ON | spread}), time(10, 30))

    def play(self, folder: Path, settings: Settings, last: time) -> None:
        """Stand at 09:35 of a day of these settings, which is run until `last` at most."""
        self.folder = folder
        self.day: SteppedDay = stepped_day(settings, folder, shows=False)
        self.now = at_exchange(settings.demo.session, time(9, 35))
        self.last = at_exchange(settings.demo.session, last)

    def run_until(self, kind: str, state: str = "") -> dict[str, Any]:
        """Run until a message of this class, and with this state, was told; return the newest one."""
        while self.now < self.last:
            self.now = Utc(self.now + STEP_NS)
            self.day.run(self.now)
            told = [record for record in self.told(kind) if not state or record["message"]["state"] == state]
            if told:
                return told[-1]
        raise AssertionError(f"no {kind} {state} by {exchange_clock(self.last)}")

    def scare(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Let the fund stand more than 10 above the sold strike; return the orders of both legs, and the end."""
        opened = self.told("structures.OpenStructure")[-1]
        legs = [opened["message"][leg]["order"] for leg in ("cover", "short")]
        spot = Spot("SPY", Ticks(legs[1]["contract"]["strike_ticks"] + 1_001), self.now)
        self.day.runtime.post(opened["to"], market.SpotsChanged(spots=(spot,)), "port:quotes:paper")
        return legs, self.run_until("structures.StructureClosed")["message"]

    def told(self, kind: str) -> list[dict[str, Any]]:
        """Return the records of a message class so far."""
        found = (orjson.loads(line) for line in self.lines if kind.encode() in line)
        return [record for record in found if (record.get("message") or {}).get("type") == kind]

    @property
    def lines(self) -> list[bytes]:
        """The lines of the trace so far."""
        trace = self.day.runtime.trace
        assert isinstance(trace, MemoryTrace)
        return list(trace.lines)

    def why(self, order_ref: str) -> str:
        """Return what `why` says about an order, in one line."""
        trace = self.folder / "trace.jsonl"
        trace.write_bytes(b"".join(line.rstrip(b"\n") + b"\n" for line in self.lines))
        return " ".join(" ".join(lines_of(chain_of([trace], order_ref))).split())

    def held_after_each_fill(self) -> list[tuple[int, int]]:
        """Return (cover, shorts) after each of the broker's executions."""
        cover = short = 0
        found = []
        for fill, _ in self.day.exchange.executions():
            signed = fill.qty if fill.order.side is Side.BUY else -fill.qty
            contract = self.day.exchange.market.contract(fill.order.con_id)
            assert contract is not None
            cover, short = (cover + signed, short) if contract.ticker == "SPX" else (cover, short - signed)
            found.append((cover, short))
        return found


def test_a_held_spread_is_scared_and_closed_shorts_first_and_why_explains_both_legs(tmp_path: Path) -> None:
    day = SpreadDay(tmp_path)
    day.run_until("structures.StructureChanged", "HELD")
    assert sorted(p.qty for p in day.day.exchange.positions() if p.qty) == [-10, 1]
    legs, closed = day.scare()
    assert closed["reason"] == ExitReason.ASSIGNMENT_RISK
    held = day.held_after_each_fill()
    assert all(0 <= short <= 10 * cover for cover, short in held), held
    assert held[-2:] == [(1, 0), (0, 0)]  # the cover is sold when no short is left
    assert invariants(day.day) == []
    for leg in legs:
        said = day.why(leg["order_ref"])
        assert said.count(" structure HELD: ") == 1, "the lane hears of it, too"
        for words in ("credit", "edge", "gap of the strikes", "the short leg needs", "SPXW", "SPY", "assignment risk"):
            assert words in said, words


class DemoDay(SpreadDay):
    """The day that `run --config config/examples/spread-demo.yaml` plays, in the two underlyings that matter here."""

    def __init__(self, folder: Path) -> None:
        few = {"tickers": ["SPX", "SPY"], "lanes": {"gexwatch": ["SPX"], "advisor": []}}
        self.play(folder, load_settings(ROOT / "config/examples/spread-demo.yaml", "demo", few), time(10, 5))


def test_the_demo_of_the_example_trades_one_and_why_explains_both_legs_fills_and_exit(tmp_path: Path) -> None:
    day = DemoDay(tmp_path)
    day.run_until("structures.StructureChanged", "HELD")
    legs, closed = day.scare()
    assert day.held_after_each_fill()[-2:] == [(1, 0), (0, 0)]
    fills = (f"cover bought at {closed['cover_ticks'] / 100:.2f}", f"shorts sold at {closed['short_ticks'] / 100:.2f}")
    for leg in legs:
        said = day.why(leg["order_ref"])
        for words in ("credit", "edge", "gap of the strikes", *fills, reason_text(closed["reason"])):
            assert words in said, words


def test_a_short_leg_that_does_not_fill_in_its_time_is_unwound(tmp_path: Path) -> None:
    day = SpreadDay(tmp_path, leg_timeout_ms=1)
    closed = day.run_until("structures.StructureClosed")["message"]
    assert closed["reason"] == ExitReason.UNWIND
    held = day.held_after_each_fill()
    assert all(0 <= short <= 10 * cover for cover, short in held), held
    assert held[-1] == (0, 0)
    assert invariants(day.day) == []


VERTICAL = {"vertical_width": 10, "min_entry_credit": 0, "spx_contracts_per_spread": 2}


class VerticalDay(SpreadDay):
    """A day whose spreads are verticals of SPX, which go out as one order."""

    def __init__(self, folder: Path, **spread: Any) -> None:
        more = {"promoted": ["CREDIT_VERTICAL-1"], "spread": ON | VERTICAL | spread}
        self.play(folder, load_settings(profile="demo", overrides=OVERRIDES | more), time(10, 30))

    def lose(self) -> None:
        """Let the structure hear that its sold leg has lost more than a spread may."""
        told = self.told("positions.LegChanged")
        short = next(r for r in reversed(told) if r["message"]["ref"]["side"] == Side.SELL)
        report = msgspec.convert(
            {k: v for k, v in short["message"].items() if k != "type"} | {"unrealised_cents": -1_000_000},
            positions.LegChanged, strict=False,
        )  # fmt: skip
        opened = self.told("structures.OpenStructure")[-1]
        self.day.runtime.post(opened["to"], report, "position:paper:0")


def test_a_vertical_is_opened_and_left_as_one_order_and_why_explains_both_legs(tmp_path: Path) -> None:
    day = VerticalDay(tmp_path)
    held = day.run_until("structures.StructureChanged", "HELD")["message"]
    assert (held["cover_qty"], held["short_qty"]) == (2, 2)
    opened = day.told("structures.OpenStructure")[-1]["message"]
    legs = [opened[leg]["order"] for leg in ("cover", "short")]
    assert legs[0]["contract"]["strike_ticks"] - legs[1]["contract"]["strike_ticks"] == 1_000
    (placed,) = day.told("broker.PlaceOrder")
    assert placed["message"]["order"]["limit_ticks"] == legs[0]["limit_ticks"] - legs[1]["limit_ticks"]
    day.lose()
    closed = day.run_until("structures.StructureClosed")["message"]
    assert closed["reason"] == ExitReason.POSITION_LOSS
    sent = [record["message"] for record in day.told("broker.PlaceOrder")]
    assert [(one["order"]["is_exit"], len(one["legs"])) for one in sent] == [(False, 2), (True, 2)]
    assert not [p for p in day.day.exchange.positions() if p.qty]
    assert invariants(day.day) == []
    for leg in legs:
        said = day.why(leg["order_ref"])
        for words in ("credit", "edge", "gap of the strikes", "SPXW", reason_text(closed["reason"])):
            assert words in said, (leg["order_ref"], words)


class CondorDay(VerticalDay):
    """A day whose spreads are iron condors of SPX."""

    def __init__(self, folder: Path, **spread: Any) -> None:
        condor = {"combination": "iron condor", "spx_contracts_per_spread": 2, "vertical_loss": 5_000}
        more = {"promoted": ["IRON_CONDOR-1"], "spread": ON | condor | spread}
        self.play(folder, load_settings(profile="demo", overrides=OVERRIDES | more), time(10, 30))


def test_an_iron_condor_is_opened_and_left_as_one_order_of_four_legs_and_why_explains_them_all(tmp_path: Path) -> None:
    day = CondorDay(tmp_path)
    held = day.run_until("structures.StructureChanged", "HELD")["message"]
    assert (held["cover_qty"], held["short_qty"]) == (4, 4)
    assert sorted(p.qty for p in day.day.exchange.positions() if p.qty) == [-2, -2, 2, 2]
    day.lose()
    closed = day.run_until("structures.StructureClosed")["message"]
    assert closed["reason"] == ExitReason.POSITION_LOSS
    sent = [record["message"] for record in day.told("broker.PlaceOrder")]
    assert [(one["order"]["is_exit"], len(one["legs"])) for one in sent] == [(False, 4), (True, 4)]
    assert not [p for p in day.day.exchange.positions() if p.qty]
    assert invariants(day.day) == []
    opened = day.told("structures.OpenStructure")[-1]["message"]
    legs = (opened["cover"], opened["short"], *opened["further"])
    bought_put, sold_put = (leg["order"]["contract"]["strike_ticks"] / 100 for leg in opened["further"])
    for leg in legs:
        said = day.why(leg["order"]["order_ref"])
        puts = f"puts {sold_put:g}/{bought_put:g}"
        for words in ("credit", "edge", "gap of the strikes", puts, "SPXW", reason_text(closed["reason"])):
            assert words in said, (leg["order"]["order_ref"], words)
