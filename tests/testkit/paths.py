"""Where the checkout and its data are, and which recorded data of others may be absent from a lone clone."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
# Recorded by others under their own licences, and so not copied into this repository.
_SHARED = ROOT.parent / "shared" / "data"
LEAN = _SHARED / "lean"
CALLBACKS = _SHARED / "ib_callbacks_2025-10-22.json"

# How every reason begins that says so; the summary of a run counts them (tests/conftest.py).
ABSENT = "not in this checkout: "
needs_recorded_day = pytest.mark.skipif(
    not LEAN.is_dir(), reason=f"{ABSENT}the recorded day ../shared/data/lean (QuantConnect/Lean, Apache-2.0)"
)
needs_recorded_callbacks = pytest.mark.skipif(
    not CALLBACKS.exists(), reason=f"{ABSENT}the recorded session ../shared/data/{CALLBACKS.name} (vjsworld, MIT)"
)
