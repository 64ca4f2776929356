"""A question of people as what it asks for: a fixed grammar of English as traders type it, without any model.

The words that decide are few: what is asked (`why`, `made`, `open`, ...), and what about (a contract, a ticker, a time,
a day). Whatever else a sentence holds is passed over; a sentence without such a word is not understood, and said to be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, time
from enum import StrEnum
from typing import Any, Final

import msgspec

from domain.instants import exchange_clock
from domain.instruments import Right, Side
from domain.reports.period import Span
from domain.units import Ticks


class Topic(StrEnum):
    """What is asked for."""

    STATUS = "status"
    POSITIONS = "positions"
    PNL = "pnl"
    TRADES = "trades"
    WHY = "why"
    WHY_NOT = "why_not"
    REJECTS = "rejects"
    ALERTS = "alerts"
    GAPS = "gaps"


class When(msgspec.Struct, frozen=True):
    """Which sessions: a span, counted back from the newest one (0: its own), or that of a date.

    `weekday`: the newest session of that day (Monday is 0) among the last seven days.
    """

    span: Span = Span.DAY
    back: int = 0
    on: date | None = None
    weekday: int | None = None

    @property
    def is_past(self) -> bool:
        """Return whether it is certainly another than the newest session alone."""
        return self.span is not Span.DAY or self.back > 0 or self.on is not None or self.weekday is not None


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked; `None` where the sentence does not say.

    `ref` is an order reference or an alert id, `clock` is New York's. `is_exit`: of a trade, why it was closed;
    `side` is what the sentence says that we did, where it says it.
    `unclear` says in a sentence what of the question is not known here: an answer without it would be to another one.
    """

    topic: Topic
    when: When | None = None
    ticker: str | None = None
    strike_ticks: Ticks | None = None
    right: Right | None = None
    clock: time | None = None
    ref: str | None = None
    is_exit: bool = False
    side: Side | None = None
    unclear: str = ""

    @property
    def is_about_one(self) -> bool:
        """Return whether it names a trade, a contract, a ticker or a time."""
        return any(value is not None for value in (self.ticker, self.strike_ticks, self.right, self.clock, self.ref))


EXAMPLES: Final = (
    "what is the status?",
    "what is open?",
    "how much did we make this week?",
    "what did we trade today?",
    "what was refused today?",
    "which alerts were there?",
    "what data is missing?",
)


