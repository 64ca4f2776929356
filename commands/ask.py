"""`main.py ask "…"`: a question in plain language, answered from the records, each answer with what it stands on."""

from __future__ import annotations

from argparse import Namespace
from typing import Final

import msgspec
import orjson

from commands.ask_answers import answer_of
from commands.ask_facts import Desk
from commands.folder import DataFolder, settings_of
from commands.lines import paragraphs
from config.desks import desk_names
from config.settings import Settings
from domain.ask.answer import Answer
from domain.ask.question import desk_named, question_of
from web.masking import masked

_LENGTH_MAX: Final = 500  # characters of a question


def act(arguments: Namespace) -> int:
    """Answer a question; 1 where it was not understood, or nothing is known of what it is about."""
    settings = settings_of(arguments)
    folder = DataFolder(settings.data_dir)
    answer = answer_to(" ".join(arguments.question), settings, folder, may_ask_model=not arguments.no_model)
    if arguments.json:
        print(orjson.dumps(msgspec.to_builtins(answer), option=orjson.OPT_INDENT_2).decode())
    else:
        print(paragraphs(answer.text))
        if answer.citations:
            print(paragraphs("\n".join(("", "Rests on:", *(f"  {line}" for line in answer.sources)))))
    return 0 if answer.is_known else 1


def answer_to(
    text: str, settings: Settings, folder: DataFolder, *, may_ask_model: bool = True, desk: str | None = None
) -> Answer:  # fmt: skip
    """Return the answer to a question, account numbers masked: a model's where one is set up, else the fixed grammar's.

    Of several desks, the one that the text names is meant, else `desk` (`None`: that of `desk` of the settings).

    Raises:
        CommandError: a record cannot be read, or there is no such desk.
        LedgerRefusedError: a ledger cannot be used.
        WarehouseRefusedError: the warehouse cannot be used.
    """
    text = text[:_LENGTH_MAX]
    note, asked = "", Desk(settings, folder, desk_named(text, desk_names(settings)) or desk)
    if may_ask_model and settings.ask.shape != "none":
        from commands.ask_model import answer_by_model  # noqa: PLC0415 - what a model needs, which the grammar does not
        from commands.ask_tools import Toolbox  # noqa: PLC0415
        from gateways.model.talk import ModelError  # noqa: PLC0415

        try:
            return _masked(answer_by_model(text, Toolbox(asked), settings.ask))
        except ModelError as error:
            note = f"\n(The model was of no use: {error}. This is the fixed grammar's answer.)"
    answer = answer_of(question_of(text, settings.tickers), asked)
    return _masked(msgspec.structs.replace(answer, text=answer.text + note))


def _masked(answer: Answer) -> Answer:
    return msgspec.json.decode(masked(msgspec.json.encode(answer)), type=Answer)
