"""Comparisons of what was measured with its limit: one that cannot be made (NaN) counts as the limit being passed."""

from __future__ import annotations

EPSILON = 1e-9  # what a share computed in floats may lose


def is_over(measured: float, limit: float) -> bool:
    """Return whether a value is above a limit that it must not pass, or cannot be compared with it."""
    return not measured <= limit


def is_under(measured: float, limit: float) -> bool:
    """Return whether a value is below a limit that it must reach, or cannot be compared with it."""
    return not measured >= limit
