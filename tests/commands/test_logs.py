"""The plain log: a line each with its level, masked, rotated, and followed across a rotation."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands import logbook, logs
from commands.cli import main
from commands.folder import DataFolder
from commands.logbook import Entry, LogBook, tail
from commands.run import say, shown
from domain.alarm import Severity
from messages.operator import Announce
from tests.testkit import ledger_asks as ask


def line(text: str, severity: Severity = Severity.INFO, topic: str = "entry") -> Announce:
    return Announce(topic=topic, severity=severity, text=text, at_utc=ask.T0)


def book(root: Path, *lines: Announce) -> Path:
    path = DataFolder(root).log
    made = LogBook(path)
    for each in lines:
        made.write(each)
    made.close()
    return path


def test_what_was_announced_is_read_back_with_the_account_masked(tmp_path: Path) -> None:
    path = book(tmp_path, line("Filled\nfor DU1234567", Severity.HIGH))
    assert tail(path, 5) == [Entry("2026-11-20", "10:00:00", Severity.HIGH, "entry", "Filled for DU***67")]
    assert "1234567" not in path.read_text(encoding="utf-8")


def test_a_console_names_no_account_and_takes_no_words_for_orders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "Refused:\x1b[2J\n10:00:00  exit    sold for DUM1234567"
    say(shown(line(words)))
    assert capsys.readouterr().out == "10:00:00  entry   Refused: [2J 10:00:00 exit sold for DUM***67\n"
    (kept,) = tail(book(tmp_path, line(words)), 5)
    assert kept.text == "Refused: [2J 10:00:00 exit sold for DUM***67"


def test_logs_shows_the_newest_of_a_level_and_a_topic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book(
        tmp_path, line("one"), line("two", Severity.WARNING, "mode"), line("three", Severity.CRITICAL, "alarm"),
        line("four", Severity.HIGH, "alarm"),
    )  # fmt: skip
    call = ["--data", str(tmp_path), "logs"]
    for options, wanted in (
        (("-n", "1"), ["four"]), (("--level", "warning"), ["two", "three", "four"]),
        (("--level", "high", "--topic", "alarm", "-n", "1"), ["four"]), (("--topic", "entry"), ["one"]),
    ):  # fmt: skip
        assert main([*call, *options]) == 0
        assert [said.split()[-1] for said in capsys.readouterr().out.splitlines()] == wanted


def test_logs_says_alarms_in_plain_words_and_the_file_keeps_what_was_announced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "[copy:mirror] The fault of copy:mirror is over."
    path = book(tmp_path, line(text, topic="alarm"))
    assert main(["--data", str(tmp_path), "logs"]) == 0
    assert capsys.readouterr().out.endswith("alarm   It works again: mirror. [copy:mirror]\n")
    assert text in path.read_text(encoding="utf-8")


def test_a_folder_without_a_log_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path), "logs"]) == 1
    assert "no supervisor ran" in capsys.readouterr().err


def test_what_comes_is_followed_across_a_rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(logbook, "BYTES_MAX", 120)
    path = DataFolder(tmp_path).log
    made = LogBook(path)
    made.write(line("before"))
    following = logs.followed(path, path.stat().st_size)
    seen = []
    for n in range(6):
        made.write(line(f"line {n}, long enough that the file is full soon"))
        seen.append(next(following).text[:6])
    assert seen == [f"line {n}" for n in range(6)]
    assert len(list(path.parent.iterdir())) > 2
    made.close()


def test_a_folder_that_cannot_be_written_costs_lines_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file in its place", encoding="utf-8")
    path = book(tmp_path, line("lost"))
    assert tail(path, 5) == []


def test_lines_of_others_are_left_out(tmp_path: Path) -> None:
    path = book(tmp_path, line("ours"))
    with path.open("a", encoding="utf-8") as file:
        file.write("something else\n2026\t10\tloud\tx\ty\n")
    assert [entry.text for entry in tail(path, 5)] == ["ours"]
