"""`main.py simulate`: thousands of faulty days on virtual time, what must hold looked at after every step."""

from __future__ import annotations

import os
import tempfile
from argparse import Namespace
from datetime import date
from pathlib import Path
from typing import Any, Final

import orjson

from commands import market_days, market_facts, market_record
from commands.cli import CommandError
from commands.interrupted import kept, left_in
from commands.lines import counted
from commands.progress import Progress
from config.settings import Settings
from config.tree import MarketDrawn
from domain.session import calendar
from simulation.days.coverage import Coverage, Judged, judged
from simulation.days.one_day import DayResult, Days, day_settings
from simulation.days.plan import market_seed_of, session_of_market
from simulation.days.results import Results, SweepError, source_digest
from simulation.days.sweep import Pace, quick_folder, sweep

JUDGED_FROM: Final = 2_000  # fewer days cannot reach everything: their coverage is shown and not judged
FACTS_FROM: Final = 200  # days from which the stylised facts of their markets are shown beneath
MARKETS_SHOWN: Final = 20
# `--with`: what a share of the days has besides, and the name that `day_settings` and `judged` have for it.
EXTRAS: Final = {
    "spreads": "has_spreads", "twap": "has_slices", "desks": "has_desks", "rest": "has_rest",
    "slow-reads": "has_slow_reads", "combos": "has_combos", "lost-permits": "has_lost_permits",
}  # fmt: skip
_SHOWN_MAX: Final = 10


def act(arguments: Namespace) -> int:
    """Run the days; 0 only when nothing broke and, from `JUDGED_FROM` days on, everything was reached or is explained.

    Raises:
        CommandError: the results file is of other settings, or a worker died.
    """
    if arguments.market is not None:
        return market_record.show(arguments.market, arguments.seed, as_json=arguments.json)
    if arguments.record is not None:
        return market_days.record(arguments)
    settings = day_settings(**_extras(arguments))
    if arguments.facts or arguments.feedback is not None:  # facts of the anchored market would be facts of nothing
        feedback = settings.market.feedback if arguments.feedback is None else arguments.feedback
        settings = settings.model_copy(update={"market": MarketDrawn("honest", feedback)})
    seeds = range(arguments.seed, arguments.seed + arguments.days)
    workers = arguments.workers or os.cpu_count() or 1
    if arguments.facts:
        places = [(seed, settings.demo.session) for seed in seeds]
        return market_facts.show(settings, places, workers, arguments.json, resume=arguments.resume)
    if arguments.only_seed is not None:
        return _only(settings, arguments.only_seed, arguments.trace)
    with tempfile.TemporaryDirectory() as aside:
        path = arguments.resume or Path(aside) / "days.jsonl"
        traces = arguments.trace or path.with_suffix(".traces") if arguments.resume else arguments.trace
        try:
            results = Results(path, settings, source_digest(), DayResult)
            _sweep(settings, seeds, results, arguments, traces)
        except SweepError as error:
            raise CommandError(str(error), 2) from None
        results.close()
    found = [results.done[seed] for seed in seeds if seed in results.done]
    code = _report(found, arguments)
    if len(seeds) >= FACTS_FROM and not arguments.json:
        print()
        market_facts.show(settings, _markets_of(seeds), workers, as_json=False, with_alerts=False)
    return code


def _extras(arguments: Namespace) -> dict[str, bool]:
    return {name: extra in arguments.extras for extra, name in EXTRAS.items()}


def _markets_of(seeds: range) -> list[tuple[int, date]]:
    """Return the first markets of some days, and the session of each; half days are left out."""
    markets = dict.fromkeys(map(market_seed_of, seeds))
    whole = [(one, session) for one in markets if not _is_half(session := session_of_market(one))]
    return whole[:MARKETS_SHOWN]


def _is_half(session: date) -> bool:
    day = calendar.day(session)
    return day is not None and day.is_half


def _only(settings: Settings, seed: int, folder: Path | None) -> int:
    """Run one seed with its trace on."""
    folder = folder or Path(f"seed-{seed}")
    with tempfile.TemporaryDirectory(dir=quick_folder()) as name:
        broken = Days(settings, Path(name)).trace(seed, folder)
    for text in broken or ("no invariant broken",):
        print(f"seed {seed}: {text}")
    print(f"Trace, ledgers and the last messages lie in {folder}.")
    return 1 if broken else 0


