"""What is printed fits the window: 80 columns, or as many as there are."""

from __future__ import annotations

import io
import os
import shutil

import pyarrow as pa
import pytest

from commands.lines import paragraphs, wrapped
from commands.run import shown
from commands.tables import fitted, print_table
from domain.alarm import Severity
from messages.operator import Announce
from tests.testkit import ledger_asks as ask

LONG = "Entry of QQQ 519C ended without a fill, and this sentence is longer than a line of a terminal of 80 columns"


class Window(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def window(monkeypatch: pytest.MonkeyPatch, columns: int) -> Window:
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_: os.terminal_size((columns, 24)))
    return Window()


def announced(severity: Severity, text: str = LONG) -> Announce:
    return Announce(topic="alarm", severity=severity, text=text, at_utc=ask.T0)


@pytest.mark.parametrize("severity", list(Severity))
def test_a_line_of_the_console_says_how_urgent_it_is(severity: Severity) -> None:
    urgent = "" if severity is Severity.INFO else f"{severity.value.upper()}: "
    assert shown(announced(severity)) == f"10:00:00  alarm   {urgent}{LONG}"


def test_an_alarm_is_said_in_plain_words_with_what_to_do_and_its_key_last() -> None:
    text = "[crash:web] web crashed: KeyError: 1"
    assert shown(announced(Severity.HIGH, text)) == (
        "10:00:00  alarm   HIGH: The dashboard's feed failed and is started again from what is on record (KeyError: 1)."
        " Nothing is lost and nothing is to be done: keep the trace and report it, it is a bug. [crash:web]"
    )


def test_the_console_wraps_in_a_terminal_and_keeps_one_line_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\n" not in shown(announced(Severity.HIGH))
    monkeypatch.setattr("sys.stdout", window(monkeypatch, 80))
    lines = shown(announced(Severity.HIGH)).splitlines()
    assert len(lines) == 2
    assert max(map(len, lines)) <= 80
    assert " ".join(" ".join(lines).split()) == f"10:00:00 alarm HIGH: {LONG}"


def test_paragraphs_keep_their_indent_and_short_lines_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", window(monkeypatch, 60))
    lines = paragraphs(f"short\n  {LONG}").splitlines()
    assert lines[0] == "short"
    assert max(map(len, lines)) <= 60
    assert lines[1].startswith("  Entry")
    assert lines[2].startswith("    ")


def test_a_word_is_never_broken() -> None:
    ref = "ZH-paper-" + "A" * 90
    assert wrapped(f"see {ref} there") == ["see", ref, "there"]


TABLE = pa.table({"n": [1, 22], "why": ["disconnected by the service", "x"], "more": ["a" * 40, "b"]})


def printed(out: io.StringIO) -> list[str]:
    print_table(TABLE, 10, out)
    return out.getvalue().splitlines()


def test_a_table_is_as_wide_as_it_likes_in_a_file() -> None:
    assert max(map(len, printed(io.StringIO()))) > 70


def test_texts_of_a_table_are_cut_in_a_narrow_window_numbers_never(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = printed(window(monkeypatch, 50))
    assert max(map(len, lines)) <= 50
    assert [line.split()[0] for line in lines[2:4]] == ["1", "22"]
    assert "…" in lines[2]


def test_a_table_that_does_not_fit_stands_downwards(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = printed(window(monkeypatch, 20))
    assert lines[:3] == ["n     1", "why   disconnected …", "more  aaaaaaaaaaaaa…"]
    assert lines[-1] == "(2 rows)"


def test_columns_that_may_not_be_cut_keep_their_width() -> None:
    assert fitted([10, 30], [False, True], 30) == [10, 18]
    assert fitted([10, 30], [True, False], 30) is None
    assert fitted([10, 30], [True, True], None) == [10, 30]
