"""The answer to what a question asks for, by its topic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from commands.ask_facts import Desk, alerts, gaps, pnl, positions, rejects, status, trades
from commands.ask_why import why, why_not
from commands.cli import CommandError
from commands.traces import UNREADABLE
from domain.ask.answer import Answer
from domain.ask.question import Question, Topic, examples

_SESSIONS_NAMED: Final = 5
_BY_TOPIC: Final[dict[Topic, Callable[[Desk, Question], Answer]]] = {
    Topic.STATUS: lambda desk, _: status(desk),
    Topic.POSITIONS: lambda desk, _: positions(desk),
    Topic.PNL: pnl,
    Topic.TRADES: trades,
    Topic.WHY: why,
    Topic.WHY_NOT: why_not,
    Topic.REJECTS: rejects,
    Topic.ALERTS: alerts,
    Topic.GAPS: gaps,
}


def answer_of(asked: Question | None, desk: Desk) -> Answer:
    """Return the answer to what a question asks for; `None` is one that was not understood.

    Raises:
        CommandError: a record cannot be read.
        LedgerRefusedError: a ledger cannot be used.
        WarehouseRefusedError: the warehouse cannot be used.
    """
    if asked is None:
        known = "\n".join(f"  {example}" for example in _examples(desk))
        return Answer(text=f"I did not understand that. I can answer questions such as:\n{known}", is_known=False)
    if asked.unclear:
        return Answer(text=asked.unclear, is_known=False)
    needs_a_session = asked.topic not in (Topic.STATUS, Topic.POSITIONS) and asked.ref is None
    if needs_a_session and not desk.asked(asked.when)[1]:
        named = ", ".join(map(str, desk.sessions()[:_SESSIONS_NAMED]))
        text = f"No session like that is on record; {f'the newest are: {named}' if named else 'there is none yet'}."
        return Answer(text=text, is_known=False)
    try:
        return _BY_TOPIC[asked.topic](desk, asked)
    except UNREADABLE as error:
        raise CommandError(
            f"A record in {desk.folder.root} cannot be read ({type(error).__name__}: {error}); restore its ledgers,"
            " warehouse and traces from a copy.",
            3,
        ) from None


def _examples(desk: Desk) -> tuple[str, ...]:
    """Return questions that the newest session answers."""
    days = desk.sessions()[:1]
    trades = [row for day in days for row in reversed(desk.ledger.trades(day))]
    refused = [
        row for day in days for row in reversed(desk.ledger.attempts(day))
        if row["code"] is not None and not row["is_shadow"]
    ]  # fmt: skip
    return examples((*trades, *desk.ledger.held()), refused)
