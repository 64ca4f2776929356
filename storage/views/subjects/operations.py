"""Views of the system itself: the trace, kill levels, modes of the order session, commands of people."""

from __future__ import annotations

from storage.views.columns import SESSION, Column, View, clocks, instant

TRACE = View(
    "trace",
    "operations",
    "one message that an actor or a port took from its mailbox",
    (
        SESSION,
        Column("run_n", "", "the supervisor's start"),
        Column("seq", "", "number in the run"),
        *instant("at", "when it was taken"),
        Column("recipient", "", "who took it"),
        Column("sender", "", "who sent it"),
        Column("type", "", "its type (`orders.SubmitOrder`)"),
        Column("cause_seq", "", "the message whose handling sent it"),
        Column("wait_ms", "ms", "how long it waited in the mailbox"),
        Column("incarnation", "", "which start of the actor took it"),
        Column("message", "JSON", "what it says (instants ns UTC, prices 1/100 USD, money cents)"),
    ),
    "SELECT regexp_extract(filename, '(\\d{4}-\\d{2}-\\d{2})[/\\\\][^/\\\\]*$', 1)::DATE AS session,"
    " regexp_extract(filename, 'run-(\\d+)', 1)::BIGINT AS run_n, seq, "
    f'{clocks("at_utc", "at")}, "to" AS recipient, "from" AS sender, message->>\'type\' AS type, cause_seq,'
    " (at_utc - sent_utc) / 1e6 AS wait_ms, incarnation, message FROM base_trace WHERE kind = 'envelope'",
    ("base_trace",),
)
KILLS = View(
    "kills",
    "operations",
    "one change of the kill level",
    (
        Column("kill_epoch", "", "number of the change"),
        Column("level", "", "0 trade, 1 no entries, 2 flatten"),
        Column("reason", "", "why"),
        Column("by", "", "who"),
        *instant("at", "when"),
    ),
    f'SELECT kill_epoch, level, reason, "by", {clocks("at_utc", "at")} FROM base_kill',
    ("base_kill",),
)
MODES = View(
    "modes",
    "operations",
    "one change of the order session's mode",
    (
        SESSION,
        *instant("at", "since when"),
        Column("mode", "", "`DATA_ONLY`, `DEGRADED` (the broker was lost), `WARMUP` or `FULLY_LIVE`"),
        Column("cause", "", "what brought it there"),
        Column("session_epoch", "", "number of the broker's session"),
        Column("run_n", "", "number of the supervisor's start"),
    ),
    f"SELECT session, {clocks('at_utc', 'at')}, mode, cause, session_epoch, run_n FROM base_modes",
    ("base_modes",),
)
COMMANDS = View(
    "commands",
    "operations",
    "one command of a person",
    (
        Column("command_id", "", "its number"),
        Column("name", "", "what was asked"),
        Column("by", "", "who"),
        Column("reason", "", "why"),
        Column("outcome", "", "what became of it"),
        *instant("at", "when"),
    ),
    f'SELECT command_id, name, "by", reason, outcome, {clocks("at_utc", "at")} FROM base_commands',
    ("base_commands",),
)
