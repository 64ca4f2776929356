"""The read-only tools of plain language: what a model or an MCP client may have looked up; none changes anything.

What is found is data: texts of it (an operator's reason, a broker's words) never choose a tool here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, time
from functools import cached_property
from typing import Annotated, Any, Final, Literal

import msgspec
import orjson
import pyarrow as pa

from commands.ask_answers import answer_of
from commands.ask_facts import Desk
from commands.cli import CommandError
from domain.ask.answer import Answer, cited
from domain.ask.question import Question, Topic, When
from domain.instruments import Right
from domain.reports.period import Span
from domain.units import Ticks
from storage.manifest import WarehouseRefusedError
from storage.sqlite_file import LedgerRefusedError
from storage.views.catalog import VIEWS
from storage.views.database import QueryError
from storage.views.guarded import GuardedDatabase
from web.masking import masked

_DATE = Annotated[date | None, msgspec.Meta(description="YYYY-MM-DD; leave it out for the newest session on record")]
_DESK = Annotated[str, msgspec.Meta(description="one of several desks; leave it out for the first")] | None
_TICKER = Annotated[str, msgspec.Meta(description="a ticker, as SPX", max_length=12)] | None
_TIME = (
    Annotated[
        str, msgspec.Meta(description="New York's clock, 24 hours, as 11:30", pattern=r"^\d{1,2}:\d{2}(:\d{2})?$")
    ]
    | None
)


class ToolRefusedError(Exception):
    """A call that is not answered; the text is one sentence."""


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No arguments."""


