"""Alarms in a trader's words: what is wrong and what to do, without names of the program's inside."""

from __future__ import annotations

import re

import pytest

from domain.alarm import Severity
from domain.notices.alarm_words import alarm_text, announced_key, announced_text, key_suffix, part_text, plain_text

INSIDE = re.compile(r"mailbox|dead.?letter|incarnation|crashed|\bactor\b|[a-z]+:paper|\[|messages?\.[A-Z]|REST")
FROM_INSIDE = [
    ("read:position:paper:7", "ledger:paper has not said what it knows of position:paper:7"),
    ("mailbox:risk:paper", "risk:paper has more than 1000 messages waiting"),
    ("crash:lane:gexwatch:SPX", "lane:gexwatch:SPX crashed: KeyError: 'SPX'"),
    ("dead_letter:ibkr:paper", "ibkr:paper cannot handle broker.ExecutionReported (1/port/3): ValueError: no: price"),
    ("budget:hub:classic", "hub:classic crashed 4 times in 60 s"),
    ("stuck:warehouse", "warehouse has been busy with one message (market.BucketSealed) for 12 s: relieve the disk."),
    ("set_aside:ledger:paper", "ledger:paper cannot keep a RecordFill (full), which is set aside; look at the broker."),
    ("outage:ledger", "ledger is written again and holds everything that waited; resume when you are content."),
    ("hub:classic:cover", "Hub classic has delivered nothing since 12:59:59: REST stands in until it does."),
    ("hub:classic:cover", "Hub classic delivers again: REST has handed back."),
    ("hub:classic:stored", "Bucket 12:59:30 of classic is not durable yet. Check the disk."),
    ("hub:classic:stored", "Bucket 12:59:30 of classic is durable."),
    ("stuck:warehouse", "warehouse goes on: the message that kept it busy is done with."),
    ("copy:mirror", "The fault of copy:mirror is over."),
]  # fmt: skip


@pytest.mark.parametrize(("key", "text"), FROM_INSIDE, ids=[f"{key} {n}" for n, (key, _) in enumerate(FROM_INSIDE)])
def test_nothing_of_the_inside_is_named(key: str, text: str) -> None:
    said = alarm_text(key, Severity.HIGH, text)
    assert INSIDE.search(said) is None
    assert said[0].isupper()
    assert said.endswith(".")
    assert ".." not in said


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        (
            "crash:risk:paper", "risk:paper crashed: ValueError: NAV 0.",
            "The risk check failed and is started again from what is on record (ValueError: NAV 0). Nothing is lost and"
            " nothing is to be done: keep the trace and report it, it is a bug.",
        ),
        (
            "mailbox:ibkr:paper", "ibkr:paper has more than 1000 messages waiting",
            "The broker's session cannot keep up: more than 1,000 messages wait for it. Entries are off and nothing is"
            " lost: look at main.py status, resume when it has caught up.",
        ),
        (
            "stuck:reading:SPX", "reading:SPX has been busy with one message (market.HubClosed) for 3 s: relieve it.",
            "One message has kept the readings of SPX busy for 3 s: relieve it.",
        ),
        (
            "hub:classic:stored", "Bucket 12:59:30 of classic is not durable yet. Check the disk.",
            "The data of hub classic at 12:59:30 are not safe on the disk yet. Free or mend the disk.",
        ),
        ("not_flat", "Not flat near the close: 2 SPXW 5890P.",
         "Not flat near the close: 2 SPXW 5890P. Close it at the broker's own screen now."),
        ("notify:phone:lost", "3 lines for phone were lost.",
         "3 lines for phone were lost. Run main.py notify --test, and mend what it names."),
        ("feed:classic", "The vendor gave no address for hub classic.",
         "The vendor gave no address for hub classic. Check the key's tier, or take the hub out of feed.hubs."),
        ("feed:negotiate", "The feed gave no addresses: 401. Retrying.",
         "The feed gave no addresses: 401. Retrying. Check the key and its tier with main.py doctor."),
        ("spread_blind", "No price for 60 s. Look at the market data.", "No price for 60 s. Look at the market data."),
        ("of_a_later_version", "Something.", "Something."),
    ],
    ids=str,
)  # fmt: skip
def test_an_alarm_says_what_is_wrong_and_what_to_do(key: str, text: str, said: str) -> None:
    assert alarm_text(key, Severity.HIGH, text) == said


def test_a_fault_that_is_over_asks_for_nothing() -> None:
    text = "Readings, quotes and chains are stored again."
    assert alarm_text("series", Severity.INFO, text) == text


def test_an_announced_alarm_has_its_key_behind_it_and_keeps_its_repeats() -> None:
    text = "[crash:web] web crashed: KeyError: 1 (and 2 repeats before)"
    assert announced_text("alarm", Severity.HIGH, text).startswith(
        "The dashboard's feed failed and is started again from what is on record (KeyError: 1) (and 2 repeats before). "
    )
    assert (announced_key("alarm", text), key_suffix("alarm", text)) == ("crash:web", " [crash:web]")


def test_lines_that_are_no_alarm_of_a_key_are_as_they_were() -> None:
    for topic, text in (
        ("alarm", "Short at the broker: -1 of contract 7"),
        ("entry", "[x] Filled"),
        ("exit", "risk:paper"),
    ):
        assert announced_text(topic, Severity.HIGH, text) == text
        assert key_suffix(topic, text) == ""


def test_why_the_kill_level_rose_is_said_without_names_of_actors() -> None:
    text = "Kill level 1 (no entries), raised by supervisor: hub:classic crashed 4 times in 60 s. Find the cause"
    assert announced_text("kill", Severity.HIGH, text) == (
        "Kill level 1 (no entries), raised by supervisor: hub classic failed 4 times in 60 s and is not started again."
        " Find the cause"
    )
    assert plain_text("my own words, lunch: risky") == "my own words, lunch: risky"
    assert part_text("dashboard (127.0.0.1)") == "dashboard (127.0.0.1)"
    assert part_text("risk:paper") == "the risk check"
