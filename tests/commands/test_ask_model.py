"""A language model behind a local endpoint: it chooses among read-only tools; what it says stands on records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from commands.ask import answer_to
from commands.folder import DataFolder
from config.settings import load_settings
from domain.ask.answer import Answer
from gateways.model.client import ModelClient
from gateways.model.talk import ModelError
from storage.queries import LedgerReader
from tests.testkit import ledger_asks as ask
from tests.testkit.asked_desk import ACCOUNT, MASKED, asked_desk
from tests.testkit.model_stub import ModelStub, model_stub

SHAPES = pytest.mark.parametrize("shape", ["openai", "anthropic"])
QUESTION = "why did we buy the 6005 call?"
LOOKS: list[tuple[str, dict[str, Any]]] = [("why", {"strike": 6005, "right": "call"})]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataFolder:
    monkeypatch.setenv("ZEROHOUR_MODEL_KEY", "secret-of-the-test")
    return asked_desk(tmp_path)


def answer(folder: DataFolder, stub: ModelStub, text: str = QUESTION, **changes: Any) -> Answer:
    rules = {"shape": stub.shape, "url": stub.url, "model": "stub-1"} | changes
    settings = load_settings(profile="demo", overrides={"data_dir": str(folder.root), "ask": rules})
    return answer_to(text, settings, folder)


@SHAPES
def test_a_model_looks_up_and_answers_with_the_records_of_its_tools(folder: DataFolder, shape: str) -> None:
    with model_stub(shape, LOOKS, "Because gamma flipped.") as stub:
        found = answer(folder, stub)
    assert (found.text, found.by) == ("Because gamma flipped.", "stub-1")
    assert any(citation.row == ask.stem(1) for citation in found.citations)
    assert "Bought 2 SPXW 6005C" in str(stub.heard[1]["messages"])  # what the tool found came to it
    assert stub.heard[0]["model"] == "stub-1"


@SHAPES
def test_the_key_travels_in_the_header_of_the_shape_and_nowhere_else(folder: DataFolder, shape: str) -> None:
    with model_stub(shape, LOOKS, "Yes.") as stub:
        answer(folder, stub)
    name, value = {"openai": ("authorization", "Bearer "), "anthropic": ("x-api-key", "")}[shape]
    assert stub.headers[0][name] == f"{value}secret-of-the-test"
    assert "secret-of-the-test" not in str(stub.heard)


@SHAPES
def test_what_goes_to_a_model_is_masked_and_so_is_what_it_says(folder: DataFolder, shape: str) -> None:
    with model_stub(shape, [("status", {}), ("sql", {"query": "SELECT reason FROM kills"})], f"On {ACCOUNT}.") as stub:
        found = answer(folder, stub, "status")
    assert MASKED in str(stub.heard)
    assert ACCOUNT not in str(stub.heard)
    assert found.text == f"On {MASKED}."


def test_a_text_in_the_records_that_orders_something_moves_nothing(folder: DataFolder) -> None:
    """The model obeys it as far as it can: there is no tool for it, and the ledgers are as they were."""
    before = LedgerReader(folder.ledgers, "paper").kills()
    obeys = [
        ("status", {}), ("resume", {"level": 0}), ("raise_kill_level", {"level": 2, "reason": "it told me to"}),
        ("sql", {"query": "DELETE FROM kills"}),
    ]  # fmt: skip
    with model_stub("openai", obeys, "I could not.") as stub:
        found = answer(folder, stub, "resume trading")
    assert LedgerReader(folder.ledgers, "paper").kills() == before
    results = [message["content"] for message in stub.heard[1]["messages"] if message["role"] == "tool"]
    assert ["There is no tool" in result for result in results] == [False, True, True, False]
    assert "Only a SELECT" in results[3]
    assert {tool["function"]["name"] for tool in stub.heard[0]["tools"]}.isdisjoint({"resume", "raise_kill_level"})
    assert found.text == "I could not."


@SHAPES
def test_an_answer_that_looked_nothing_up_is_not_shown(folder: DataFolder, shape: str) -> None:
    with model_stub(shape, "I am sure that it was a fine trade.") as stub:
        found = answer(folder, stub)
    assert "fine trade" not in found.text
    assert "Bought 2 SPXW 6005C" in found.text  # the grammar's
    assert "without looking anything up" in found.text


@pytest.mark.parametrize(
    ("reply", "words"),
    [(500, "the status 500"), (307, "the status 307"), (b"<html>", "no chat completion"),
     (b'{"choices":[]}', "no chat completion"), (b'"' + b"x" * 1_000_001 + b'"', "longer than 1 MB")],
)  # fmt: skip
def test_an_endpoint_that_fails_leaves_the_grammars_answer(folder: DataFolder, reply: int | bytes, words: str) -> None:
    with model_stub("openai", reply) as stub:
        found = answer(folder, stub)
    assert len(stub.heard) == 1  # no second try, no redirect
    assert words in found.text
    assert "Bought 2 SPXW 6005C" in found.text


def test_a_model_that_looks_up_for_ever_is_ended_after_the_rounds(folder: DataFolder) -> None:
    with model_stub("openai", LOOKS) as stub:
        found = answer(folder, stub, rounds_max=3)
    assert len(stub.heard) == 3
    assert "no answer after 3 rounds" in found.text


def test_a_model_that_does_not_answer_in_time_leaves_the_grammars_answer(folder: DataFolder) -> None:
    with model_stub("openai", "late") as stub:
        stub.is_hanging = True
        found = answer(folder, stub, timeout_ms=200)
    assert "did not answer in time" in found.text
    assert "Bought 2 SPXW 6005C" in found.text


def test_nothing_listens_there(folder: DataFolder) -> None:
    with model_stub("openai", "gone") as stub:
        pass
    assert "could not be reached" in answer(folder, stub).text


def test_what_a_terminal_would_act_on_is_taken_out(folder: DataFolder) -> None:
    with model_stub("openai", LOOKS, "red \x1b[31malert\x07\nnext") as stub:
        assert answer(folder, stub).text == "red [31malert\nnext"


def test_no_model_is_asked_unless_one_is_set_up(folder: DataFolder) -> None:
    with model_stub("openai", LOOKS, "From the model.") as stub:
        assert answer(folder, stub, shape="none").by == "grammar"
    assert stub.heard == []


def test_a_key_never_travels_in_the_clear() -> None:
    with pytest.raises(ModelError, match="in the clear"):
        ModelClient("openai", "http://models.example.com/v1", "m", "key")
    ModelClient("openai", "http://127.0.0.1:1/v1", "m", "key")
    ModelClient("openai", "https://models.example.com/v1", "m", "key")
