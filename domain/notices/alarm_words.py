"""Alarms in a trader's words: no name of the program's inside, and what to do about each.

What is recorded (`operator.Alarm`, `operator.Announce`) keeps its words; they are put like this where people read them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from domain.alarm import Severity

TOPIC: Final = "alarm"
_KEYED: Final = re.compile(r"\[(?P<key>[^\]]+)\] (?P<text>.*?)(?P<repeats> \(and \d+ repeats? before\))?", re.DOTALL)

# Key of the runbook, `<>` for what varies: what to do. Empty where the text of the alarm says it itself.
REMEDIES: Final = {
    "wrong_account": "Log the gateway in to the right account, or correct broker in the settings, and start again.",
    "gateway": "Check that the gateway runs, is logged in and accepts API connections.",
    "readiness": "Stop when flat, and trade on paper, if that was not meant.",
    "not_armed": "",
    "vendor_key": "",
    "ramp": "",
    "foreign": "Settle it at the broker's own screen, then resume.",
    "read_back": "",
    "out_of_reach:<>": "",
    "cancel:<>": "",
    "exit_storm:<>": "",
    "doubled:<>": "",
    "ledger_silent": "",
    "machine_busy": "End other programs, or give the machine more processors.",
    "promotions": "",
    "routes": "",
    "route:<>": "",
    "left_out:<>": "Mend what the text names and start again; look at the desk's account at the broker's own screen.",
    "desk_left:<>": "Name the desk in the settings and start again, or close it at the broker's own screen.",
    "direct:<>": "Nothing is to be done.",
    "spread_blind": "",
    "foreign_fee": "",
    "port_fault:<>": "Restart the gateway if this comes again.",
    "preopen": "See that the gateway is up and logged in before the open.",
    "preopen_data": "",
    "silent:<>": "If it stays silent, look at the gateway's market data.",
    "lines_budget": "",
    "lines_refused": "",
    "stuck:<>": "",
    "refused:<>": "",
    "no_stop:<>": "The position is watched as ever: keep this program running until it is closed.",
    "gone:<>": "",
    "unread:<>": "",
    "replaced:<>": "Nothing is to be done.",
    "held_again:<>": "Compare the broker's own screen.",
    "unpriced:<>": "",
    "assigned:<>": "",
    "short_left:<>": "",
    "terms:<>": "",
    "legs:<>": "Compare the broker's executions of the order, then resume.",
    "not_flat:<>:<>": "",
    "hard_stop": "",
    "not_flat": "Close it at the broker's own screen now.",
    "account": "Entries wait and exits go on: look at the account window of the gateway.",
    "kill_rule": "Find the cause, then resume.",
    "risk:<>": "Find the cause, then resume.",
    "hours:<>": "",
    "daily_loss": "Entries return with the next session.",
    "market_data": "Check the account's market data subscriptions.",
    "chain:<>": "Its entries are refused until then: if it lasts, check the account's permissions for it.",
    "lines": "Free market data lines (connection.lines_max) or log out what competes; without quotes it is closed.",
    "feed:negotiate": "Check the key and its tier with main.py doctor.",
    "feed:patch": "If it goes on, check that the key's tier has these groups.",
    "feed:memberships": "",
    "feed:<>": "Check the key's tier, or take the hub out of feed.hubs.",
    "hub:<>:silent": "What it would tell is left out of the readings; if it stays silent, look at the vendor's status.",
    "hub:<>:breaker": "",
    "hub:<>:cover": "Nothing is to be done.",
    "hub:<>:group": "",
    "hub:<>:notes": "Other tickers go on: download the named file again.",
    "hub:<>:rest": "",
    "hub:<>:refused": "",
    "hub:<>:clock": "",
    "hub:<>:stored": "Free or mend the disk.",
    "seal": "Nothing is lost and it is tried again: check disk space and memory.",
    "folders": "main.py gaps names the rows that are missing, if there are any.",
    "series": "Trading goes on: free or mend the disk.",
    "copy:<>": "Trading goes on: see that the target can be reached and has room.",
    "backup_overdue:<>": "Run main.py backup --to with this target, and read what it says.",
    "notify:<>": "Run main.py notify --test, and mend what it names.",
    "crash:<>": "Nothing is lost and nothing is to be done: keep the trace and report it, it is a bug.",
    "dead_letter:<>": "Compare main.py report with the broker's own screen before you resume.",
    "budget:<>": "Entries are off: if it comes back after a restart, close everything at the broker's own screen.",
    "read:<>": "It is asked again: look at the disk, and restart if this lasts.",
    "mailbox:<>": "Entries are off and nothing is lost: look at main.py status, resume when it has caught up.",
    "clock": "If it is wrong, set it back, then resume.",
    "trace": "Entries are off and exits go on: free or mend the disk, then restart.",
    "dashboard": "",
    "dashboard:open": "",
    "outage:<>": "",
    "set_aside:<>": "Compare main.py report with the broker's own screen, then resume.",
    "kill_unrecorded": "",
}  # fmt: skip
_FAMILIES: Final = [
    (re.compile(re.escape(family).replace("<>", ".+")), remedy)
    for family, remedy in sorted(REMEDIES.items(), key=lambda row: (row[0].count("<>"), -len(row[0])))
]

# First part of an actor's name: what it is to a trader, `{}` for the last part.
_PARTS: Final = {
    "supervisor": "the supervisor", "notifier": "what tells people", "operator": "what takes commands",
    "kill": "the kill switch", "warehouse": "the store of market data", "series": "the store of readings",
    "outcomes": "the record of outcomes", "feed": "the list of the feed's hubs", "session": "the session's clock",
    "web": "the dashboard's feed", "router": "what says which desk trades what",
    "risk": "the risk check", "ibkr": "the broker's session", "quotes": "the quotes",
    "ledger": "the ledger", "lane": "the alerts of {}", "reading": "the readings of {}", "hub": "hub {}",
    "position": "the position in contract {}", "structure": "the spread on contract {}",
}  # fmt: skip
_NAME: Final = rf"(?:{'|'.join(_PARTS)})(?:(?::[A-Za-z0-9_.]+)+)?"
_NAMED: Final = rf"(?P<name>{_NAME})"
_QUALIFIED: Final = re.compile(rf"(?<![\w:./-])(?:{'|'.join(_PARTS)})(?::[A-Za-z0-9_.]+)+")


def _crashed(found: re.Match[str]) -> str:
    return f"{part_text(found['name'])} failed and is started again from what is on record ({found['why']})"


def _given_up(found: re.Match[str]) -> str:
    return f"{part_text(found['name'])} failed on a message, which was given up ({found['why']})"


# What the program says of its inside, whole sentences first: how it is said to people.
_SAID: Final[tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]] = (
    (re.compile(rf"{_NAMED} crashed: (?P<why>[^\n]*?)\.?$"), _crashed),
    (re.compile(rf"{_NAMED} cannot handle \S+ \(\S+\): (?P<why>[^\n]*?)\.?$"), _given_up),
    (re.compile(rf"{_NAMED} crashed (?P<n>\d+) times in (?P<s>[\d.]+) s"),
     lambda found: f"{part_text(found['name'])} failed {found['n']} times in {found['s']} s and is not started again"),
    (re.compile(rf"{_NAMED} crashed$"), lambda found: f"{part_text(found['name'])} failed"),
    (re.compile(rf"{_NAMED} has more than (?P<n>\d+) messages waiting"),
     lambda found: f"{part_text(found['name'])} cannot keep up: more than {int(found['n']):,} messages wait for it"),
    (re.compile(rf"{_NAMED} has been busy with one message \(\S+\) for (?P<s>\S+) s"),
     lambda found: f"one message has kept {part_text(found['name'])} busy for {found['s']} s"),
    (re.compile(rf"{_NAMED} goes on: "), lambda found: f"{part_text(found['name'])} goes on: "),
    (re.compile(rf"{_NAMED} has not said what it knows of (?P<other>{_NAME})"),
     lambda found: f"{part_text(found['name'])} does not answer what is on record of {part_text(found['other'])}"),
    (re.compile(rf"{_NAMED} cannot keep a \S+ \((?P<why>.*)\), which is set aside; look at the broker"),
     lambda found: f"{part_text(found['name'])} could not record a message, which is set aside ({found['why']})"),
    (re.compile(rf"{_NAMED} is written again"), lambda found: f"{part_text(found['name'])} is written again"),
    (re.compile(r"The fault of \w+:(?P<what>.+) is over"), lambda found: f"It works again: {found['what']}"),
    (re.compile(r"REST stands in until it does"), "its data are fetched by request until it does"),
    (re.compile(r"REST has handed back"), "its data come from the stream again"),
    (re.compile(r"Bucket (?P<at>[\d:]+) of (?P<hub>\w+) is not durable yet\. Check the disk"),
     lambda found: f"The data of hub {found['hub']} at {found['at']} are not safe on the disk yet"),
    (re.compile(r"Bucket (?P<at>[\d:]+) of (?P<hub>\w+) is durable"),
     lambda found: f"The data of hub {found['hub']} at {found['at']} are safe on the disk"),
    (re.compile(r"Bucket (?P<at>[\d:]+) of (?P<hub>\w+) was not stored"),
     lambda found: f"The data of hub {found['hub']} at {found['at']} were not stored"),
)  # fmt: skip


def part_text(name: str) -> str:
    """Return what an actor is to a trader: `the risk check` for `risk:paper`; another name as it is."""
    first, _, rest = name.partition(":")
    return _PARTS.get(first, name).format(rest.rpartition(":")[2])


def plain_text(text: str) -> str:
    """Return what the program says of itself (an alarm, why the kill level rose) without names of its inside."""
    said = text
    for pattern, words in _SAID:
        said = pattern.sub(words, said)
    said = _QUALIFIED.sub(lambda found: part_text(found[0]), said)
    return said if said == text else said[0].upper() + said[1:]


def alarm_text(key: str, severity: Severity, text: str, repeats: str = "") -> str:
    """Return an alarm as people read it: what is wrong, and what to do; one whose fault is over says only that."""
    said = plain_text(text)
    if repeats:
        said = f"{said.rstrip('.')}{repeats}."
    remedy = next((remedy for family, remedy in _FAMILIES if family.fullmatch(key)), "")
    return f"{said.rstrip('.')}. {remedy}" if remedy and severity is not Severity.INFO else said


def announced_text(topic: str, severity: Severity, text: str) -> str:
    """Return an announced line as people read it: an alarm without its key and with its remedy; others as they are."""
    found = _keyed(topic, text)
    if found is None:
        return plain_text(text) if topic in (TOPIC, "kill") else text
    return alarm_text(found["key"], severity, found["text"], found["repeats"] or "")


def announced_key(topic: str, text: str) -> str:
    """Return the key of an announced alarm, under which the runbook has it; empty where a line has none."""
    found = _keyed(topic, text)
    return "" if found is None else found["key"]


def key_suffix(topic: str, text: str) -> str:
    """Return what ends an announced alarm where there is room: its key, in brackets; empty where a line has none."""
    key = announced_key(topic, text)
    return f" [{key}]" if key else ""


def _keyed(topic: str, text: str) -> re.Match[str] | None:
    return _KEYED.fullmatch(text) if topic == TOPIC else None
