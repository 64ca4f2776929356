"""A data folder to ask questions of: one trade, one entry without a fill, one refused attempt, a raised kill level."""

from __future__ import annotations

from pathlib import Path

import msgspec

from commands.folder import DataFolder
from domain.instants import MINUTE
from domain.instruments import Side
from domain.risk.kill import KillLevel
from domain.units import Utc
from messages import orders, risk, signals
from messages.base import SCHEMA, Message
from messages.envelope import Envelope, encode
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import SharedLedger, start_run
from tests.testkit import ledger_asks as ask

ACCOUNT = "DU7654321"  # what no answer may hold
MASKED = "DU***21"
REASON = f"news; the broker wrote about {ACCOUNT}"
RAISED = risk.RecordKill(
    level=KillLevel.NO_ENTRIES, kill_epoch=1, reason=REASON, by="somebody", at_utc=Utc(ask.T0 + MINUTE)
)


def asked_desk(root: Path) -> DataFolder:
    """Write it: the first trade is a call of 6,005 bought at 5.05 and sold at 4.50."""
    made = DataFolder(root)
    made.make()
    start_run(made.ledgers, ("paper",), ask.T0)
    shared = SharedLedger(made.ledgers, ("paper",))
    shared.open()
    for alert in (ask.alert(1), ask.alert(2), ask.alert(3)):
        shared.apply(alert, ask.T0)
    shared.apply(RAISED, ask.T0)
    desk = DeskLedger(made.ledgers, "paper", run_n=1)
    desk.open()
    for message in (
        ask.reserve(1),
        ask.execution(1, price_ticks=505),
        ask.position(1),
        ask.execution(1, exec_id="x.1", order_ref=ask.ref(1, "x1"), side=Side.SELL, price_ticks=450),
        ask.closed(1),
        ask.denial(2),
        ask.reserve(3),
        ask.abandoned(3),
    ):
        desk.apply(message, ask.T0)
    _trace(made)
    return made


def _trace(folder: DataFolder) -> None:
    """Write what the lane, the gates and the ledger were told of the first trade, in a trace's own lines."""
    fill = ask.fill(1, price_ticks=505)
    told: tuple[tuple[str, Message], ...] = (
        ("ledger", ask.alert(1)),
        ("risk:paper", signals.SignalRaised(intent=ask.intent(1))),
        ("ledger:paper", ask.reserve(1)),
        ("ledger:paper", orders.RecordExecution(execution=fill)),
        ("ledger", RAISED),
    )
    path = folder.trace(ask.DAY, 1)
    path.parent.mkdir(parents=True)
    lines = [f'{{"kind":"header","run_n":1,"code_version":"x","schema":{SCHEMA}}}'.encode()]
    for seq, (to, message) in enumerate(told, start=1):
        envelope = Envelope(
            seq=seq, at_utc=Utc(ask.T0 + seq), to=to, incarnation=1, inbox_n=seq, sender="test",
            message_id=f"1/test/{seq}", cause_seq=0, sent_utc=Utc(ask.T0 + seq), message=msgspec.Raw(encode(message)),
        )  # fmt: skip
        lines.append(msgspec.json.encode(envelope))
    path.write_bytes(b"\n".join((*lines, b"")))
