"""Unmodified clients against every fault of the simulated gateway: what each one says, and whether it could read it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from benchmarks.figures import ROOT, Report
from simulation.gateway.faults import Fault, FaultKind
from tests.testkit.gateway_world import SESSION, World, world

K = FaultKind
CLIENTS = {  # what starts each one, and the Python it has
    "ib_insync 0.9.86": (("client_ib.py", "ib_insync"), Path(sys.executable)),
    "ib_async 2.1.0": (("client_ib.py", "ib_async"), None),
    "ibapi 9.81": (("client_ibapi.py",), None),
}
OTHERS_PYTHON = Path(os.environ.get("ZEROHOUR_CLIENTS_PYTHON") or ROOT / ".venv-clients" / "bin" / "python")
WITHIN_S = 60.0  # only a client that never hears what it should waits so long
LASTS_S = 3_600.0  # until the case is over
GREETING = ("code 2104", "code 2106", "code 2158")
WATCHING = "connect, watch, hear tick"
CONNECTED = "connect, hear connected"
WORKING = f"{WATCHING}, place 1 4.5, hear status Submitted"


@dataclass(frozen=True)
class Case:
    """A fault (or several) and what a client does about it.

    `steps`: commands of the client, and `fault` (it begins), `hear TEXT` (a line that begins so, heard since the
    command before), `move` (the quote moves), `again` (dial until it is let in). `is_cut`: the fault ends the
    connection. `is_unreadable`: what it sends is no message that a client could read.
    """

    what: str
    faults: tuple[Fault, ...]
    steps: str
    is_cut: bool = False
    is_unreadable: bool = False


def case(
    kind: FaultKind, what: str, steps: str, *, for_s: float = 0.0, is_unreadable: bool = False, **args: object
) -> Case:
    """Return a case of one fault; `for_s` 0 means until the case is over."""
    made = Fault(kind, duration_s=for_s or LASTS_S, args=args)  # type: ignore[arg-type]
    is_cut = kind in (K.DROP_REFUSE, K.DROP_RESET, K.CLIENT_ID_IN_USE, K.PACING)
    return Case(f"{kind.value}{f', {what}' if what else ''}", (made,), steps, is_cut, is_unreadable)


def cases() -> list[Case]:
    """Return every fault, each of its forms a case."""
    return [
        case(K.DROP_REFUSE, "", f"{WATCHING}, fault, hear gone, again", for_s=0.5),
        case(K.DROP_RESET, "", f"{WATCHING}, fault, hear gone, again", for_s=0.5),
        case(K.DROP_HALF_OPEN, "", f"{WATCHING}, fault, place 1 4.5, hear status Submitted", for_s=0.5),
        case(
            K.LINK_LOST, "data kept", f"{WATCHING}, fault, hear code 1100, hear code 1102, move, hear tick",
            for_s=0.3, repeat_lost=3, repeat=3,
        ),
        case(K.LINK_LOST, "data lost", f"{WATCHING}, fault, hear code 1100, hear code 1101", for_s=0.3, data="lost"),
        case(K.FARM_LOST, "", f"{WATCHING}, fault, hear code 2103, hear code 2104, move, hear tick", for_s=0.3),
        case(K.FARM_LOST, "history", f"{WATCHING}, fault, hear code 2105, hear code 2106", for_s=0.3, history=True),
        case(K.CLIENT_ID_IN_USE, "", "fault, connect, hear failed, again", for_s=1.0),
        case(K.PACING, "", f"{CONNECTED}, fault, flood 60, hear gone, again", for_s=1.5),
        case(K.COMPETING_SESSION, "", f"{WATCHING}, fault, hear code 10197"),
        case(K.DELAYED_DATA, "", "connect, fault, watch, hear tick 3"),
        case(K.LINE_LIMIT, "", "connect, fault, watch, hear code 101"),
        case(K.NOT_SUBSCRIBED, "", "connect, fault, watch, hear code 354"),
        case(K.NOT_PERMITTED, "", "connect, fault, watch, hear code 200, hear found 0", of="SPXW"),
        case(K.READ_ONLY, "", f"{WATCHING}, fault, place 1 5.1, hear code 321, read, hear read - -"),
        *(
            case(K.GROUP_ERROR, group, f"{CONNECTED}, fault, read, hear code {code}, hear read", group=group)
            for group, code in (("orders", 321), ("completed", 321), ("positions", 2151), ("executions", 321))
        ),
        case(K.GROUP_ERROR, "no answer", f"{CONNECTED}, fault, read, hear read", group="positions", silent=True),
        case(
            K.FIELD, "an unset number", f"{WATCHING}, fault, place 1 5.1, hear execution, hear status Filled",
            field="commission.value", value="1.7976931348623157E308",
        ),
        case(
            K.FIELD, "a message cut off", f"{WATCHING}, fault, place 1 5.1, hear trouble",
            is_unreadable=True, field="status.remaining", cut=True,
        ),
        case(
            K.EXECUTION_TIME, "", f"{WATCHING}, fault, place 1 5.1, hear execution, hear status Filled",
            form="%Y%m%d-%H:%M:%S", zone="UTC",
        ),
        case(K.EXECUTIONS_MISSING, "", f"{WATCHING}, fault, place 1 5.1, hear status Filled"),
        case(K.FOREIGN_ORDERS, "", f"{CONNECTED}, fault, read, hear read 1", perm_id=5),
        case(K.OTHER_ACCOUNT, "", f"{CONNECTED}, fault, read, hear read 1 1 1 1"),
        case(K.FIRST_PRINT, "", "connect, fault, index, hear tick", ticks=12_345),
        case(K.HALTED, "", f"{WATCHING}, fault, hear halted"),
        case(K.ERROR_SENT, "", f"{CONNECTED}, fault, hear code 2110", code=2110, text="Connectivity is broken."),
        case(K.MANUAL_ORDER, "", f"{CONNECTED}, fault, read, hear read 1", limit_ticks=100),
        case(K.ORDER_REJECTED, "", f"{WATCHING}, fault, place 1 5.1, hear code 201, hear status Inactive"),
        *(
            case(K.ORDER_ERROR, str(code), f"{WATCHING}, fault, place 1 5.1, hear code {code}", code=code)
            for code in (200, 201, 103, 110)
        ),
        *(
            case(
                K.ORDER_NOTICE, str(code), f"{WATCHING}, fault, place 1 5.1, hear code {code}, hear status Filled",
                code=code,
            )
            for code in (399, 10349)
        ),
        case(K.ORDER_SILENCE, "it never arrived", f"{WATCHING}, fault, place 1 4.5, time, hear time"),
        case(K.ORDER_SILENCE, "it lives", f"{WATCHING}, fault, place 1 4.5, read, hear read 1", reaches=True),
        case(K.ORDER_DELAYED, "", f"{WATCHING}, fault, place 1 5.1, hear status Filled", for_s=0.3),
        case(
            K.ORDER_DELAYED, "fills", f"{WATCHING}, fault, place 1 5.1, hear status Submitted, hear status Filled",
            for_s=0.3, of="fills",
        ),
        case(K.PARTIAL_FILLS, "", f"{WATCHING}, fault, place 3 5.1, hear status Filled", pieces=[1, 2]),
        case(K.CALLBACKS_DUPLICATED, "", f"{WATCHING}, fault, place 1 5.1, hear status Filled"),
        *(
            case(
                K.CALLBACKS_REORDERED, f"{first} first", f"{WATCHING}, fault, place 1 5.1, hear status Filled",
                first=first,
            )
            for first in ("status", "commission")
        ),
        case(
            K.EXECUTION_CORRECTED, "", f"{WATCHING}, fault, place 1 5.1, hear execution, hear execution", for_s=0.2
        ),
        case(K.MODIFY_104_THEN_FILL, "", f"{WORKING}, fault, change 4.6, hear code 104, hear status Filled"),
        case(K.MODIFY_104_EXECUTION_ONLY, "", f"{WORKING}, fault, change 4.6, hear code 104, hear execution"),
        case(K.MODIFY_FILL_THEN_104, "", f"{WORKING}, fault, change 4.6, hear status Filled, hear code 104"),
        *(
            case(K.MODIFY_ERROR, str(code), f"{WORKING}, fault, change 4.6, hear code {code}", code=code)
            for code in (105, 161, 201, 321)
        ),
        *(
            case(K.CANCEL_ERROR, str(code), f"{WORKING}, fault, cancel, hear code {code}", code=code)
            for code in (10147, 10148, 161)
        ),
        case(K.CANCEL_FILL_FIRST, "", f"{WORKING}, fault, cancel, hear code 10148, hear status Filled"),
        Case(
            "the reset of a night, as it was recorded",
            (
                Fault(K.LINK_LOST, duration_s=0.5, args={"repeat_lost": 25, "repeat": 3}),
                Fault(K.ERROR_SENT, args={"code": 2104, "text": "Market data farm connection is OK:usfarm"}),
                Fault(K.ERROR_SENT, args={"code": 2110, "text": "Connectivity is broken."}),
                Fault(K.GROUP_ERROR, duration_s=0.5, args={"group": "positions"}),
                Fault(K.FIELD, duration_s=0.5, args={"field": "next_id.id", "value": "1"}),
            ),
            f"{WATCHING}, fault, hear code 1100, hear code 2110, hear code 1102, move, hear tick",
        ),
    ]  # fmt: skip


@dataclass
class Client:
    """A client in a process of its own; `lines` are what it heard, `mark` how many of them before the last command,
    `connected` before the last dial.
    """

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)
    mark: int = 0
    connected: int = 0
    heard: Counter[str] = field(default_factory=Counter)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def follow(self) -> None:
        """Take its lines until it ends."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            async with self.changed:
                self.lines.append(line.decode("utf-8", "replace").strip())
                self.changed.notify_all()

    def begin(self) -> None:
        """Hear only what comes from now on."""
        self.mark, self.heard = len(self.lines), Counter()

    def tell(self, command: str) -> None:
        """Give it a command."""
        assert self.process.stdin is not None
        self.begin()
        self.process.stdin.write(command.encode() + b"\n")

    async def hear(self, *words: str) -> bool:
        """Wait for a line that begins with one of some words; asked again, for the next such line."""
        key = "|".join(words)
        self.heard[key] += 1

        def is_there() -> bool:
            matching = [line for line in self.lines[self.mark :] if line.startswith(words)]
            return len(matching) >= self.heard[key]

        try:
            async with asyncio.timeout(WITHIN_S), self.changed:
                await self.changed.wait_for(is_there)
        except TimeoutError:
            return False
        return True


