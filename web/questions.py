"""A question of the page in plain language: answered from the records, one at a time, by what the process was given.

How an answer is found is not this room's: `commands.serve` hands in the function, as it does with the control line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from domain.ask.answer import Answer
from web import models
from web.answers import UNREADABLE

Ask = Callable[[str, str], Answer]  # of a text and a desk (empty: that of `desk`)


class Question(BaseModel):
    """What is asked, in plain English; `desk` is the one of several that is meant where the text names none."""

    model_config = ConfigDict(extra="forbid")

    question: Annotated[str, Field(min_length=1, max_length=500)]
    desk: Annotated[str, Field(max_length=40)] = ""


def add_questions(app: FastAPI, ask: Ask, desks: Sequence[str]) -> None:
    """Add the route, about these desks; it reads, and changes nothing."""
    turn = asyncio.Lock()

    @app.post("/api/ask", responses=UNREADABLE)
    async def asked(asked: Question) -> models.Reply:
        """Answer a question about the desk from its records, with the rows that the answer stands on."""
        if asked.desk and asked.desk not in desks:
            raise HTTPException(404, f"There is no desk {asked.desk!r}; name one of {', '.join(desks)}.")
        if turn.locked():
            raise HTTPException(503, "Another question is being answered; ask again in a moment.")
        async with turn:
            answer = await asyncio.to_thread(ask, asked.question, asked.desk)
        return models.Reply(text=answer.text, rests_on=answer.sources, is_known=answer.is_known, by=answer.by)
