"""How urgent a line for people is."""

from __future__ import annotations

from enum import StrEnum


class Severity(StrEnum):
    """From what is good to know to what cannot wait."""

    INFO = "info"
    WARNING = "warning"
    HIGH = "high"
    CRITICAL = "critical"
