"""The lines of a session's report: what came to nothing stands in the order of the day, whatever the cause."""

from __future__ import annotations

import pytest

from commands import report_lines
from commands.report_lines import attempt_lines
from domain.instants import MINUTE
from tests.testkit.web_desk import NOW


def refused(alert: str, after_ns: int) -> dict[str, object]:
    return {
        "decided_utc": NOW + after_ns, "alert_id": alert, "code": "loss_streak", "measured": 3, "limit_value": 3,
        "unit": "structures", "amended_code": None, "amended_words": None, "because": "loss_streak",
        "told": "3 losses in a row, entries end at 3", "is_shadow": False,
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


def test_shadows_are_counted_and_hide_no_refusal() -> None:
    shadows = [
        refused(f"shadow {n}", n) | {"code": "shadow_signal", "because": "shadow_signal", "is_shadow": True}
        for n in range(40)
    ]
    long = refused("20261120-advisor-TSLA-143430-STRUCTURE_BREAK-2", MINUTE) | {"because": "no_contract: illiquid"}
    found = {
        "attempts": {"accepted": 1, "shadow_signal": 40, "no_contract": 1},
        "approved": {"filled": 1, "working": 0, "unfilled": 0}, "refused": [*shadows, long], "unfilled": [],
    }  # fmt: skip
    lines = attempt_lines(found)
    assert lines[0] == "  1 approved (1 filled), 1 refused, 40 shadows (not traded until promoted)"
    assert lines[1:] == [
        "  10:03:00  20261120-advisor-TSLA-143430-STRUCTURE_BREAK-2",
        "      no_contract: illiquid  3 losses in a row, entries end at 3",
    ]


@pytest.mark.parametrize(("ref", "said"), [("ZH-paper-A-e", ""), ("ZH-paper-A-e3", "(slice 3 of its entry)")])
def test_a_fill_says_of_which_slice_of_its_entry_it_is(ref: str, said: str) -> None:
    fill = {
        "at_utc": NOW, "side": "BUY", "qty": 2, "contract": "SPXW 6000C", "price_ticks": 510, "order_ref": ref,
        "is_adopted": False, "is_foreign": False, "is_time_uncertain": False,
    }  # fmt: skip
    assert " ".join(report_lines._fill(fill)).endswith(f"{ref} {said}".strip())