async def started(script: Sequence[str], python: Path) -> Client:
    """Start a client."""
    pipe = asyncio.subprocess.PIPE
    path = str(Path(__file__).parent / script[0])
    process = await asyncio.create_subprocess_exec(str(python), path, *script[1:], stdin=pipe, stdout=pipe)
    return Client(process)


async def played(client: Client, case: Case) -> str:
    """Play a case with a client and return what it said, or what went wrong (in bold)."""
    began, of_fault, missing = len(client.lines), 0, ""
    async with world() as it:
        for step in case.steps.split(", "):
            if step.startswith("hear "):
                if not await client.hear(step[5:]):
                    missing = step
                    break
            else:
                of_fault = len(client.lines) - began if step == "fault" else of_fault
                await act(client, it, case, step)
        said = client.lines[began:]
        is_alive = not missing and await is_served(client, it)
        client.tell("leave")
        await client.hear("left")
    troubles = [line.removeprefix("trouble ") for line in said if line.startswith("trouble")]
    if troubles and not case.is_unreadable:
        return f"**protocol error: {troubles[0]}**"
    if "gone" in said and not case.is_cut and not case.is_unreadable:
        return "**dropped**"
    if missing:
        return f"**no {missing.removeprefix('hear ')}**"
    if not is_alive:
        return "**it was not served afterwards**"
    said = [line for line in said[of_fault:] if line not in GREETING or f"hear {line}" in case.steps]
    return "ok: " + (f"cannot be read ({troubles[0].split()[0]}), " if troubles else "") + summary(said)


