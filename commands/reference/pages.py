"""`python -m commands.reference`: the pages of docs/reference/, written from the code that they describe.

`--check` writes nothing and names the pages that are stale (exit code 1).
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from commands import cli
from commands.examples import EXAMPLES
from commands.reference.conversations import messages_page
from commands.reference.features import features_page
from commands.reference.markdown import code, doc, first_line, table
from commands.reference.names import names_page
from commands.reference.settings import settings_page
from config.settings import load_settings
from domain.fsm import Machine
from domain.orders import live_order, twap
from domain.orders import table as orders_table
from domain.position import cycle
from domain.risk import entry_stages, reject, structure_attempt
from domain.risk.gates.sequence import GATES, gates_of, number_of
from domain.session import desk_switch, dialling, modes, phases
from domain.structure import saga
from gateways.ib import codes
from main import Stores, build_tree
from simulation.gateway import faults as gateway_faults
from simulation.gateway import protocol as gateway_protocol
from simulation.gateway.fields import FIELDS
from simulation.hubs import faults as hub_faults
from storage.views import catalog, named
from supervision.actor import inbox_of

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
_NOTE = "<!-- Written by `python -m commands.reference`; change the code, not this page. -->"
_MEMBER = re.compile(r"^    ([A-Z][A-Z0-9_]*) = .*?  # (.+)$", re.MULTILINE)


# -- reject codes -------------------------------------------------------------------------------


def reject_codes_page() -> list[str]:
    """Return every code, in the order of the gates."""
    lines = [
        "# Reject codes", "",
        "Every code with which Zerohour itself refuses an order, in the order of the gates. The broker's own refusals"
        " are *rejects* and carry the broker's numbers (see [state machines](state-machines.md#vendor-codes)).", "",
        "*Gate* names the entry gates that refuse with it (empty: not an entry gate's code). *Transient* says that the"
        " same signal a little later could pass.", "",
    ]  # fmt: skip
    rows = (
        (
            code(refusal.value), ", ".join(code(gate) for gate in gates_of(refusal)), known.meaning,
            "yes" if known.is_transient else "no", known.action,
        )
        for refusal in reject.RejectCode
        for known in (reject.EXPLAINED[refusal],)
    )  # fmt: skip
    lines += table(("code", "gate", "meaning", "transient", "what to do"), rows)
    lines += ["## The gates in their order", ""]
    return [*lines, *table(("number", "gate", "phase"), ((number_of(g.name), code(g.name), g.phase) for g in GATES))]


# -- state machines -----------------------------------------------------------------------------


def state_machines_page() -> list[str]:
    """Return every state machine, drawn from its table."""
    lines = [
        "# State machines", "",
        "Drawn from the tables that the actors run (`domain/fsm.py`). A pair of state and event that is not drawn is"
        " ignored; the reason stands below the drawing. A pair in neither table is a bug, and raises.", "",
    ]  # fmt: skip
    lines += _machine("Connection modes", modes, modes.MODES)
    lines += _machine("Link to a gateway", dialling, dialling.LINKS)
    lines += _machine("Switch of a strategy", desk_switch, desk_switch.SWITCHES)
    lines += _machine("Position life cycle", cycle, cycle.CYCLE)
    lines += ["Ends of a position: " + ", ".join(code(end.value) for end in cycle.EndReason) + ".", ""]
    lines += ["Exit reasons, most severe first: " + ", ".join(code(r.value) for r in cycle.ExitReason) + ".", ""]
    lines += _machine("A position's own order", live_order, live_order.LEG_STAGES)
    lines += _machine("An entry in slices", twap, twap.TWAP)
    lines += _machine("Entry stages", entry_stages, entry_stages.ENTRY)
    lines += ["What silence means, per stage:", ""]
    lines += table(
        ("stage", "gate", "code"),
        ((code(s.value), code(gate), code(c.value)) for s, (gate, c) in entry_stages.SILENCE.items()),
    )
    lines += _machine("Entry stages of a structure", structure_attempt, structure_attempt.STAGES)
    lines += _machine("A structure", saga, saga.SAGA)
    lines += _machine("Orders at the broker", orders_table, orders_table.ORDERS)
    return [*lines, *_phases(), *_vendor_codes()]


def _machine(title: str, module: object, machine: Machine[Any, Any]) -> list[str]:
    first, event_of = next(iter(machine.transitions))
    states: type[Enum] = type(first)
    events: type[Enum] = type(event_of)
    lines = [
        f"## {title}",
        "",
        doc(module),
        "",
        "```mermaid",
        "stateDiagram-v2",
        f"    [*] --> {next(iter(states)).value}",
    ]
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, event), after in machine.transitions.items():
        arrows.setdefault((state.value, after.value), []).append(event.value)
    lines += [f"    {a} --> {b}: {', '.join(found)}" for (a, b), found in arrows.items()]
    lines += ["```", ""]
    for kind in (states, events):
        notes = _member_notes(kind)
        if notes:
            lines += [doc(kind), ""]
            lines += table(("", ""), ((code(member.value), notes.get(member.name, "")) for member in kind))
    if not machine.ignored:
        return [*lines, "Nothing is ignored.", ""]
    rows = ((code(state.value), code(event.value), why) for (state, event), why in machine.ignored.items())
    return [*lines, "Ignored:", "", *table(("state", "event", "why"), rows)]


def _member_notes(kind: type[Enum]) -> dict[str, str]:
    """Return the comments behind the members of an enumeration."""
    return dict(_MEMBER.findall(inspect.getsource(kind)))


def _phases() -> list[str]:
    rows = ((code(phase.value), "alerts are looked for" if phase in phases.EVALUATED else "") for phase in phases.Phase)
    return ["## Phases of the day", "", doc(phases.Phase), "", *table(("phase", ""), rows)]


def _vendor_codes() -> list[str]:
    lines = ["## Vendor codes", "", doc(codes), ""]
    by_meaning: dict[str, list[str]] = {}
    for number, meaning in sorted(codes.MEANINGS.items()):
        by_meaning.setdefault(meaning.value, []).append(str(number))
    notes = _member_notes(orders_table.CodeMeaning)
    lines += table(
        ("meaning", "codes", ""),
        ((code(m.value), ", ".join(by_meaning.get(m.value, ())), notes.get(m.name, "")) for m in
         orders_table.CodeMeaning),
    )  # fmt: skip
    lines += ["Order statuses of IB, in our words:", ""]
    return [*lines, *table(("IB says", "we say"), ((code(k), code(v.value)) for k, v in codes.STATUSES.items()))]


# -- actors, commands, faults -------------------------------------------------------------------


def actors_page() -> list[str]:
    """Return the tree as the demo starts it."""
    none: Any = None
    shown: Any = object()  # series are kept and somebody looks, so their actors are there
    settings = load_settings(profile="demo")
    tree = build_tree(settings, Stores(none, none, none, shown, screen=shown), lambda: ())
    lines = [
        "# Actors", "",
        "The tree in the order in which it is started, with the default tickers, hubs and lanes. *State from* is the"
        " ledger that is asked before each start (empty: nothing to restore). *A crash* of some latches entries off"
        " until the process is started again; *too many* end the process, or halt entries.", "",
    ]  # fmt: skip
    specs = [(spec.name, spec.make(), spec.restore_from, spec.policy) for spec in tree.children]
    specs += [(t.prefix + "<conId>", t.make(t.prefix + "0"), t.restore_from, t.policy) for t in tree.templates]
    lines += table(
        ("address", "class", "state from", "a crash", "too many"),
        (
            (
                code(name), code(type(made).__name__), code(ledger) if ledger else "",
                "latches" if policy.latch_on_crash else "", "end the process" if policy.end_on_spent_budget else "halt",
            )
            for name, made, ledger, policy in specs
        ),
    )  # fmt: skip
    for kind in dict.fromkeys(type(made) for _, made, _, _ in specs):
        lines += [f"## {kind.__name__}", "", f"`{kind.__module__.replace('.', '/')}.py`", ""]
        lines += [doc(sys.modules[kind.__module__]), ""]
        inbox = ", ".join(sorted(code(message.__struct_config__.tag) for message in inbox_of(kind)))
        lines += [f"Inbox: {inbox}.", ""]
    return lines


def commands_page() -> list[str]:
    """Return every command, its arguments and the exit codes."""
    top = cli.parser()
    lines = ["# Commands", "", "Run as `python main.py [--config FILE] [--data FOLDER] COMMAND ...`.", ""]
    lines += ["Exit codes: " + " ".join(doc(cli).partition("\n\n")[2].split()) + ".", ""]
    commands = next(action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    lines += ["## For every command", "", *_arguments(top)]
    for name, made in commands.choices.items():
        lines += [f"## {name}", "", _sentence(made.description or name), "", *_arguments(made)]
        examples = [f"- `main.py {call}`: {does}" for call, does in EXAMPLES.get(name, ())]
        lines += [*examples, ""] if examples else []
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
        default = "" if action.default in (None, False, argparse.SUPPRESS) else code(action.default)
        is_needed = action.required if action.option_strings else action.nargs not in ("?", "*")
        rows.append((code(name), values, "required" if is_needed else default, action.help or ""))
    return table(("argument", "value", "default", ""), rows) if rows else ["No arguments of its own.", ""]


def faults_page() -> list[str]:
    """Return what the simulated servers can be made to do wrong."""
    lines = ["# Faults of the simulated servers", "", "## Gateway (`main.py sim gateway --faults FILE`)", ""]
    lines += [doc(gateway_faults).partition("\n\n")[2], "", doc(gateway_faults.Fault), ""]
    notes = _member_notes(gateway_faults.FaultKind)
    groups = {
        "link": gateway_faults.LINK_FAULTS, "order": gateway_faults.ORDER_FAULTS,
        "modification": gateway_faults.MODIFY_FAULTS, "cancellation": gateway_faults.CANCEL_FAULTS,
    }  # fmt: skip
    hits = {kind: name for name, kinds in groups.items() for kind in kinds}
    rows = ((code(kind.value), hits.get(kind, ""), notes.get(kind.name, "")) for kind in gateway_faults.FaultKind)
    lines += table(("kind", "hits", ""), rows)
    lines += [f"The fields that `field` can name: {', '.join(code(name) for name in FIELDS)}.", ""]
    lines += ["## Hubs (from Python)", "", doc(hub_faults).partition("\n\n")[2], ""]
    kinds = hub_faults.HubFault.__args__
    rows_of_hubs = (
        (code(kind.__name__), ", ".join(code(f) for f in kind.__struct_fields__ if f != "at_utc"), doc(kind))
        for kind in kinds
    )
    lines += table(("record", "fields", ""), rows_of_hubs)
    spoils = ", ".join(code(spoil.value) for spoil in hub_faults.Spoil)
    return [*lines, f"A frame can be spoilt as: {spoils}.", ""]


def gateway_requests_page() -> list[str]:
    """Return what the simulated gateway does with each request of the protocol."""
    lines = ["# Requests of the simulated gateway", "", doc(gateway_protocol).partition("\n\n")[2], ""]
    rows = (
        (str(number), code(request.name), request.treatment.value, request.note or _refusal(request))
        for number, request in gateway_protocol.REQUESTS.items()
    )
    return [*lines, *table(("id", "request", "", ""), rows)]


def _refusal(request: gateway_protocol.Request) -> str:
    return f"{request.code} {request.text}" if request.code else ""


# -- views --------------------------------------------------------------------------------------


def views_page() -> list[str]:
    """Return every view and column, and the queries that have a name."""
    lines = [
        "# Views", "",
        'What `main.py sql "SELECT ..."`, `main.py shell`, the notebooks and `main.py export` know. '
        + doc(catalog).partition("\n\n")[2].partition(" What a view is made of")[0].replace("\n", " "), "",
        "A query sees what the supervisor wrote up to then (at most one bucket behind). Without our views, any program"
        " that reads Parquet reads `warehouse/date=*/*.parquet`: DuckDB 2.0 or newer (versions before it do not know"
        " the encoding of the integers) or pyarrow 15 or newer. It finds each stored row of a finished day once, in the"
        " vendor's own integers (prices in 1/100, sums and volatilities in 1/1000); while the day runs, what was"
        " stored so far. The files under `_parts` are the same rows by the names that change.", "",
    ]  # fmt: skip
    for group, title in catalog.GROUPS.items():
        lines += [f"## {title}", ""]
        for view in (view for view in catalog.ALL if view.group == group):
            lines += [f"### {view.name}", "", f"A row is {view.row}.", ""]
            lines += table(("column", "unit", "meaning"), ((code(c.name), c.unit, c.meaning) for c in view.columns))
    lines += ["## Queries with a name", "", "In `storage/views/named.py`, for Python:", ""]
    return [*lines, *table(("query", ""), ((code(query.__name__), first_line(query)) for query in named.QUERIES))]


PAGES: dict[str, Callable[[], list[str]]] = {
    "reject-codes.md": reject_codes_page,
    "settings.md": lambda: settings_page(table),
    "messages.md": messages_page,
    "names-of-before.md": names_page,
    "state-machines.md": state_machines_page,
    "actors.md": actors_page,
    "commands.md": commands_page,
    "faults.md": faults_page,
    "gateway-requests.md": gateway_requests_page,
    "views.md": views_page,
    "features.md": features_page,
}


def page(name: str) -> str:
    """Return the text of a page as the code has it now."""
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
    arguments = argparse.ArgumentParser(prog="python -m commands.reference", description=doc(sys.modules[__name__]))
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