class OfDesk(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which desk, where there are several."""

    desk: _DESK = None


class OfPeriod(OfDesk, frozen=True, forbid_unknown_fields=True):
    """Which sessions: those of a day, week or month."""

    period: Literal["day", "week", "month"] = "day"
    date: _DATE = None


class OfTicker(OfPeriod, frozen=True, forbid_unknown_fields=True):
    """Which sessions, and of which ticker; without one, of all."""

    ticker: _TICKER = None


class OfTrade(OfDesk, frozen=True, forbid_unknown_fields=True):
    """Which trade: by its reference, or by what is known of it; of several that fit, the newest."""

    ref: Annotated[str | None, msgspec.Meta(description="an order reference (ZH-...) or an alert id")] = None
    ticker: _TICKER = None
    strike: Annotated[float, msgspec.Meta(description="USD", gt=0)] | None = None
    right: Literal["put", "call"] | None = None
    time: _TIME = None
    date: _DATE = None


class OfSignal(OfDesk, frozen=True, forbid_unknown_fields=True):
    """Which signal: an alert id, or a ticker and a time; without a time, the whole day."""

    ref: Annotated[str | None, msgspec.Meta(description="an alert id")] = None
    ticker: _TICKER = None
    time: _TIME = None
    date: _DATE = None


class OfQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One query."""

    query: Annotated[str, msgspec.Meta(description="one SELECT of DuckDB's SQL over the views", max_length=10_000)]


class OfView(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which view; all of them, without their columns, where none is named."""

    view: str | None = None


class Tool(msgspec.Struct, frozen=True):
    """One tool: its name, what it does, what it takes, and what answers."""

    name: str
    does: str
    takes: type[msgspec.Struct]
    run: Callable[[Toolbox, Any], Answer]

    @property
    def schema(self) -> dict[str, Any]:
        """Return what it takes as a JSON schema."""
        _, components = msgspec.json.schema_components([self.takes])
        return {"type": "object", **components[self.takes.__name__]}


class Toolbox:
    """The tools on one data folder; not for several threads at once."""

    def __init__(self, desk: Desk) -> None:
        """Ask about a desk, and about another one of its settings where a call names it."""
        self.desk = desk

    def call(self, name: str, arguments: Mapping[str, Any] | None) -> Answer:
        """Run a tool and return its answer, account numbers masked.

        Raises:
            ToolRefusedError: there is no such tool, its arguments do not fit, or it cannot answer; one sentence.
        """
        tool = TOOLS.get(name)
        if tool is None:
            raise ToolRefusedError(f"There is no tool {name!r}; there are: {', '.join(TOOLS)}.")
        try:
            answer = tool.run(self, msgspec.convert(dict(arguments or {}), tool.takes))
        except msgspec.ValidationError as error:
            raise ToolRefusedError(f"The arguments of {name} do not fit: {error}.") from None
        except (CommandError, QueryError, LedgerRefusedError, WarehouseRefusedError) as error:
            raise ToolRefusedError(masked(str(error).encode()).decode()) from None
        return msgspec.json.decode(masked(msgspec.json.encode(answer)), type=Answer)

    def ask(self, topic: Topic, name: str | None = None, **what: Any) -> Answer:
        """Return the answer on a topic, at the desk of that name.

        Raises:
            CommandError: there is no such desk.
        """
        return answer_of(Question(topic=topic, **what), self.desk if name is None else self.desk.of(name))

    def query(self, sql: str) -> Answer:
        """Return the rows of a query as JSON."""
        table, is_cut = self._database.answer(sql)
        text = orjson.dumps(
            {"columns": table.column_names, "rows": _rows(table), "is_cut": is_cut}, default=str
        ).decode()
        return Answer(text=text, citations=cited("sql", [" ".join(sql.split())]))

    @cached_property
    def _database(self) -> GuardedDatabase:
        rules = self.desk.settings.mcp
        return GuardedDatabase(self.desk.folder.root, rules.rows_max, rules.timeout_ms / 1000)


def _rows(table: pa.Table) -> list[list[Any]]:
    return [list(row) for row in zip(*(column.to_pylist() for column in table.columns), strict=True)]


def _of_ticker(topic: Topic) -> Callable[[Toolbox, OfTicker], Answer]:
    return lambda box, given: box.ask(topic, given.desk, when=_when(given), ticker=given.ticker)


def _when(given: OfPeriod) -> When:
    return When(Span(given.period), on=given.date)


def _why(box: Toolbox, given: OfTrade) -> Answer:
    return box.ask(
        Topic.WHY, given.desk, ref=given.ref, ticker=given.ticker, clock=_clock(given.time), when=_on(given.date),
        strike_ticks=None if given.strike is None else Ticks(round(given.strike * 100)),
        right=None if given.right is None else Right(given.right[0].upper()),
    )  # fmt: skip


def _why_not(box: Toolbox, given: OfSignal) -> Answer:
    return box.ask(
        Topic.WHY_NOT, given.desk, ref=given.ref, ticker=given.ticker, clock=_clock(given.time), when=_on(given.date)
    )  # fmt: skip


def _on(day: date | None) -> When | None:
    return None if day is None else When(on=day)


def _clock(text: str | None) -> time | None:
    """Return a time of the day.

    Raises:
        ToolRefusedError: there is no such time.
    """
    try:
        return None if text is None else time.fromisoformat(text.zfill(5) if text.count(":") == 1 else text.zfill(8))
    except ValueError:
        raise ToolRefusedError(f"{text!r} is no time; write it as 11:30, New York's clock.") from None


def _views(_: Toolbox, given: OfView) -> Answer:
    if given.view is None:
        lines = [f"{view.name}: {view.row}" for view in VIEWS.values()]
    elif given.view in VIEWS:
        lines = [
            f"{column.name}{f' [{column.unit}]' if column.unit else ''}: {column.meaning}"
            for column in VIEWS[given.view].columns
        ]
    else:
        raise ToolRefusedError(f"There is no view {given.view!r}; there are: {', '.join(sorted(VIEWS))}.")
    return Answer(text="\n".join(lines), citations=cited("views", [given.view or "all"]))


TOOLS: Final = {
    tool.name: tool
    for tool in (
        Tool("status", "whether the desk runs, its phase, mode and kill level, what stops it, what is open", Nothing,
             lambda box, _: box.ask(Topic.STATUS)),
        Tool("positions", "what is held now, at what price, and what guards it", Nothing,
             lambda box, _: box.ask(Topic.POSITIONS)),
        Tool("performance", "P&L net of fees of a day, week or month, with its trades", OfTicker,
             _of_ticker(Topic.PNL)),
        Tool("trades", "closed trades and why each was closed", OfTicker, _of_ticker(Topic.TRADES)),
        Tool("rejects", "refused entry attempts by code, with what was measured", OfTicker, _of_ticker(Topic.REJECTS)),
        Tool("alerts", "alerts that were raised", OfTicker, _of_ticker(Topic.ALERTS)),
        Tool("gaps", "market data that is missing, by cause", OfPeriod,
             lambda box, given: box.ask(Topic.GAPS, when=_when(given))),
        Tool("why", "why a trade was made and why it was closed", OfTrade, _why),
        Tool("why_not", "why a signal was refused, or why there was none", OfSignal, _why_not),
        Tool("views", "the views that sql reads, or the columns of one", OfView, _views),
        Tool("sql", "rows of one SELECT over the views (market data, signals, orders, trades)", OfQuery,
             lambda box, given: box.query(given.query)),
    )
}  # fmt: skip
