"""The lines of a session's report: what came to nothing stands in the order of the day, whatever the cause."""

from __future__ import annotations

from commands.report_lines import attempt_lines
from domain.instants import MINUTE
from tests.testkit.web_desk import NOW


def refused(alert: str, after_ns: int) -> dict[str, object]:
    return {
        "decided_utc": NOW + after_ns, "alert_id": alert, "code": "loss_streak", "measured": 3, "limit_value": 3,
        "unit": "structures", "amended_code": None, "amended_words": None,
    }  # fmt: skip


def test_refused_and_unfilled_attempts_stand_in_the_order_of_the_day() -> None:
    unfilled = {
        "decided_utc": NOW + MINUTE, "alert_id": "second", "order_ref": "ZH-e", "contract": "SPXW 5890P", "qty": 1,
        "limit_ticks": 1390, "status": "cancelled",
    }  # fmt: skip
    found = {
        "attempts": {"accepted": 1, "loss_streak": 2}, "approved": {"filled": 0, "working": 0, "unfilled": 1},
        "refused": [refused("first", 0), refused("third", 2 * MINUTE)], "unfilled": [unfilled],
    }  # fmt: skip
    assert [line.split()[:2] for line in attempt_lines(found) if line.startswith("  10:")] == [
        ["10:02:00", "first"], ["10:03:00", "second"], ["10:04:00", "third"],
    ]  # fmt: skip
