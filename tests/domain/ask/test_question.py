"""What English sentences are taken to ask for."""

from __future__ import annotations

from datetime import date, time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.ask.question import EXAMPLES, Question, Topic, When, desk_named, examples, question_of
from domain.instruments import Right, Side
from domain.reports.period import Span

TICKERS = ("SPX", "QQQ", "SPY", "ES_SPX")
REF, ALERT = "ZH-paper-MPX7D2ATKOCD-e", "20261120-gexwatch-SPX-094600-GAMMA_FLIP-1"
PUT = Question(topic=Topic.WHY, strike_ticks=589_000, right=Right.PUT)


def asked(text: str) -> Question:
    found = question_of(text, TICKERS)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("status", Topic.STATUS),
        ("are we running?", Topic.STATUS),
        ("why are we not trading?", Topic.STATUS),
        ("Why is the kill level 1", Topic.STATUS),
        ("what is open", Topic.POSITIONS),
        ("show me open positions", Topic.POSITIONS),
        ("what are we holding", Topic.POSITIONS),
        ("P&L", Topic.PNL),
        ("are we up or down", Topic.PNL),
        ("why did we lose money today", Topic.PNL),
        ("how are we doing", Topic.PNL),
        ("what did we buy", Topic.TRADES),
        ("did we trade today", Topic.TRADES),
        ("what was refused?", Topic.REJECTS),
        ("which gate blocked it", Topic.REJECTS),
        ("how many alerts today", Topic.ALERTS),
        ("is any data missing", Topic.GAPS),
        ("why nothing today", Topic.WHY_NOT),
        ("why didn't we trade SPX", Topic.WHY_NOT),
        ("why wasn\N{RIGHT SINGLE QUOTATION MARK}t there a trade in SPY", Topic.WHY_NOT),
        ("why was QQQ refused", Topic.WHY_NOT),
        ("why", Topic.WHY),
    ],
)
def test_a_sentence_is_about(text: str, topic: Topic) -> None:
    assert asked(text).topic is topic


@pytest.mark.parametrize(
    "text",
    ["why did we buy the 5890 put?", "why the 5,890P", "Why did we BUY the put at 5890", "explain the $5890 put",
     "why 5890 puts?"],
)  # fmt: skip
def test_a_contract_is_found_as_people_write_it(text: str) -> None:
    assert replace(asked(text), side=None) == PUT


@pytest.mark.parametrize(
    ("text", "side"),
    [("why did we buy the 5890 put", Side.BUY), ("why was the 5890 put sold", Side.SELL), ("why the 5890 put", None)],
)
def test_what_a_sentence_says_that_we_did_is_told(text: str, side: Side | None) -> None:
    assert asked(text).side is side


def test_a_closing_is_asked_for_as_such() -> None:
    assert asked("why did we get stopped out of the 5890 put").is_exit
    assert not asked("why did we buy the 5890 put").is_exit


@pytest.mark.parametrize("ref", [REF, ALERT])
@pytest.mark.parametrize("frame", ["why {}", "{}", "explain {}?"])
def test_a_reference_is_found(ref: str, frame: str) -> None:
    found = asked(frame.format(ref))
    assert (found.topic, found.ref, found.ticker) == (Topic.WHY, ref, None)


@pytest.mark.parametrize(
    ("text", "clock"),
    [("why no trade in QQQ at 11:30?", time(11, 30)), ("at 2:15", time(14, 15)), ("at 10", time(10)),
     ("around 9:46:30 am", time(9, 46, 30)), ("at 2pm", time(14)), ("at 12 pm", time(12)), ("at 25:00", None),
     ("at 19.70", None), ("in the morning", None)],
)  # fmt: skip
def test_a_time_is_new_yorks_and_early_hours_are_afternoons(text: str, clock: time | None) -> None:
    assert asked(f"why no trade {text}").clock == clock


@pytest.mark.parametrize(
    ("text", "when"),
    [("today", When()), ("yesterday", When(Span.DAY, 1)), ("this week", When(Span.WEEK)),
     ("last week", When(Span.WEEK, 1)), ("this month", When(Span.MONTH)), ("last month", When(Span.MONTH, 1)),
     ("on 2026-11-20", When(on=date(2026, 11, 20))),
     ("in the week of 2026-11-20", When(Span.WEEK, 0, date(2026, 11, 20))),
     ("on 2026-13-40", None), ("", None)],
)  # fmt: skip
def test_sessions_are_counted_from_the_newest(text: str, when: When | None) -> None:
    assert asked(f"how much did we make {text}").when == when


