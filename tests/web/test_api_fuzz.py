"""The API under a schema fuzz: whatever is asked, it answers as its description says, and never fails itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import Phase as Step
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks

from tests.testkit import web_desk as desk
from tests.testkit.web_child import TOKEN, shown

EXAMPLES: Final = 25  # of each operation, always the same ones
CHECKS: Final = [
    not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
    checks.response_schema_conformance,
]  # fmt: skip
HEADERS: Final = {"x-zerohour-token": TOKEN, "authorization": "Bearer a-token-for-signals-alone"}
ENDLESS: Final = frozenset({"/events"})


@pytest.mark.slow
def test_every_operation_answers_as_described_whatever_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEROHOUR_SIGNALS_TOKEN", "a-token-for-signals-alone")
    desk.write_desk(tmp_path)
    known = desk.settings(
        tmp_path, lanes={"outside": ["SPX"]}, outside={"kinds": {"MODEL": 1}}, rate_per_s=10_000.0
    )  # fmt: skip
    with shown(tmp_path, known) as served:
        schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json", timeout=60)
        tried = set()
        for found in schema.get_all_operations():
            assert isinstance(found, Ok), found
            operation = found.ok()
            if operation.path in ENDLESS:
                continue
            tried.add(operation.path)

            @settings(
                max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, phases=(Step.generate,),
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(case=operation.as_strategy())
            def ask(case: schemathesis.Case[Any]) -> None:
                case.call_and_validate(checks=CHECKS, headers=HEADERS, timeout=60)

            ask()
        assert len(tried) >= 25, sorted(tried)
        assert served.feed.starts == 1  # the process that serves has lived through it
