"""What the simulator does not reach, each with the test that does (a test holds that these exist)."""

from __future__ import annotations

from typing import Final

FAULTS_ELSEWHERE: Final[dict[str, str]] = {}
EDGES_ELSEWHERE: Final[dict[str, str]] = {}
CODES_ELSEWHERE: Final[dict[str, str]] = {}