@pytest.mark.parametrize(
    ("text", "when"),
    [("on Friday", When(weekday=4)), ("last monday", When(weekday=0)), ("the day before yesterday", When(Span.DAY, 2)),
     ("the day before", When(Span.DAY, 1))],
)  # fmt: skip
def test_days_are_named_as_people_do(text: str, when: When) -> None:
    found = asked(f"how much did we make {text}")
    assert (found.when, found.unclear) == (when, "")


@pytest.mark.parametrize(
    "text",
    ["how much did we make this year", "P&L ytd", "trades in the last 5 days", "what did we trade two days ago",
     "how much did we make in October", "what did we lose on Nov 20", "p&l since the open", "alerts on 11/20",
     "how much did we make on Mondays", "P&L of last week's Friday", "how much did we make on 2026-13-40",
     "how much did we make before 11:00", "p&l after 14:30", "how much did we make in AMZN", "trades in SPXX",
     "what was open yesterday", "what was the status last week", "how much did we make tomorrow"],
)  # fmt: skip
def test_what_would_be_another_question_is_said_to_be_unclear(text: str) -> None:
    assert asked(text).unclear


@pytest.mark.parametrize(
    "text",
    ["WHAT DID WE TRADE TODAY", "how much did we make so far this week", "trades of PUTS", "P&L in USD today",
     "why did we buy the 5890 put 2 hours ago", "what was refused at 10:01?", "alerts of GAMMA_FLIP",
     "what is open now", "may we trade today", "how are we doing"],
)  # fmt: skip
def test_what_leaves_nothing_out_is_not_unclear(text: str) -> None:
    assert not asked(text).unclear


def test_a_trading_class_names_its_ticker() -> None:
    found = asked("trades in SPXW")
    assert (found.ticker, found.unclear) == ("SPX", "")


def test_a_ticker_is_a_whole_word() -> None:
    assert asked("trades in qqq").ticker == "QQQ"
    assert asked("trades in es_spx").ticker == "ES_SPX"
    assert asked("trades in spxw").ticker is None


@pytest.mark.parametrize("text", ["hello", "what is the weather like", "", "42", "?!"])
def test_what_is_not_understood_is_said_to_be(text: str) -> None:
    assert question_of(text, TICKERS) is None


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_is_understood(text: str) -> None:
    assert question_of(text, TICKERS) is not None


@given(st.text(max_size=200))
def test_no_text_is_too_odd(text: str) -> None:
    question_of(text, TICKERS)


@given(
    st.lists(
        st.sampled_from(("why", "no", "5890", "put", "at", "11:30", "SPX", "today", "open", REF, "p&l", ",")),
        max_size=12,
    )
)
def test_no_order_of_words_is_too_odd(words: list[str]) -> None:
    question_of(" ".join(words), TICKERS)


def test_questions_to_begin_with_are_of_this_days_trades_and_refusals() -> None:
    bought = {"strike_ticks": 22_900, "right": "C", "side": "BUY", "closed_utc": 1}
    sold = {"strike_ticks": 59_750, "right": "P", "side": "SELL"}
    refused = {"ticker": "SPY", "decided_utc": 1_795_196_613_025_072_530}
    found = examples([bought, sold], [refused])
    assert set(found) - set(EXAMPLES) == {
        "why did we buy the 229 call?", "why did we close the 229 call?", "why no trade in SPY at 12:43?",
    }  # fmt: skip
    assert set(examples([sold], [])) - set(EXAMPLES) == {"why did we sell the 597.5 put?"}
    assert examples([], []) == EXAMPLES, "without a trade nobody is asked about one"
    assert all(question_of(question, ["SPY"]) is not None for question in found)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("what did we trade today at desk real?", "real"),
        ("P&L of the Paper desk this week", "paper"),
        ("is this a real loss?", None),
        ("what is open at my desk?", None),
    ],
)
def test_a_desk_is_meant_where_a_question_calls_it_one(text: str, name: str | None) -> None:
    assert desk_named(text, ("paper", "real")) == name
    assert desk_named(text, ("paper",)) is None, "of one alone nothing is to be told apart"
