"""A vendor key serves one supervisor, and stands nowhere: in no file, line or answer of a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from commands.cli import CommandError
from commands.key_locks import KeyLocks
from tests.testkit.paths import ROOT

SECRET = "gexbot_custom_0123456789abcdef"


@pytest.fixture(autouse=True)
def _locks_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def test_a_key_that_is_in_use_is_refused_by_the_name_of_its_variable_and_free_once_given_back(tmp_path: Path) -> None:
    first, second = KeyLocks(), KeyLocks()
    first.take({"KEY_A": SECRET, "KEY_B": f"{SECRET}_2"})
    with pytest.raises(CommandError) as refused:
        second.take({"KEY_C": f"{SECRET}_3", "KEY_X": SECRET})
    assert "KEY_X" in str(refused.value)
    assert f"pid {os.getpid()}" in str(refused.value)
    assert SECRET not in str(refused.value)
    KeyLocks().take({"KEY_C": f"{SECRET}_3"})  # what was taken before the refusal was given back
    first.release()
    second.take({"KEY_X": SECRET})
    second.release()
    assert all("0123456789" not in path.name + path.read_text() for path in tmp_path.iterdir())


def test_a_second_real_supervisor_with_the_same_key_is_refused_in_one_sentence(tmp_path: Path) -> None:
    held = KeyLocks()
    held.take({"ZEROHOUR_GEXBOT_KEY": SECRET})
    data = tmp_path / "data"
    found = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), "run", "--profile", "real", "--data", str(data)],
        env={**os.environ, "ZEROHOUR_GEXBOT_KEY": SECRET, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    held.release()
    assert found.returncode == 3, found.stderr
    assert "uses the vendor key in ZEROHOUR_GEXBOT_KEY" in found.stderr
    assert "Traceback" not in found.stderr
    written = b"".join(path.read_bytes() for path in data.rglob("*") if path.is_file())
    assert SECRET not in found.stdout + found.stderr
    assert SECRET.encode() not in written