def examples(trades: Iterable[Mapping[str, Any]], refusals: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return questions to begin with, each of which this day's records answer.

    Args:
        trades: closed or held positions as a ledger has them, the one to be asked about first.
        refusals: refused attempts likewise.
    """
    of_day: list[str] = []
    for trade in trades:
        if trade["strike_ticks"]:
            contract = f"the {trade['strike_ticks'] / 100:g} {'put' if trade['right'] == Right.PUT else 'call'}"
            is_sold = trade["side"] == Side.SELL
            of_day.append(f"why did we {'sell' if is_sold else 'buy'} {contract}?")
            if trade.get("closed_utc"):
                of_day.append(f"why did we close {contract}?")
            break
    for refusal in refusals:
        of_day.append(f"why no trade in {refusal['ticker']} at {exchange_clock(refusal['decided_utc'])[:5]}?")
        break
    return (*EXAMPLES[:2], *of_day, *EXAMPLES[2:])


def desk_named(text: str, names: Sequence[str]) -> str | None:
    """Return which of several desks a question names, as in `at desk real` or `on the paper desk`; `None`: none."""
    if len(names) == 1:
        return None
    either = {name: rf"\bdesk\s+{re.escape(name)}\b|\b{re.escape(name)}\s+desk\b" for name in names}
    return next((name for name, pattern in either.items() if re.search(pattern, text, re.IGNORECASE)), None)


_REF: Final = re.compile(r"\bZH-[A-Za-z0-9_]+-[A-Z2-7]{12}(?:-(?:e|x\d+))?\b|\b\d{8}-[^\s-]+-\S+?-\d{6}-[^\s-]+-\d+\b")
_RIGHTS: Final = r"(?P<right>puts?|calls?|[pc])"
_STRIKE: Final = r"\$?(?P<strike>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,6}(?:\.\d+)?)"
_CONTRACTS: Final = tuple(
    re.compile(pattern)
    for pattern in (rf"\b{_STRIKE}[\s-]?{_RIGHTS}\b", rf"\b{_RIGHTS}s?\s+(?:at\s+|strike\s+)?{_STRIKE}\b(?!\s*:)")
)
_RIGHT_ALONE: Final = re.compile(r"\b(?P<right>put|call)s?\b")
_CLOCK: Final = re.compile(
    r"\b(?P<hour>\d{1,2}):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?\s*(?P<half>[ap]m)?\b"
    r"|\b(?P<hour2>\d{1,2})\s*(?P<half2>[ap]m)\b|\bat\s+(?P<hour3>\d{1,2})\b(?![:.,\d]|\s*[ap]m\b)"
)
_DATE: Final = re.compile(r"\b(?P<date>\d{4}-\d{2}-\d{2})\b")
_WHENS: Final = tuple(
    (re.compile(pattern), when)
    for pattern, when in (
        (r"\bday before yesterday\b", When(Span.DAY, 2)),
        (r"\b(last|previous) week\b", When(Span.WEEK, 1)),
        (r"\b(last|previous) month\b", When(Span.MONTH, 1)),
        (r"\bweek(ly)?\b", When(Span.WEEK)),
        (r"\bmonth(ly)?\b", When(Span.MONTH)),
        (r"\byesterday\b|\b(previous|last but one) (day|session)\b|\bday before\b", When(Span.DAY, 1)),
        (r"\b(today|tonight|now|this morning|this afternoon|last (day|session)|so far)\b", When()),
    )
)
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WEEKDAY: Final = re.compile(rf"\b({'|'.join(_WEEKDAYS)})('s)?\b")
_MONTHS: Final = (
    "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    "|nov(?:ember)?|dec(?:ember)?"
)
# Periods that people name and that nothing here sums up.
_NO_PERIOD: Final = re.compile(
    r"\b(years?|yearly|annual(ly)?|quarters?|quarterly|ytd|mtd|all time|ever|since|ago|between|until|tomorrow"
    r"|(before|after) (\d|noon|lunch|the (open|close))|next (day|week|month|session)|weekends?|fortnight"
    r"|(last|past) (few|couple|hour|year)"
    r"|(\d+|two|three|four|five|six|seven|ten) (days?|weeks?|months?|sessions?|hours?|minutes?)"
    rf"|(in|of|for|during|last|this) ({_MONTHS})|({_MONTHS})\.? \d{{1,2}}(st|nd|rd|th)?"
    rf"|\d{{1,2}}/\d{{1,2}}(/\d{{2,4}})?|{'|'.join(f'{day}s' for day in _WEEKDAYS)})\b"
)
_NAMED: Final = re.compile(
    r"\b(?:in|on|of|for|with|from|trade|traded|buy|bought|sell|sold)\s+\$?([A-Z][A-Z0-9.]{1,5})\b"
)
_NO_TICKERS: Final = frozenset(
    ("PNL", "USD", "ET", "EST", "EDT", "NY", "AM", "PM", "OK", "TODAY", "PUT", "PUTS", "CALL", "CALLS")
)
_OF_NOW: Final = frozenset((Topic.STATUS, Topic.POSITIONS))
_WHY: Final = re.compile(
    r"\bwhy\b|\bhow come\b|\bwhat('s| is| was) the reason\b|\breasons? (for|of|behind)\b|\bexplain\b"
)
_NOT: Final = re.compile(
    r"\b(no|not|never|nothing|without|missed?|skip(ped)?|pass(ed)? on|refused?|rejected?|denied|blocked)\b|n't\b|n’t\b"
)
_MONEY: Final = re.compile(
    r"\bp\s?&\s?l\b|\bp/l\b|\bpnl\b|\bprofits?\b|\bloss(es)?\b|\blos[et]\b|\blosing\b|\bma[dk]e\b|\bmaking\b|\bearn(ed)?\b"
    r"|\bmoney\b|\bperformance\b|\bwin rate\b|\bresults?\b|\bhow (did|are|have) (we|i|you) (do|doing|done)\b"
    r"|\b(up|down) (today|this|for|on the)\b|\bare (we|i) (up|down)\b|\bdrawdown\b|\bfees\b"
)
_STOPPED: Final = re.compile(
    r"\bkill\b|\bhalted\b|\bstopped\b|\blocked\b|\b(not|n't|n’t) trad(ing|e)\b|\bno entries\b|\bare (we|you) down\b"
)
_TRADING: Final = re.compile(r"\bn(o|')t\s+trading\b|\bn’t trading\b|\bnot (being )?trad(ing|e)\b")
_CLOSED: Final = re.compile(r"\b(sold|sell|selling|close[ds]?|closing|exit(ed|s)?|got? out|get out|stopped out)\b")
_SOLD: Final = re.compile(r"\b(sold|sell|selling)\b")
_BOUGHT: Final = re.compile(r"\b(bought|buy|buying)\b")
# The first that a sentence holds decides.
_TOPICS: Final = tuple(
    (re.compile(pattern), topic)
    for pattern, topic in (
        (r"\bgaps?\b|\b(data|rows|frames|buckets?)\b.*\b(missing|lost)\b|\b(missing|lost)\b.*\b(data|rows|frames)\b",
         Topic.GAPS),
        (r"\brejects?\b|\breject(ed|ions?)\b|\brefus(ed?|als?)\b|\bdenied\b|\bdenials?\b|\bblocked\b|\bturned down\b",
         Topic.REJECTS),
        (r"\balerts?\b|\bsignals?\b", Topic.ALERTS),
        (r"\bkill\b|\bstatus\b", Topic.STATUS),
        (r"\b(what|anything|something|which|how many).*\bopen\b|\bpositions?\b|\bholdings?\b|\b(are|do) (we|i|you)"
         r" (hold|holding|have open|long|in)\b|\bheld\b|\bexposures?\b|\bopen (trades?|positions?)\b",
         Topic.POSITIONS),
        (_MONEY.pattern, Topic.PNL),
        (r"\btrad(e|es|ed)\b|\bbought\b|\bbuys?\b|\bsold\b|\bsell\b|\bfills?\b|\bfilled\b|\bentries\b|\bexits?\b",
         Topic.TRADES),
        (r"\brunning\b|\balive\b|\bconnected\b|\bhealthy?\b|\bmode\b|\btrading\b|\bphase\b|\bok(ay)?\b|\bgoing on\b"
         r"|\bhow('s| is| are) (it|things|the desk)\b|\bup\b",
         Topic.STATUS),
    )
)  # fmt: skip


def question_of(text: str, tickers: Iterable[str]) -> Question | None:
    """Return what a sentence asks for; `None` where that cannot be told.

    `tickers` are those that a word may name, in capitals or not. A time without am or pm before 7 is an afternoon's.
    """
    found = _REF.search(text)
    ref = None if found is None else found[0]
    said = " ".join((text if ref is None else text.replace(ref, " ")).lower().split())
    when, said = _when(said)
    strike, right, rest = _contract(said)
    known = tuple(tickers)
    named = None if text.isupper() else _NAMED.search(text)
    word = None if named is None or named[1] in _NO_TICKERS else named[1]
    of_class = next((ticker for ticker in known if word in (f"{ticker}W", f"{ticker}P")), None)  # as SPXW is of SPX
    asked = Question(
        topic=Topic.STATUS, when=when, ticker=_ticker(rest, known) or of_class, strike_ticks=strike, right=right,
        clock=_clock(rest), ref=ref, is_exit=_CLOSED.search(said) is not None, side=_side(said),
    )  # fmt: skip
    topic = _topic(said, asked)
    if topic is None:
        return None
    asked = msgspec.structs.replace(asked, topic=topic)
    return msgspec.structs.replace(asked, unclear=_unclear(said, asked, word, known))


def _unclear(said: str, asked: Question, named: str | None, tickers: Iterable[str]) -> str:
    """Return what of a question cannot be answered, as a sentence; empty where nothing is left out that decides.

    `named` is a word in capitals that stands where a ticker would.
    """
    if asked.ref is not None:
        return ""
    if named is not None and asked.ticker is None:
        return f"{named} is no ticker that is followed here; there are: {', '.join(tickers)}."
    if asked.topic is Topic.WHY:  # a contract and a time say enough
        return ""
    if asked.topic in _OF_NOW:
        if asked.when is None or not asked.when.is_past:
            return ""
        return "That can be told of now alone; `what did we trade yesterday?` lists trades of before."
    if found := _DATE.search(said):
        if asked.when is None:
            return f"{found['date']} is no date; write it as 2026-11-20."
        said = said.replace(found[0], " ")
    is_mixed = asked.when is not None and asked.when.weekday is not None and re.search(r"\bweek|\bmonth", said)
    period = _NO_PERIOD.search(said)
    if period is not None or is_mixed:
        what = period[0] if period is not None else "a weekday of another week"
        return (
            f"A period such as {what!r} is not known here; name a day (2026-11-20, yesterday, Friday), a week (this"
            " week, last week) or a month."
        )
    if asked.topic is Topic.PNL and asked.clock is not None:
        return "P&L is summed up by whole sessions; `what did we trade today?` lists each trade with its time."
    return ""


def _topic(said: str, asked: Question) -> Topic | None:
    is_why = _WHY.search(said) is not None
    topic = next((topic for pattern, topic in _TOPICS if pattern.search(said)), None)
    if not is_why:
        return Topic.WHY if topic is None and (asked.ref or asked.strike_ticks) else topic
    if not asked.is_about_one:
        if _STOPPED.search(said) or _TRADING.search(said):
            return Topic.STATUS
        if topic in (Topic.PNL, Topic.GAPS):
            return topic
    return Topic.WHY_NOT if _NOT.search(said) else Topic.WHY


def _when(said: str) -> tuple[When | None, str]:
    """Return which sessions a sentence is about, and the sentence without a date."""
    found = _DATE.search(said)
    if found is not None:
        try:
            on = date.fromisoformat(found["date"])
        except ValueError:
            return None, said
        span = next((when.span for pattern, when in _WHENS if pattern.search(said)), Span.DAY)
        return When(span, on=on), said.replace(found[0], " ")
    day = _WEEKDAY.search(said)
    if day is not None:
        return When(weekday=_WEEKDAYS.index(day[1])), said
    return next((when for pattern, when in _WHENS if pattern.search(said)), None), said


def _contract(said: str) -> tuple[Ticks | None, Right | None, str]:
    """Return strike and right, and the sentence without them."""
    for pattern in _CONTRACTS:
        found = pattern.search(said)
        if found is not None:
            strike = Ticks(round(float(found["strike"].replace(",", "")) * 100))
            return strike, _right(found["right"]), f"{said[: found.start()]} {said[found.end() :]}"
    found = _RIGHT_ALONE.search(said)
    return None, None if found is None else _right(found["right"]), said


def _side(said: str) -> Side | None:
    if _SOLD.search(said):
        return Side.SELL
    return Side.BUY if _BOUGHT.search(said) else None


def _right(word: str) -> Right:
    return Right.PUT if word.startswith("p") else Right.CALL


def _ticker(said: str, tickers: Iterable[str]) -> str | None:
    words = set(re.findall(r"[a-z][a-z0-9_]*", said))
    return next((ticker for ticker in tickers if ticker.lower() in words), None)


def _clock(said: str) -> time | None:
    found = _CLOCK.search(said)
    if found is None:
        return None
    hour, half = int(found["hour"] or found["hour2"] or found["hour3"]), found["half"] or found["half2"]
    if half is not None:
        hour = hour % 12 + (12 if half == "pm" else 0)
    elif hour < 7:
        hour += 12
    try:
        return time(hour, int(found["minute"] or 0), int(found["second"] or 0))
    except ValueError:
        return None
