"""`python -m tests.mutants`: change every comparison and constant of the rooms that hold money, and run the tests."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from pathlib import Path

from tests.mutants.campaign import Campaign
from tests.mutants.explained import explanation_of, load
from tests.mutants.rooms import ROOMS


def main() -> int:
    """Run the rooms asked for; the exit code is 0 only where every change is noticed or explained."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--room", action="append", choices=[room.name for room in ROOMS], help="only this room")
    parser.add_argument("--file", help="only changes of files whose path contains this")
    parser.add_argument(
        "--part", choices=["functions", "import"], help="only what functions do, or what runs at import"
    )
    parser.add_argument("--since", type=int, default=0, metavar="N", help="begin at the N-th change (of each room)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every N-th change from there: a sample")
    parser.add_argument(
        "--listed", type=Path, metavar="FILE", help="only the changes that this file lists, as a run prints them"
    )
    parser.add_argument("--unexplained", action="store_true", help="leave out the changes that are explained")
    parser.add_argument("--list", action="store_true", help="list the changes and what is known of each; run nothing")
    parser.add_argument("--fresh", action="store_true", help="run again what is known")
    asked = parser.parse_args()
    explanations = load()
    listed = None if asked.listed is None else {_place(line) for line in asked.listed.read_text().splitlines()}
    unexplained = 0
    table = []
    for room in ROOMS:
        if asked.room and room.name not in asked.room:
            continue
        began = time.monotonic()
        campaign = Campaign(room, _say)
        parts = {None: {True, False}, "import": {True}, "functions": {False}}[asked.part]
        chosen = [
            mutant
            for mutant in campaign.mutants[asked.since :: asked.every]
            if (asked.file or "") in mutant.file and mutant.is_at_import in parts
            if listed is None or _place(mutant.words) in listed
            if not asked.unexplained or explanation_of(mutant, explanations) is None
        ]
        if asked.list:
            for number, mutant in enumerate(campaign.mutants):
                if mutant in chosen:
                    _say(f"{number:5} {campaign.outcome(mutant):9} {mutant.words}")
            continue
        campaign.run(chosen, is_fresh=asked.fresh)
        survivors = campaign.survivors(chosen)
        left = [mutant for mutant in survivors if explanation_of(mutant, explanations) is None]
        stale = [
            known
            for known in explanations
            if known.file in campaign.sources and not any(known.fits(mutant) for mutant in survivors)
        ]
        _say(f"\n{room.name}: {len(left)} survivors without an explanation")
        for mutant in left:
            _say(f"  {mutant.words}")
        if len(chosen) == len(campaign.mutants):
            for known in stale:
                _say(f"  explained, but noticed or gone: {known.file} {known.function}: {known.text} [{known.change}]")
            unexplained += len(stale)
        unexplained += len(left)
        took = time.monotonic() - began
        killed = len(chosen) - len(survivors)
        table.append((room.name, len(chosen), killed, len(survivors) - len(left), len(left), f"{took:.0f} s"))
    if table:
        _say(f"\n{'room':18}{'changes':>9}{'noticed':>9}{'explained':>11}{'left':>6}{'time':>9}")
        for name, *figures in table:
            _say(f"{name:18}{figures[0]:>9}{figures[1]:>9}{figures[2]:>11}{figures[3]:>6}{figures[4]:>9}")
    return 1 if unexplained else 0


def _place(words: str) -> str:
    """Return what a printed change says without its line number, which an edit above it moves."""
    return re.sub(r"^(?:\s*survived:)?\s*(\S+?\.py):\d+ ", r"\1 ", words)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(main())
