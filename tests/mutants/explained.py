"""The changes that no test notices and need not: each with the reason, found by function and text, not by line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

import msgspec

from tests.mutants.changes import Mutant

FILE: Final = Path(__file__).with_suffix(".toml")


class Explanation(msgspec.Struct, frozen=True):
    """Why a change makes no difference. A field that is left out fits every change of what the others name."""

    file: str
    function: str
    reason: str
    text: str | None = None
    change: str | None = None

    def fits(self, mutant: Mutant) -> bool:
        """Return whether this is about that change."""
        return (
            (self.file, self.function) == (mutant.file, mutant.function)
            and self.text in {None, mutant.text}
            and self.change in {None, mutant.change}
        )


def load() -> list[Explanation]:
    """Return all explanations."""
    return msgspec.convert(tomllib.loads(FILE.read_text()).get("explained", []), list[Explanation])


def explanation_of(mutant: Mutant, explanations: list[Explanation]) -> Explanation | None:
    """Return the reason that is written down for a survivor; `None` where there is none."""
    return next((explanation for explanation in explanations if explanation.fits(mutant)), None)
