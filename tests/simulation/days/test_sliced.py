"""Days whose entries go out in slices: drawn apart from the rest, played whole, told to the end, broken by sabotage."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace

from commands.why import chain_of
from commands.why_lines import lines_of
from domain.orders.references import entry_ref, is_slice_ref, position_of, slice_n
from domain.orders.twap import Twap, TwapEvent
from domain.units import Qty
from simulation.days.one_day import Days, day_settings
from simulation.days.plan import plan_day
from simulation.days.sliced import SHARE
from storage.queries import LedgerReader
from web.story import story_of

MANY_SLICES: Final = 3005
SETTINGS: Final = day_settings(has_slices=True)
PLAIN: Final = day_settings()


def test_without_the_option_no_day_has_slices_and_with_it_a_share_has() -> None:
    seeds = range(300)
    assert not [seed for seed in seeds if plan_day(seed, PLAIN).slices is not None]
    found = [slices for seed in seeds if (slices := plan_day(seed, SETTINGS).slices) is not None]
    assert SHARE * 0.8 < len(found) / len(seeds) < SHARE * 1.2
    assert len({slices.slices for slices in found}) > 2


def test_the_rest_of_a_day_stays_as_if_nobody_had_heard_of_slices() -> None:
    for seed in range(60):
        assert replace(plan_day(seed, SETTINGS), slices=None) == plan_day(seed, PLAIN)


def test_a_day_whose_entries_are_whole_is_traded_with_the_settings_of_any_other(tmp_path: Path) -> None:
    days, plain = Days(SETTINGS, tmp_path / "a", parity_every=0), Days(PLAIN, tmp_path / "b", parity_every=0)
    whole = next(seed for seed in range(60) if plan_day(seed, SETTINGS).slices is None)
    assert days.settings_of(plan_day(whole, SETTINGS)) == plain.settings_of(plan_day(whole, PLAIN))


@pytest.mark.slow
def test_slices_are_sent_nothing_breaks_and_ledger_story_and_trace_tell_each(tmp_path: Path) -> None:
    plan = plan_day(MANY_SLICES, SETTINGS)
    assert plan.slices is not None
    assert Days(SETTINGS, tmp_path / "days", parity_every=0).trace(MANY_SLICES, tmp_path / "told") == ()
    ledger = LedgerReader(tmp_path / "told" / "ledgers", SETTINGS.desk)
    traces = sorted((tmp_path / "told").glob("trace-*.jsonl"))
    fills = [fill for fill in ledger.executions(plan.day.session) if is_slice_ref(fill["order_ref"])]
    assert fills
    for ref in {fill["order_ref"] for fill in fills}:
        n, stem = slice_n(ref), position_of(ref)
        first, *later = ledger.order_events(ref)
        assert (first["event"], first["words"], first["by"]) == (
            "intended", f"slice {n} of {plan.slices.slices}", "desk",
        )  # fmt: skip
        assert {event["by"] for event in later if event["event"] == "fill"} == {"broker"}
        (end,) = [event for event in ledger.order_events(entry_ref(stem)) if event["event"] == "slices ended"]
        assert (end["by"], end["words"] != "") == ("desk", True)
        story = story_of(ledger, ref)
        assert story is not None
        steps = [step.text for step in story.steps]
        assert any(step.startswith(f"slice {n} of {plan.slices.slices}: buy ") for step in steps)
        assert any(step.startswith("slices ended ") for step in steps)
        why = " ".join(" ".join(lines_of(chain_of(traces, ref))).split())
        assert f" in {plan.slices.slices} slices at " in why
        assert f"{n} of {plan.slices.slices}: {ref} " in why
        assert "slices ended: " in why


@pytest.mark.slow
def test_a_slice_that_asks_for_the_whole_entry_again_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(twap: Twap, _: Qty) -> Twap:
        return replace(twap.after(TwapEvent.DUE), n=twap.n + 1, qty=twap.plan.total_qty)

    monkeypatch.setattr(Twap, "asking", greedy)
    result = Days(SETTINGS, tmp_path, parity_every=0).run(MANY_SLICES)
    assert any("is for more than the" in text for text in result.broken)
