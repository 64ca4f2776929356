"""The simulated market's stylised facts beside those of real days, for `main.py simulate`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from datetime import date
from pathlib import Path
from typing import Any

import orjson

from commands.cli import CommandError
from commands.interrupted import kept as kept_on_interrupt
from commands.interrupted import left_in
from commands.progress import Progress
from config.settings import Settings
from simulation.days.results import Results, SweepError, source_digest
from simulation.market.from_settings import nature_of
from simulation.market.style import Nature
from simulation.market.survey import DayFigures, Fact, Worth, facts_of, straddle_of, survey, worth_of


def show(
    settings: Settings, places: Sequence[tuple[int, date]], workers: int, as_json: bool, *, with_alerts: bool = True,
    resume: Path | None = None,
) -> int:  # fmt: skip
    """Measure the settings' market at seeds and sessions, and print it; 0 only where all that is judged agrees.

    `resume` is the file in which days are kept as they are measured, and whose days are not measured again.

    Raises:
        CommandError: the file is of other settings or of no such days, or a process died.
    """
    try:
        kept = None if resume is None else Results(resume, settings, source_digest(), DayFigures)
    except SweepError as error:
        raise CommandError(str(error), 2) from None
    with kept_on_interrupt(left_in(resume)):
        days = _measured(settings, places, workers, kept, with_alerts=with_alerts)
    nature, facts = nature_of(settings), facts_of(days)
    worth = [straddle_of(days), *worth_of(days)]
    print(_json(nature, days, facts, worth) if as_json else "\n".join(_lines(nature, days, facts, worth)))
    return 1 if any(fact.verdict(nature, len(days)) == "no" for fact in facts) else 0


def _measured(
    settings: Settings, places: Sequence[tuple[int, date]], workers: int, kept: Results[DayFigures] | None, *,
    with_alerts: bool,
) -> list[DayFigures]:  # fmt: skip
    """Return the figures of all days in the order of their places, the kept ones among them."""
    found = {} if kept is None else dict(kept.done)
    wanted = [place for place in places if place[0] not in found]
    began = time.monotonic()
    with Progress() as shown:
        try:
            for n, one in enumerate(survey(settings, wanted, workers=workers, with_alerts=with_alerts), 1):
                found[one.seed] = one
                if kept is not None:
                    kept.add(one)
                left_min = (time.monotonic() - began) / n * (len(wanted) - n) / 60.0
                shown.at(f"{n}/{len(wanted)} days measured, {left_min:.1f} min left")
        except BrokenProcessPool:
            remedy = "with --resume FILE nothing measured is lost" if kept is None else "run the same command to go on"
            raise CommandError(f"A process that measured days died, perhaps for want of memory; {remedy}.") from None
        finally:
            if kept is not None:
                kept.close()
    return [found[seed] for seed, _ in places]


def _lines(nature: Nature, days: Sequence[DayFigures], facts: Sequence[Fact], worth: Sequence[Worth]) -> list[str]:
    lines = [
        f"{len(days)} day{'s' * (len(days) != 1)} of an {nature}.",
        "What alerts and trades come to in a simulated market says nothing about profit.",
        "", f"{'':37}{'real days':>16}{'simulated':>11}  agrees",
    ]  # fmt: skip
    lines += [f"{fact.name:37}{fact.real:>16}{fact.value:>11.3f}  {fact.verdict(nature, len(days))}" for fact in facts]
    lines += ["(-: not judged of such a market, or of so few days)"]
    lines += ["", f"{'before costs':37}{'n':>6}{'mean, bps':>12}{'t':>8}"]
    lines += [f"{one.kind:37}{one.alerts:>6}{one.mean_bps:>12.2f}{one.t:>8.2f}" for one in worth]
    lines += [
        "(alerts: spot's move in their direction after 15 min;",
        "straddle: bought at mid at 10:00, held to the close)",
    ]
    return lines


def _json(nature: Nature, days: Sequence[DayFigures], facts: Sequence[Fact], worth: Sequence[Worth]) -> str:
    row: dict[str, Any] = {
        "market": str(nature), "days": len(days),
        "facts": [
            {"name": one.name, "real": one.real, "value": one.value, "agrees": one.verdict(nature, len(days))}
            for one in facts
        ],
        "before_costs": [one._asdict() for one in worth],
    }  # fmt: skip
    return orjson.dumps(row, option=orjson.OPT_INDENT_2).decode()
