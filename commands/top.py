"""`main.py top`: one calm screen of a running desk: clock, phase, mode, kill level, money, positions, the last lines.

It asks once a second; where the window is small (80×24), risk and positions stand and the last lines give way.
"""

from __future__ import annotations

import shutil
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from commands.cli import CommandError
from commands.control import request
from commands.desk_facts import DeskFacts, Exit, Held, HeldStructure
from commands.folder import DataFolder, settings_of
from commands.lines import in_lines, wrapped
from commands.logbook import Entry, tail
from domain.alarm import Severity
from domain.instants import exchange_clock, session_of
from domain.notices.alarm_words import TOPIC as ALARM
from domain.notices.alarm_words import announced_text, plain_text
from domain.risk.reject import RejectCode
from domain.wording import duration_text, reason_text, usd_text

_EVERY_S: Final = 1.0
_LINES_KEPT: Final = 400  # many of them of shadows, which are left out
_WRONG: Final = {
    "latched": "ENTRIES LATCHED OFF until it is started again", "ended": "THE SUPERVISOR IS ENDING",
    "trace_failed": "THE TRACE CANNOT BE WRITTEN",
}  # fmt: skip
_LEVELS: Final = {0: "running", 1: "no entries", 2: "FLATTEN"}
_PHASES: Final = {
    "closed_day": "market closed", "pre": "before the open", "open": "open, no entries yet",
    "entry": "entries allowed", "late": "no more entries", "panic": "exits go to market",
    "flatten": "closing everything", "closed": "market closed",
}  # fmt: skip
# What a terminal is told (ECMA-48): a screen of its own without a cursor, the way back, and how to write over what was.
_ALTERNATE, _BACK = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def act(arguments: Namespace) -> int:
    """Show the screen until interrupted; once, where nobody can watch."""
    folder = DataFolder(settings_of(arguments).data_dir)
    if arguments.json:
        print(msgspec.json.format(msgspec.json.encode(_asked(folder, arguments.desk)), indent=2).decode())
        return 0
    if not sys.stdout.isatty():
        size, asked = shutil.get_terminal_size((80, 24)), _asked(folder, arguments.desk)
        print("\n".join(screen(asked, tail(folder.log, _LINES_KEPT), size.columns, size.lines)))
        return 0
    _asked(folder, arguments.desk)  # its refusal belongs on the usual screen
    out = sys.stdout
    try:
        out.write(_ALTERNATE)
        while True:
            size = shutil.get_terminal_size()
            lines = screen(_asked(folder, arguments.desk), tail(folder.log, _LINES_KEPT), size.columns, size.lines - 1)
            out.write(_HOME + "".join(f"{line}{_CLEAR_LINE}\n" for line in lines) + _CLEAR_BELOW)
            out.flush()
            time.sleep(_EVERY_S)
    finally:
        out.write(_BACK)
        out.flush()


def _asked(folder: DataFolder, desk: str | None) -> dict[str, Any]:
    answer = request(folder.control, {"do": "desk", "desk": desk} if desk else {"do": "desk"})
    if "is no request" not in answer.get("error", "is no request"):
        raise CommandError(f"{answer['error'][0].upper()}{answer['error'][1:]}.")
    if "process" not in answer:
        raise CommandError("The supervisor is of a version without this screen; use `main.py status --watch`.", 3)
    return answer


def screen(answer: dict[str, Any], entries: Sequence[Entry], width: int, height: int) -> list[str]:
    """Lay it out: what is wrong, risk, positions, then as many of the newest lines as there is room for."""
    process = answer["process"]
    wrong = [
        line for name, words in _WRONG.items() if process.get(name)
        for line in wrapped(f"{words}: {plain_text(process[name])}", 2, columns=width)
    ]  # fmt: skip
    found = answer.get("desk")
    if found is None:
        head = [
            f"{exchange_clock(process['at_utc'])} New York",
            "The risk actor is down: `main.py status` has the tree.",
        ]
        return [line[:width] for line in (*head, *wrong)][:height]
    desk = msgspec.convert(found, DeskFacts)
    lines = [*_head(desk, process, width), *wrong, "", *_positions(desk, width), ""]
    room = height - len(lines)
    if room > 0:
        today = session_of(desk.at_utc).isoformat()
        newest = [entry for entry in entries if entry.date == today and not _is_of_shadow(entry)][-room:]
        lines += [line for entry in newest for line in _lines(entry, width)][-room:]
    return [line if len(line) <= width else f"{line[: width - 1]}…" for line in lines[:height]]


