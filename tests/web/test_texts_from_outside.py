"""Texts that come from outside, in a real browser: whatever stands in a field is shown, and nothing of it runs.

Two kinds, a script and an event handler, in every text field of what the supervisor pushes, in the columns of the
ledgers that somebody else may have filled (ticker, source, strategy, kind, codes, reasons, the broker's words), and in
what the control line answers.
"""

from __future__ import annotations

import enum
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser

from domain.alarm import Severity
from domain.session.modes import Mode
from messages import broker, market, operator, session
from messages.base import Message
from tests.testkit import web_desk as desk
from tests.testkit.browser import Watched, chromium
from tests.testkit.web_child import actor, shown

SCRIPT = "</td></script><script>window.owned=1</script>"
HANDLER = "\"'><img src=x onerror=window.owned=1><svg onload=window.owned=1>"
EVIL = SCRIPT + HANDLER
# Columns of the ledgers whose words are not ours, by file.
COLUMNS = {
    "ledger.db": {"alerts": ("source", "ticker", "kind"), "kill": ("reason", "by")},
    "paper.db": {
        "gate_log": ("ticker", "kind", "source", "strategy", "unit"),
        "reservations": ("ticker", "kind", "source", "strategy"),
        "positions": ("exit_reason", "strategy", "source"),
        "orders": ("exit_reason",),
    },
}
CODE = "UPDATE gate_log SET code = ? || code WHERE code IS NOT NULL"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def with_evil(value: Any) -> Any:
    """Return a fact with an evil text in each of its text fields, those of its parts too; words of ours stay."""
    if isinstance(value, msgspec.Struct):
        fields = {name: with_evil(getattr(value, name)) for name in value.__struct_fields__}
        return msgspec.structs.replace(value, **fields)
    if isinstance(value, tuple):
        return tuple(with_evil(one) for one in value)
    return EVIL if isinstance(value, str) and not isinstance(value, enum.Enum) else value


def spoil(folder: Path) -> None:
    """Write evil texts into the ledgers, past the triggers that keep our own program from changing rows."""
    for name, tables in COLUMNS.items():
        with sqlite3.connect(folder / "ledgers" / name) as db:
            for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                db.execute(f"DROP TRIGGER {trigger}")
            for table, columns in tables.items():
                for column in columns:
                    db.execute(f"UPDATE {table} SET {column} = ? WHERE {column} IS NOT NULL", (EVIL,))
            if name == "paper.db":
                db.execute(CODE, (EVIL,))
        db.close()


def facts() -> list[tuple[str, Message]]:
    """All that is pushed, each text of it spoilt."""
    more: list[tuple[str, Message]] = [
        ("account", broker.AccountUnreadable(session_epoch=7, why="x", read_utc=desk.NOW)),
        ("hub:x", market.HubDown(hub="x", feed_epoch=1, cause="x", can_reuse=False)),
        ("alarm:evil", operator.Alarm(key="x", severity=Severity.CRITICAL, text="x", at_utc=desk.NOW)),
        ("mode", session.ModeChanged(mode_n=5, session_epoch=7, cause="x", at_utc=desk.NOW, mode=Mode.DEGRADED)),
    ]
    spoilt = [(slot, with_evil(fact)) for slot, fact in (*desk.facts(), *more)]
    of_spx = msgspec.structs.replace(with_evil(desk.reading_of(desk.LAST)), ticker="SPX")  # else nobody looks at it
    return [*spoilt, ("reading:SPX", of_spx)]


def is_owned(watched: Watched) -> bool:
    return bool(watched.page.evaluate("'owned' in window"))


def test_a_text_that_is_planted_would_run_without_our_care(browser: Browser) -> None:
    page = browser.new_context().new_page()
    page.set_content(f"<table><tr><td>{HANDLER}</td></tr></table>")
    assert page.evaluate("new Promise(done => setTimeout(() => done('owned' in window), 0))")
    page.context.close()


@pytest.mark.slow
def test_no_text_field_of_the_feed_or_of_the_ledgers_runs_in_the_page(browser: Browser, tmp_path: Path) -> None:
    desk.write_desk(tmp_path, words=EVIL)
    spoil(tmp_path)
    with shown(tmp_path, account=EVIL) as made:
        made.kill = made.kill | {"level": 1, "reason": EVIL, "by": EVIL}
        planted = made.answer

        def answer(request: dict[str, Any]) -> dict[str, Any]:
            told = planted(request)
            if request["do"] == "status":
                told["actors"].append(actor(EVIL))
                told["process"] |= {"latched": EVIL, "trace_failed": EVIL}
            return told

        made.control.close()
        made.answer = answer  # type: ignore[method-assign]
        made.control = type(made.control)(made.folder.control, answer)
        watched = Watched(browser, made.url)
        for slot, fact in facts():
            made.feed.show(slot, desk.NOW, fact)
        watched.wait_for_text("#alarms", HANDLER)
        watched.wait_for_text("#refusals", HANDLER[:20])
        watched.wait_for_text("#alerts", HANDLER[:20])
        watched.wait_for_text("#trades", HANDLER[:20].lower())
        watched.wait_for_text("#actors", HANDLER)
        watched.wait_for_text("#troubles", HANDLER)
        watched.wait_for_text("#forces", HANDLER[:20])
        watched.page.click("#refusals td button")
        watched.wait_for_text("#why", HANDLER[:20])
        _ask(watched, EVIL)
        _ask(watched, "what was refused today?")
        watched.wait_for_text("#answer", HANDLER[:20])
        for element in ("img[src=x]", "svg", "td script", "li script", "p script"):
            assert watched.page.locator(element).count() == 0
        assert not is_owned(watched)
        assert [said for said in watched.complaints if "Failed to load" not in said] == []
        watched.context.close()


def _ask(watched: Watched, text: str) -> None:
    watched.page.fill("#question-text", text)
    watched.page.click("#question-send")
    watched.page.wait_for_selector("#question-send:enabled")
