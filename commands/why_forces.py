"""The forces of a reading in lines for people: each force's score, and which features pushed it how far."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from commands.lines import wrapped
from domain.features.evidence import Evidence
from domain.wording import number_text

_INDENT: Final = 36  # of what pushed


def force_lines(message: dict[str, Any]) -> list[str]:
    """Return a line a force, strongest push first, and the alignment; none for a message that tells no evidence.

    Raises:
        ValidationError: the evidence is damaged.
    """
    told = message.get("evidence")
    if told is None:
        return []
    evidence = msgspec.convert(told, Evidence)
    lines: list[str] = []
    for force in evidence.forces:
        pushes = [push for push in evidence.pushes if push.force == force.name]
        text = ", ".join(f"{push.name} {number_text(push.value)} {push.push:+.2f}" for push in pushes)
        head = f"    {force.name:<10}{force.score:+.2f}  sure {force.confidence:.2f}"
        lines += wrapped(text or "no inputs", _INDENT, first=f"{head:<{_INDENT - 1}} ")
    alignment = "not defined" if evidence.alignment is None else f"{evidence.alignment:+.2f}"
    return [*lines, f"    alignment {alignment}"]
