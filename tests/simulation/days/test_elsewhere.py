"""What simulated days need not reach is reached by the test that is named for it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from domain.risk.reject import RejectCode
from simulation.days.coverage import EDGES, EDGES_OF_DESKS, EDGES_OF_SLICES, EDGES_OF_SPREADS, OF_ONE_ORDER
from simulation.days.elsewhere import CODES_ELSEWHERE, EDGES_ELSEWHERE, FAULTS_ELSEWHERE
from simulation.days.faults import Fault
from tests.testkit.paths import ROOT


def test_only_what_exists_is_named() -> None:
    assert set(FAULTS_ELSEWHERE) <= {fault.name for fault in Fault}
    assert set(EDGES_ELSEWHERE) <= {*EDGES, *EDGES_OF_SPREADS, *OF_ONE_ORDER, *EDGES_OF_SLICES, *EDGES_OF_DESKS}
    assert set(CODES_ELSEWHERE) <= {code.value for code in RejectCode}


@pytest.mark.slow
def test_each_named_test_passes_and_takes_its_edge(tmp_path: Path) -> None:
    named = sorted({*EDGES_ELSEWHERE.values(), *CODES_ELSEWHERE.values()})
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.testkit.edge_record", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, *named], cwd=ROOT, env={**os.environ, "EDGE_RECORD": str(tmp_path / "taken")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-2_000:] + run.stderr[-2_000:]
    taken = json.loads((tmp_path / "taken").read_text())
    assert set(named) <= {*taken, *(name.partition("[")[0] for name in taken)}
    assert [f"{test} does not take {edge}" for edge, test in EDGES_ELSEWHERE.items() if edge not in taken[test]] == []


@pytest.mark.parametrize(("code", "test"), CODES_ELSEWHERE.items())
def test_each_named_test_speaks_of_its_code(code: str, test: str) -> None:
    path, _, function = test.partition("::")
    name, _, case = function.partition("[")
    text = (ROOT / path).read_text(encoding="utf-8")
    (found,) = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name == name]
    body = "\n".join(text.splitlines()[found.lineno - 1 : found.end_lineno])
    assert f"-{code}-" in case or f"RejectCode.{code.upper()}" in body or f'"{code}"' in body
