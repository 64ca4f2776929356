"""`python -m commands.reference`: the pages of docs/reference/, written from the code that they describe.

`--check` writes nothing and names the pages that are stale (exit code 1).
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, cast

import msgspec

from commands import cli
from commands.reference_settings import settings_page
from config.settings import load_settings
from domain.orders import table as orders_table
from domain.position import cycle as position_cycle
from domain.risk import entry_stages, reject
from domain.session import modes, phases
from gateways.ib import codes
from main import ABSENT, Stores, build_tree
from messages import envelope
from messages.base import SCHEMA, Message
from simulation.gateway import faults as gateway_faults
from simulation.hubs import faults as hub_faults

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
_NOTE = "<!-- Written by `python -m commands.reference`; change the code, not this page. -->"
_MEMBER = re.compile(r"^    ([A-Z][A-Z0-9_]*) = .*?  # (.+)$", re.MULTILINE)


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lay rows out as a Markdown table."""
    lines = [_row(titles), _row(["---"] * len(titles))]
    return [*lines, *(_row(row) for row in rows), ""]


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(_cell(str(cell)) for cell in cells) + " |"


def _cell(text: str) -> str:
    """Make text safe for a table: bars always, angle brackets outside of code."""
    parts = text.replace("|", "\\|").replace("\n", " ").split("`")
    return "`".join(part if n % 2 else part.replace("<", "\\<") for n, part in enumerate(parts))


def _doc(thing: object) -> str:
    return inspect.cleandoc(getattr(thing, "__doc__", None) or "")


def _code(value: object) -> str:
    return f"`{value}`"


# -- reject codes -------------------------------------------------------------------------------


def reject_codes_page() -> list[str]:
    """Explain every code, in the order of the gates."""
    lines = [
        "# Reject codes", "",
        "Every code with which Zerohour itself refuses an order, in the order of the gates. The broker's own refusals"
        " are *rejects* and carry the broker's numbers (see [state machines](state-machines.md#vendor-codes)).", "",
        "*Gate* is the number of the entry gate (empty: not an entry gate's code). *Transient* says that the same"
        " signal a little later could pass.", "",
    ]  # fmt: skip
    rows = (
        (
            _code(code.value), ", ".join(map(str, known.gates)), known.meaning, "yes" if known.is_transient else "no",
            known.action,
        )
        for code in reject.RejectCode
        for known in (reject.EXPLAINED[code],)
    )  # fmt: skip
    return [*lines, *table(("code", "gate", "meaning", "transient", "what to do"), rows)]


# -- messages -----------------------------------------------------------------------------------


def messages_page() -> list[str]:
    """List every message by conversation, with its fields."""
    lines = [
        "# Messages", "",
        f"Everything that one actor can say to another, as it stands in a trace (schema {SCHEMA}). Instants"
        " `_utc` are integer nanoseconds, prices `_ticks` 1/100 USD per unit of the underlying, money `_cents`.", "",
    ]  # fmt: skip
    for module in sorted({sys.modules[kind.__module__] for kind in envelope.MESSAGE_TYPES}, key=lambda m: m.__name__):
        title, _, talk = _doc(module).partition("\n")
        lines += [f"## {module.__name__.rpartition('.')[2]}", "", title, ""]
        if talk.strip():
            lines += ["```text", talk.strip("\n"), "```", ""]
        for kind in vars(module).values():
            if kind in envelope.MESSAGE_TYPES and kind.__module__ == module.__name__:
                lines += _message(kind)
    return lines


def _message(kind: type[Message]) -> list[str]:
    lines = [f"### {kind.__struct_config__.tag}", "", _doc(kind), ""]
    notes: dict[str, object] = {}
    for base in reversed(kind.__mro__):
        notes.update(getattr(base, "__annotations__", {}))
    rows = [(_code(f.name), _code(notes[f.name]), _default(f)) for f in msgspec.structs.fields(kind)]
    return [*lines, *table(("field", "type", "default"), rows)] if rows else [*lines, "No fields.", ""]


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return ""
    if field.default is not msgspec.NODEFAULT:
        value = field.default.value if isinstance(field.default, Enum) else field.default
        return _code(repr(value))
    return _code(f"{getattr(field.default_factory, '__name__', 'made')}()")


# -- state machines -----------------------------------------------------------------------------