def _sweep(
    settings: Settings, seeds: range, results: Results[DayResult], arguments: Namespace, traces: Path | None
) -> None:
    pace, broken = Pace(), [0]

    def progress(result: DayResult, done: int, wanted: int) -> None:
        if result.broken:
            broken[0] += 1
            if not arguments.json:
                shown.line(_finding(result, traces, arguments.extras))
        shown.at(pace.line(result, done, wanted, broken[0]))

    workers = arguments.workers or os.cpu_count() or 1
    with kept(left_in(arguments.resume)), Progress() as shown:
        sweep(
            settings, seeds, results, workers=workers, traces=traces, progress=progress,
            parity_every=arguments.parity_every,
        )  # fmt: skip


def _finding(result: DayResult, traces: Path | None, extras: list[str]) -> str:
    where = "" if traces is None else f" --trace {traces / f'seed-{result.seed}'}"
    options = "".join(f" --with {extra}" for extra in extras)
    return (
        f"Seed {result.seed}: {'; '.join(result.broken)}\n  main.py simulate --only-seed {result.seed}{options}{where}"
    )


def _report(found: list[DayResult], arguments: Namespace) -> int:
    coverage = Coverage()
    for result in found:
        coverage.add(result.coverage)
    broken = [result for result in found if result.broken]
    compared = [result.is_same for result in found if result.is_same is not None]
    verdicts = judged(coverage, **_extras(arguments))
    missing = [f"{verdict.title}: {name}" for verdict in verdicts for name in verdict.missing]
    is_judged = len(found) >= JUDGED_FROM
    row: dict[str, Any] = {
        "days": len(found), "seed": arguments.seed, "cpu_s_a_day": _mean([result.cpu_s for result in found]),
        "messages": sum(result.messages for result in found), "executions": sum(result.executions for result in found),
        "compared": len(compared), "same": sum(compared), "broken": {r.seed: r.broken for r in broken},
        "others": coverage.others,
    }  # fmt: skip
    if arguments.json:
        row["coverage"] = {
            v.title: {"reached": v.reached, "elsewhere": v.elsewhere, "missing": v.missing} for v in verdicts
        }
        print(orjson.dumps(row, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_INDENT_2).decode())
    else:
        print(_text(row, verdicts, broken, arguments.extras, is_judged=is_judged))
    return 1 if broken or (missing and is_judged) else 0


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 4) if values else 0.0


def _text(
    row: dict[str, Any], verdicts: tuple[Judged, ...], broken: list[DayResult], extras: list[str], *, is_judged: bool
) -> str:
    lines = [_verdict(row, verdicts, is_judged=is_judged)]
    lines += [f"  {_finding(result, None, extras)}" for result in broken[:_SHOWN_MAX]]
    if len(broken) > _SHOWN_MAX:
        lines.append(f"  and {len(broken) - _SHOWN_MAX} more (--json has them all)")
    told = (
        f"{counted(row['days'], 'day')} from seed {row['seed']}", f"{row['messages']:,} messages",
        f"{row['executions']:,} executions", f"{row['cpu_s_a_day']} CPU s a day",
    )  # fmt: skip
    lines.append(", ".join(told))
    if row["compared"]:
        lines.append(
            f"{counted(row['compared'], 'day')} also stepped every second: {row['same']} with the same executions"
        )
    lines += ["", f"{'':<38}{'reached':>9}{'tested elsewhere':>18}{'not reached':>13}"]
    lines += [
        f"{v.title:<38}{len(v.reached):>9}{len(v.elsewhere):>18}{len(v.missing):>13}" for v in verdicts
    ]  # fmt: skip
    if is_judged:
        lines += [f"not reached, {verdict.title}: {name}" for verdict in verdicts for name in verdict.missing]
    else:
        lines.append(f"(--json names them; under {JUDGED_FROM:,} days what was not reached is no fault)")
    if row["others"]:
        lines += ["", *(f"{name}: {count:,}" for name, count in sorted(row["others"].items()))]
    return "\n".join(lines)


def _verdict(row: dict[str, Any], verdicts: tuple[Judged, ...], *, is_judged: bool) -> str:
    """Return what the days say, in a line."""
    if row["broken"]:
        return f"BROKEN: {len(row['broken'])} of {counted(row['days'], 'day')} broke an invariant"
    missing = sum(len(verdict.missing) for verdict in verdicts) if is_judged else 0
    return "no invariant broken" + (f", but {missing} that should have been reached were not" if missing else "")
