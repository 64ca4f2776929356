"""Why a row that was expected did not come, in the words of the gap ledger."""

from __future__ import annotations

from enum import StrEnum


class WhySilent(StrEnum):
    """What the port of a hub, and a start after a crash, know of a gap's cause."""

    SILENT = "silent"
    DISCONNECTED = "disconnected"
    SUPERVISOR_DOWN = "supervisor down"  # nobody listened: the gap's own from and to say how long