def state_machines_page() -> list[str]:
    """Draw every state machine from its table."""
    lines = [
        "# State machines", "",
        "Drawn from the tables that the actors follow. A pair of state and event that is not drawn is ignored; the"
        " reason stands below the drawing. A pair in neither table is a bug, and raises.", "",
    ]  # fmt: skip
    lines += _machine("Connection modes", modes, modes.Mode, modes.Event)
    lines += _machine("Position life cycle", position_cycle, position_cycle.PositionState, position_cycle.PositionEvent)
    lines += ["Ends of a position: " + ", ".join(_code(end.value) for end in position_cycle.EndReason) + ".", ""]
    lines += ["Exit reasons, most severe first: " + ", ".join(_code(r.value) for r in position_cycle.ExitReason), ""]
    lines += _machine("Entry stages", entry_stages, entry_stages.Stage, entry_stages.Event)
    lines += ["What silence means, per stage:", ""]
    lines += table(
        ("stage", "gate", "code"), ((s.value, gate, _code(c.value)) for s, (gate, c) in entry_stages.SILENCE.items())
    )
    lines += _machine("Orders of ours", orders_table, orders_table.Stage, orders_table.OrderEvent)
    return [*lines, *_phases(), *_vendor_codes()]


def _machine(title: str, module: object, states: type[Enum], events: type[Enum]) -> list[str]:
    transitions = cast(Mapping[tuple[Enum, Enum], Any], vars(module)["TRANSITIONS"])
    ignored = cast(Mapping[tuple[Enum, Enum], str], vars(module)["IGNORED"])
    lines = [f"## {title}", "", _doc(module), "", "```mermaid", "stateDiagram-v2", f"    [*] --> {_first(states)}"]
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, event), after in transitions.items():
        for target in after if isinstance(after, tuple) else (after,):
            arrows.setdefault((state.name, target.name), []).append(event.value)
    lines += [f"    {a} --> {b}: {', '.join(found)}" for (a, b), found in arrows.items()]
    lines += ["```", ""]
    for kind in (states, events):
        notes = _member_notes(kind)
        if notes:
            lines += [_doc(kind), ""]
            lines += table(("", ""), ((_code(member.value), notes.get(member.name, "")) for member in kind))
    rows = ((_code(state.value), _code(event.value), why) for (state, event), why in ignored.items())
    return [*lines, "Ignored:", "", *table(("state", "event", "why"), rows)]


def _first(states: type[Enum]) -> str:
    return next(iter(states)).name


def _member_notes(kind: type[Enum]) -> dict[str, str]:
    """Give the comments behind the members of an enumeration."""
    return dict(_MEMBER.findall(inspect.getsource(kind)))


def _phases() -> list[str]:
    rows = (
        (_code(phase.value), "alerts are looked for" if phase in phases.EVALUATED else "") for phase in phases.Phase
    )
    return ["## Phases of the day", "", _doc(phases.Phase), "", *table(("phase", ""), rows)]


def _vendor_codes() -> list[str]:
    lines = ["## Vendor codes", "", _doc(codes), ""]
    by_meaning: dict[str, list[str]] = {}
    for code, meaning in sorted(codes.MEANINGS.items()):
        by_meaning.setdefault(meaning.value, []).append(str(code))
    notes = _member_notes(orders_table.CodeMeaning)
    lines += table(
        ("meaning", "codes", ""),
        ((_code(m.value), ", ".join(by_meaning.get(m.value, ())), notes.get(m.name, "")) for m in
         orders_table.CodeMeaning),
    )  # fmt: skip
    lines += ["Order statuses of IB, in our words:", ""]
    return [*lines, *table(("IB says", "we say"), ((_code(k), _code(v.value)) for k, v in codes.STATUSES.items()))]


# -- actors, commands, faults -------------------------------------------------------------------


def actors_page() -> list[str]:
    """List the tree as the demo starts it."""
    none = cast(Any, None)
    settings = load_settings(profile="demo")
    tree = build_tree(settings, Stores(none, none, none), lambda: ())
    lines = [
        "# Actors", "",
        "The tree in the order in which it is started, with the default tickers, hubs and lanes. *State from* is the"
        " ledger that is asked before each start (empty: nothing to restore). A crash of a *vital* actor latches"
        " entries off until the process is started again.", "",
    ]  # fmt: skip
    specs = [(spec.name, spec.make(), spec.restore_from, spec.is_vital) for spec in tree.children]
    specs += [(t.prefix + "<conId>", t.make(t.prefix + "0"), t.restore_from, False) for t in tree.templates]
    lines += table(
        ("address", "class", "state from", "vital"),
        ((_code(name), _code(type(made).__name__), _code(ledger) if ledger else "", "yes" if is_vital else "")
         for name, made, ledger, is_vital in specs),
    )  # fmt: skip
    lines += ["Declared roles that nobody has taken yet: " + ", ".join(map(_code, ABSENT)) + ".", ""]
    for kind in dict.fromkeys(type(made) for _, made, _, _ in specs):
        lines += [f"## {kind.__name__}", "", f"`{kind.__module__.replace('.', '/')}.py`", ""]
        lines += ["```text", _doc(sys.modules[kind.__module__]), "```", ""]
    return lines