async def act(client: Client, it: World, case: Case, step: str) -> None:
    """Do one step that is not a wait."""
    match step:
        case "fault":
            client.begin()
            for fault in case.faults:
                it.server.inject(fault)
        case "move":
            client.begin()
            bid = it.market.quotes[it.market.call].bid_ticks
            it.market.set(it.market.call, 490 if bid == 500 else 500, 510)
        case "again":
            await dial_again(client, it)
        case "connect":
            dial(client, it)
        case "watch":
            await client.hear("connected")
            client.tell(f"watch {SESSION:%Y%m%d}")
        case "index":
            await client.hear("connected")
            client.tell(step)
        case _:
            client.tell(step)


def dial(client: Client, it: World) -> None:
    """Have the client connect."""
    client.connected = len(client.lines)
    client.tell(f"connect {it.port}")


async def dial_again(client: Client, it: World) -> bool:
    """Dial until the client is let in."""
    for _ in range(40):
        dial(client, it)
        if await client.hear("connected", "failed") and any(s == "connected" for s in client.lines[client.mark :]):
            return True
        await asyncio.sleep(0.1)
    return False


async def is_served(client: Client, it: World) -> bool:
    """Return whether the gateway still answers the client once the faults are over."""
    it.server.end_faults()
    if "gone" in client.lines[client.connected :]:
        await dial_again(client, it)
    client.tell("time")
    return await client.hear("time")


