"""Ctrl-C at any instant ends a command with one line, and a long command says what is kept and how to go on."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from commands import backtest, fit_exits, interrupted, live, market_days, market_facts, run, simulate, sweep
from commands.cli import main
from commands.folder import DataFolder
from supervision.clock import MarketClock
from tests.testkit.ibkr_world import settings_for
from tests.testkit.paths import ROOT

Said = pytest.CaptureFixture[str]
# Plays main.py as a script in which Ctrl-C comes as soon as a module is asked for, or when the interpreter ends.
PLAY = """
import atexit, os, runpy, signal, sys
when, *words = sys.argv[1:]
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == when:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
if when == "the end":
    atexit.register(os.kill, os.getpid(), signal.SIGINT)
sys.argv = ["main.py", *words]
sys.path.insert(0, ".")
runpy.run_path("main.py", run_name="__main__")
"""


def played(when: str, *words: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-c", PLAY, when, *words]
    return subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("when", ["commands.cli", "commands.arguments", "msgspec", "numpy", "config.settings"])
@pytest.mark.parametrize("command", [("run",), ("sim", "gateway"), ("import", "a.zip")], ids=" ".join)
def test_ctrl_c_while_a_command_loads_is_one_line(when: str, command: tuple[str, ...]) -> None:
    ended = played(when, *command)
    said = "Interrupted before it began: nothing was done.\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", said)


def test_ctrl_c_while_the_interpreter_ends_is_one_line(tmp_path: Path) -> None:
    ended = played("the end", "--data", str(tmp_path), "features", "location", "--json")
    assert (ended.returncode, ended.stderr) == (130, "Interrupted at its end: what it had to do is done.\n")
    assert ended.stdout.endswith("]\n")


def test_a_process_that_a_command_has_begun_leaves_ctrl_c_to_the_command() -> None:
    code = "import runpy, signal; runpy.run_path('main.py', run_name='__mp_main__'); print(signal.getsignal(2))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == f"{signal.SIG_IGN}\n"


def interrupt(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


def nothing_and_interrupt(*_: Any, **__: Any) -> Iterator[Any]:
    yield from ()
    raise KeyboardInterrupt


DAY = ("2026-11-20", "2026-11-20")


@pytest.mark.parametrize(
    ("words", "where", "name", "said"),
    [
        (("backtest", *DAY), backtest, "traded", backtest.AGAIN),
        (("backtest", *DAY, "--parity"), backtest, "parity_of", backtest.AGAIN),
        (("sweep", *DAY, "exits.premium_stop=0.3", "--out", "{}/out"), sweep, "sweep",
         "The days that were done are kept in {}/out/parts: the same command goes on with the rest."),
        (("fit-exits", *DAY), fit_exits, "_paths", "No table was written: the same command begins again."),
        (("simulate", "--days", "2"), simulate, "sweep",
         "Nothing is kept of it; with --resume FILE what is done is kept, and the same command goes on."),
        (("simulate", "--days", "2", "--resume", "{}/days"), simulate, "sweep",
         "The days that were done are kept in {}/days: the same command goes on with the rest."),
        (("simulate", "--facts", "--days", "2"), market_facts, "survey",
         "Nothing is kept of it; with --resume FILE what is done is kept, and the same command goes on."),
        (("simulate", "--record", "{}/month", "--days", "1"), market_days, "_recorded",
         "The days that were recorded whole are kept in {}/month: the same command goes on with the rest."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_a_long_command_says_what_is_kept_and_how_to_go_on(
    words: tuple[str, ...], where: Any, name: str, said: str, tmp_path: Path, capsys: Said,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for one in (backtest, sweep):
        monkeypatch.setattr(one, "sessions_between", lambda *_: (backtest.day_of(DAY[0]),))
    monkeypatch.setattr(where, name, nothing_and_interrupt if name in ("_recorded", "survey") else interrupt)
    assert main(["--data", str(tmp_path / "data"), *(word.format(tmp_path) for word in words)]) == 130
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[-1] == f"Interrupted. {said.format(tmp_path)}"


def test_who_looks_on_ends_it_and_has_interrupted_nothing() -> None:
    assert interrupted.line_of("logs", KeyboardInterrupt()) == "Ended."
    assert interrupted.line_of("chain", KeyboardInterrupt()) == "Interrupted."


def test_a_real_desk_that_is_stopped_flat_says_so(
    tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = DataFolder(tmp_path)
    running = SimpleNamespace(runtime=SimpleNamespace(ended=""), screen=None)
    monkeypatch.setattr(live, "start", lambda *_: running)
    monkeypatch.setattr(run, "_watch", lambda *_: False)
    monkeypatch.setattr(run, "_hard_stops", lambda *_: ())
    monkeypatch.setattr(run, "_open_now", lambda *_: [])
    assert run._run_real(settings_for(4002), folder, Any, MarketClock.real(), "main.py") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Stopped: nothing is held. The same command starts it again."
