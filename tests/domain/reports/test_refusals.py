"""Why an attempt was refused: where no contract passed, the refusal of the nearest is the cause."""

from __future__ import annotations

from typing import Any

from domain.reports.refusals import code_text, nearest_refusal, refused_measure

PASSED = {"gate": "contract", "finding": {"outcome": "pass", "code": None}}
NEAR = {
    "gate": "spread",
    "finding": {"code": "illiquid", "measured": 5, "limit": 2, "unit": "contracts", "looked_at": "520C"},
}
FAR = {"gate": "spread", "finding": {"code": "spread_too_wide", "measured": 0.2, "limit": 0.08, "unit": "of mid"}}
NONE = {"gate": "contract", "finding": {"code": "no_contract"}}


def row(*verdicts: dict[str, Any], tried: int = 0, looked_at: str = "", **changes: Any) -> dict[str, Any]:
    return {
        "code": "no_contract", "amended_code": None, "measured": tried, "limit_value": 1, "unit": "contracts tried",
        "looked_at": looked_at, "verdicts": [*verdicts, NONE],
    } | changes  # fmt: skip


def test_the_nearest_contracts_refusal_is_the_cause() -> None:
    found = row(PASSED, NEAR, PASSED, FAR, tried=2, looked_at="last: spread_too_wide")
    assert code_text(found) == "no_contract: illiquid"
    assert refused_measure(found) == "5 contracts, at most 2, 520C; 2 contracts tried, none passed"


def test_where_no_contract_was_tried_the_gates_words_are_the_cause() -> None:
    found = row(looked_at="no IWM C quoted with a delta in the band")
    assert nearest_refusal(found) is None
    assert (code_text(found), refused_measure(found)) == ("no_contract", "no IWM C quoted with a delta in the band")


def test_another_refusal_has_its_own_measure_alone() -> None:
    found = row(NEAR, code="stale_quote", tried=4_000, limit_value=3_000, unit="ms")
    assert (code_text(found), refused_measure(found)) == ("stale_quote", "4 s against 3 s")


def test_what_was_approved_has_no_code() -> None:
    assert code_text(row(code=None)) is None
    assert code_text(row(code=None, amended_code="broker_rejected")) == "broker_rejected"
