"""`completion`: a real bash completes commands, options and values by the script; every example is a right call."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from commands.cli import _MODULES, main, parser
from commands.completion import script_of
from commands.examples import EXAMPLES

BASH = shutil.which("bash")


def completed(tmp_path: Path, *words: str) -> list[str]:
    """Return what bash offers for the last word."""
    file = tmp_path / "script"
    file.write_text(script_of("bash", "zerohour"), encoding="utf-8")
    call = (
        f"source {file}; COMP_WORDS=(zerohour {shlex.join(words)}); COMP_CWORD={len(words)};"
        ' _zerohour; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    assert BASH is not None
    ended = subprocess.run([BASH, "-c", call], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert ended.stderr == ""
    return ended.stdout.split()


@pytest.mark.skipif(BASH is None, reason="no bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("why",), ["why", "why-not"]),
        (("report", "--la"), ["--last"]),
        (("--config", "mine.yaml", "run", "--prof"), ["--profile"]),
        (("run", "--profile", ""), ["demo", "real"]),
        (("run", "--profile", "re"), ["real"]),
        (("sim", "ga"), ["gateway"]),
        (("logs", "--level", "c"), ["critical"]),
        (("report", "--config", ""), ["script"]),
    ],
    ids=str,
)
def test_bash_offers_what_the_parser_knows(tmp_path: Path, words: tuple[str, ...], offered: list[str]) -> None:
    assert completed(tmp_path, *words) == offered


def test_every_command_is_in_the_script_of_each_shell() -> None:
    for shell in ("bash", "zsh"):
        script = script_of(shell, "zh")
        assert not [command for command in _MODULES if f" {command}" not in script]
        assert "complete -F _zh zh" in script


def test_a_name_that_a_shell_would_not_take_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash", "--name", "a; rm"]) == 2
    assert "is no name" in capsys.readouterr().err


@pytest.mark.parametrize("command", sorted(EXAMPLES))
def test_every_example_is_a_call_that_the_parser_takes(command: str) -> None:
    for call, does in EXAMPLES[command]:
        words = shlex.split(re.split(" [<>] ", call)[0])
        assert parser().parse_args(words).command == command
        assert does


def test_every_command_has_an_example() -> None:
    assert not set(_MODULES) - set(EXAMPLES)
