"""What the simulator does not reach, each with the test that does (a test holds that these exist).

Nothing is named yet, so a sweep that is long enough to be judged ends with what is missing and exit code 1.
"""

from __future__ import annotations

from typing import Final

FAULTS_ELSEWHERE: Final[dict[str, str]] = {}
EDGES_ELSEWHERE: Final[dict[str, str]] = {}
CODES_ELSEWHERE: Final[dict[str, str]] = {}
