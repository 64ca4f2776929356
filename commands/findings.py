"""What a check found: for `main.py doctor` and the checks that it asks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One check: `is_ok`, what was seen, and the remedy where it is not; a warning is not OK and harms no run."""

    check: str
    is_ok: bool
    seen: str
    remedy: str = ""
    is_warning: bool = False

    @property
    def is_fault(self) -> bool:
        """Return whether a run should not begin before this is mended."""
        return not self.is_ok and not self.is_warning
