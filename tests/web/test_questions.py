"""The question box: answered from the records, at a rate of its own, by keyboard, and what it shows runs nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import Browser

from commands.folder import DataFolder
from commands.serve import ask_of
from domain.ask.answer import Answer, cited
from tests.testkit import web_desk as desk
from tests.testkit.browser import PHONE, Watched, chromium
from tests.testkit.supervisor_child import eventually
from tests.testkit.web_child import Desk, shown
from web.questions import add_questions

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    desk.write_desk(folder, words="the broker said: margin of DU1234567 is short")
    with shown(folder) as made:
        yield made


def test_a_question_is_answered_from_the_records_with_the_rows_behind(served: Desk) -> None:
    found = served.post("/api/ask", {"question": "what was refused today?"}).json()
    assert found["is_known"]
    assert found["by"] == "grammar"
    assert "stale_quote, 4 s against 3 s" in found["text"]
    assert "DU***67" in found["text"]
    assert any(line.startswith("ledgers/paper.db gate_log: n ") for line in found["rests_on"])


def test_a_question_that_is_none_is_refused_and_one_that_is_not_understood_is_answered(served: Desk) -> None:
    assert served.post("/api/ask", {"question": ""}).status_code == 422
    assert served.post("/api/ask", {"question": "x" * 501}).status_code == 422
    found = served.post("/api/ask", {"question": "colourless green ideas"}).json()
    assert not found["is_known"]
    assert "why did we buy" in found["text"]


def test_a_page_of_another_site_asks_nothing(served: Desk) -> None:
    asked = {"question": "what is open?"}
    assert served.post("/api/ask", asked, origin="https://evil.example").status_code == 403
    assert served.post("/api/ask", asked, **{"sec-fetch-site": "cross-site"}).status_code == 403
    assert served.post("/api/ask", asked, **{"content-type": "text/plain"}).status_code == 415


def test_one_question_is_answered_at_a_time() -> None:
    begun, enough = threading.Event(), threading.Event()

    def ask(text: str, _: str) -> Answer:
        begun.set()
        assert enough.wait(60)
        return Answer(text=text, citations=cited("a table", [1]))

    app = FastAPI()
    add_questions(app, ask, ("paper",))
    with TestClient(app) as page:
        first: list[int] = []
        asking = threading.Thread(
            target=lambda: first.append(page.post("/api/ask", json={"question": "a"}).status_code)
        )
        asking.start()
        assert begun.wait(60)
        second = page.post("/api/ask", json={"question": "b"})
        enough.set()
        asking.join()
        assert (first, second.status_code) == ([200], 503)
        assert page.post("/api/ask", json={"question": "c"}).json()["rests_on"] == ["a table: 1"]


def test_records_that_cannot_be_read_are_an_answer_that_says_so(tmp_path: Path) -> None:
    DataFolder(tmp_path).make()
    desk.write_ledgers(tmp_path / "ledgers")
    (tmp_path / "ledgers" / "paper.db").write_bytes(b"no ledger at all" * 400)
    answer = ask_of(desk.settings(tmp_path), tmp_path)("what is open?", "")
    assert not answer.is_known
    assert "paper.db" in answer.text


def test_the_box_is_used_by_keyboard_and_shows_the_rows_and_the_chain(browser: Browser, served: Desk) -> None:
    watched = Watched(browser, served.url, size=PHONE)
    page = watched.page
    page.wait_for_selector("#question-examples button")
    page.focus(".skip[href='#question-text']")
    page.keyboard.press("Enter")
    eventually(lambda: page.evaluate("document.activeElement.id") == "question-text")
    page.keyboard.type("why did we buy the 6015 call?")
    page.keyboard.press("Enter")
    page.wait_for_selector("#answer-text button[data-why]")
    page.focus("#answer-rests summary")
    page.keyboard.press("Enter")
    watched.wait_for_text("#answer-rests li", "ledgers/")
    page.focus("#answer-text button[data-why]")
    page.keyboard.press("Enter")
    watched.wait_for_text("#why", "Alert")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert watched.complaints == []
    watched.context.close()


def test_questions_beyond_the_rate_are_refused_and_reads_go_on(served: Desk) -> None:
    with ThreadPoolExecutor(20) as many:  # at once: a slow machine earns a question back every two seconds
        codes = list(many.map(lambda _: served.post("/api/ask", {"question": "?"}).status_code, range(40)))
    assert 429 in codes
    assert served.get("/api/status").status_code == 200