def summary(said: Sequence[str]) -> str:
    """Return codes and statuses in their order, how many executions and what was read."""
    words = [line for line in said if line.startswith(("code", "status"))]
    runs = [(word.split(" ")[1], len(list(run))) for word, run in groupby(words)]
    parts = [word if n == 1 else f"{word} ×{n}" for word, n in runs]
    executions = sum(line.startswith("execution") for line in said)
    if executions:
        parts.append("1 execution" if executions == 1 else f"{executions} executions")
    if "gone" in said:
        parts.append("gone, let in again")
    parts += [line for line in said if line.startswith(("read", "halted"))]
    if kinds := {line.split(" ")[1] for line in said if line.startswith("tick")} - {"1"}:
        parts.append(f"quotes of type {', '.join(sorted(kinds))}")
    return ", ".join(parts) or ("quotes" if any(line.startswith("tick") for line in said) else "nothing")


async def table(names: Sequence[str], wanted: Sequence[Case]) -> list[list[str]]:
    """Return a row for each case: what it is, and what each client said."""
    rows = [[case.what] for case in wanted]
    for name in names:
        script, python = CLIENTS[name]
        client = await started(script, python or OTHERS_PYTHON)
        following = asyncio.create_task(client.follow())
        try:
            for row, case in zip(rows, wanted, strict=True):
                row.append(await played(client, case))
        finally:
            assert client.process.stdin is not None
            client.process.stdin.close()
            await asyncio.wait_for(client.process.wait(), WITHIN_S)
            await following
    return rows


def run(scale: float = 1.0) -> Report:
    """Play every case with every client; `scale` below 1 leaves cases out."""
    report = Report(
        "client_faults", "Clients against every fault of the simulated gateway", "python -m benchmarks client_faults"
    )
    names = [name for name, (_, python) in CLIENTS.items() if (python or OTHERS_PYTHON).exists()]
    wanted = cases()[:: max(1, round(1 / scale))]
    rows = asyncio.run(table(names, wanted))
    wrong = sum("**" in cell for row in rows for cell in row)
    report.aim(
        "clients × faults with a protocol error, an unexplained cut or a message that did not come",
        "0", f"{wrong} of {len(rows) * len(names)}", wrong == 0,
    )  # fmt: skip
    report.table(
        "Each client unmodified in a process of its own, a fresh gateway for each case; what it heard while the fault"
        " lasted, in its own words: codes and statuses in their order (×n: n times in a row), executions, and how many"
        " orders, completed orders, positions and executions it read (-: not answered).",
        ["fault", *names], rows,
    )  # fmt: skip
    report.note(
        "A status that contradicts the broker (`Cancelled` after 105, 161, 321, 10147 or 10349, of an order that lives)"
        " is the library's own doing, and why none of its states is believed here."
    )
    if missing := sorted(set(CLIENTS) - set(names)):
        report.note(f"Not run: {', '.join(missing)}; `make test` sets up the environment ({OTHERS_PYTHON}).")
    return report