def _head(desk: DeskFacts, process: dict[str, Any], width: int) -> list[str]:
    """Return clock, money and risk; a fact is never broken in two."""
    phase = "phase not known" if desk.phase is None else _PHASES.get(desk.phase, desk.phase)
    level = (
        "kill level not known" if desk.kill_level is None else f"kill {desk.kill_level} ({_LEVELS[desk.kill_level]})"
    )
    state = (
        f"{exchange_clock(desk.at_utc)} New York", phase, desk.mode or "mode not known", level,
        f"up {duration_text(process['uptime_s'] * 1000)}",
    )  # fmt: skip
    money = (
        f"Day P&L {_signed(desk.total_cents)}", f"realised {_signed(desk.realised_cents)}",
        f"open {_signed(desk.unrealised_cents)}",
        *((f"fees to close {_signed(-desk.exit_fees_cents)}",) if desk.exit_fees_cents else ()),
        *((f"{desk.unmarked} of unknown worth left out",) if desk.unmarked else ()), _stop(desk),
    )  # fmt: skip
    risk = (
        f"open {len(desk.held)} of {desk.positions_max}",
        f"trades {desk.trades}" + (f" ({desk.wins} won)" if desk.trades else ""),
        f"losses in a row {desk.streak} of {desk.streak_max}",
        "NAV not known" if desk.nav_cents is None else f"NAV {usd_text(desk.nav_cents)}",
        f"desk {desk.desk}, {desk.trading_mode} trading",
    )  # fmt: skip
    lines = [line for facts in (state, money, risk) for line in in_lines(facts, width)]
    return [*lines, *([f"LOCKED for the day: {desk.locked}"] if desk.locked else [])]


def _stop(desk: DeskFacts) -> str:
    """Return where the day's hard stop is, and how far away."""
    if desk.hard_stop_cents is None:
        return "stop not known yet"
    return f"stop {usd_text(desk.hard_stop_cents)} ({usd_text(desk.total_cents - desk.hard_stop_cents)} away)"


def _positions(desk: DeskFacts, width: int) -> list[str]:
    if not desk.held:
        return ["No position is open."]
    is_wide = width >= 100
    head = f"{'POSITION':<14} {'QTY':>4} {'COST':>7} {'BID':>7} {'ASK':>7} {'P&L USD':>10}  NEAREST EXIT"
    rows = [head, *(_position(held, is_wide=is_wide) for held in desk.held)]
    return [*rows, *(line for structure in desk.structures for line in _structure(structure, width))]


def _structure(structure: HeldStructure, width: int) -> list[str]:
    """Return what all legs of a structure have come to, and every exit that they have in common."""
    pnl = "not known" if structure.pnl_cents is None else _signed(structure.pnl_cents)
    facts = (
        f"Together {pnl}:",
        *(f"{reason_text(one.reason)} {_where(one)} ({one.left:.0%} left)" for one in structure.exits),
    )
    return in_lines(facts, width)


def _where(exit_: Exit) -> str:
    """Return where an exit happens: at a price, a result or an instant."""
    if exit_.level_ticks is not None:
        return f"{exit_.ticker} {exit_.level_ticks / 100:,.2f}"
    if exit_.pnl_cents is not None:
        return _signed(exit_.pnl_cents)
    return "" if exit_.at_utc is None else exchange_clock(exit_.at_utc)[:5]


def _position(held: Held, *, is_wide: bool) -> str:
    pnl = "?" if held.unrealised_cents is None else f"{held.unrealised_cents / 100:+,.2f}"
    if held.wanted:
        exit_ = f"CLOSING: {reason_text(held.wanted)}"
    elif held.state == "pending":
        exit_, pnl = "entry works", ""
    elif held.left is None:
        exit_ = "not known"
    else:
        exit_ = f"{reason_text(held.nearest)}, {held.left:.0%}" + (" of its way left" if is_wide else " left")
    return (
        f"{held.contract:<14} {held.qty:>4} {_price(held.cost_ticks):>7} {_price(held.bid_ticks):>7}"
        f" {_price(held.ask_ticks):>7} {pnl:>10}  {exit_}"
    )


def _price(ticks: float | None) -> str:
    return "-" if ticks is None else f"{ticks / 100:.2f}"


def _signed(cents: float) -> str:
    return f"{'+' if cents > 0 else ''}{usd_text(cents)}"


def _is_of_shadow(entry: Entry) -> bool:
    """Return whether a line says that a shadow was not traded: of a day they are many, and none was to be."""
    return entry.topic == "reject" and entry.text.endswith(RejectCode.SHADOW_SIGNAL)


def _lines(entry: Entry, width: int) -> list[str]:
    """Return a line of the log, an alarm with all its words, since what to do stands at their end."""
    urgent = "" if entry.severity is Severity.INFO else f"{entry.severity.value.upper()}: "
    head, text = f"{entry.clock}  {entry.topic:<7} ", announced_text(entry.topic, entry.severity, entry.text)
    if entry.topic != ALARM:
        return [f"{head}{urgent}{text}"]
    return wrapped(f"{urgent}{text}", len(head), first=head, columns=width)