def commands_page() -> list[str]:
    """List every command, its arguments and the exit codes."""
    top = cli.parser()
    lines = ["# Commands", "", "Run as `python main.py [--config FILE] [--data FOLDER] COMMAND ...`.", ""]
    lines += ["Exit codes: " + " ".join(_doc(cli).partition("\n\n")[2].split()) + ".", ""]
    commands = next(action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    lines += ["## For every command", "", *_arguments(top)]
    for name, made in commands.choices.items():
        lines += [f"## {name}", "", _sentence(made.description or name), "", *_arguments(made)]
    return lines


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _arguments(made: argparse.ArgumentParser) -> list[str]:
    rows = []
    for action in made._actions:
        if action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            continue
        name = ", ".join(action.option_strings) or action.dest
        values = "/".join(map(str, action.choices)) if action.choices else (action.metavar or "")
        default = "" if action.default in (None, False, argparse.SUPPRESS) else _code(action.default)
        is_needed = action.required or (not action.option_strings and action.nargs != "?")
        rows.append((_code(name), values, "required" if is_needed else default, action.help or ""))
    return table(("argument", "value", "default", ""), rows) if rows else ["No arguments of its own.", ""]


def faults_page() -> list[str]:
    """List what the simulated servers can be made to do wrong."""
    lines = ["# Faults of the simulated servers", "", "## Gateway (`main.py sim gateway --faults FILE`)", ""]
    lines += [_doc(gateway_faults).partition("\n\n")[2], "", _doc(gateway_faults.Fault), ""]
    notes = _member_notes(gateway_faults.FaultKind)
    groups = {
        "link": gateway_faults.LINK_FAULTS, "order": gateway_faults.ORDER_FAULTS,
        "modification": gateway_faults.MODIFY_FAULTS, "cancellation": gateway_faults.CANCEL_FAULTS,
    }  # fmt: skip
    hits = {kind: name for name, kinds in groups.items() for kind in kinds}
    rows = ((_code(kind.value), hits.get(kind, ""), notes.get(kind.name, "")) for kind in gateway_faults.FaultKind)
    lines += table(("kind", "hits", ""), rows)
    lines += ["## Hubs (from Python)", "", _doc(hub_faults).partition("\n\n")[2], ""]
    kinds = hub_faults.HubFault.__args__
    rows_of_hubs = (
        (_code(kind.__name__), ", ".join(_code(f) for f in kind.__struct_fields__ if f != "at_utc"), _doc(kind))
        for kind in kinds
    )
    lines += table(("record", "fields", ""), rows_of_hubs)
    spoils = ", ".join(_code(spoil.value) for spoil in hub_faults.Spoil)
    return [*lines, f"A frame can be spoilt as: {spoils}.", ""]


PAGES: dict[str, Callable[[], list[str]]] = {
    "reject-codes.md": reject_codes_page,
    "settings.md": lambda: settings_page(table),
    "messages.md": messages_page,
    "state-machines.md": state_machines_page,
    "actors.md": actors_page,
    "commands.md": commands_page,
    "faults.md": faults_page,
}


def page(name: str) -> str:
    """Give the text of a page as the code has it now."""
    first, *rest = PAGES[name]()
    return "\n".join([first, "", _NOTE, *rest]).rstrip("\n") + "\n"


def stale(folder: Path = FOLDER) -> list[str]:
    """Name the pages that are missing or are not what the code says."""
    return [
        name for name in PAGES
        if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != page(name)
    ]  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Write the pages, or check them."""
    arguments = argparse.ArgumentParser(prog="python -m commands.reference", description=_doc(sys.modules[__name__]))
    arguments.add_argument("--check", action="store_true", help="write nothing; name the stale pages")
    is_check = arguments.parse_args(argv).check
    names = stale()
    if is_check:
        print("\n".join(f"docs/reference/{name} is stale" for name in names) or "docs/reference is up to date")
        return 1 if names else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names:
        (FOLDER / name).write_text(page(name), encoding="utf-8")
        print(f"docs/reference/{name} written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
