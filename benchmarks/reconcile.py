"""Reconcile: from a link that is up again to the end of the reconciliation, with 50 working orders at the broker.

The orders bear references of this desk that its ledger does not know, as after a lost file: the worst of their kind.
"""

from __future__ import annotations

import time
from pathlib import Path

import orjson

from benchmarks.figures import SPREAD, Report, percentile, spread, work_folder
from benchmarks.rig import Rig
from domain.session.modes import Mode
from supervision.trace import lines_of

OPEN_ORDERS = 50
ROUNDS = 12
OUTAGE_S = 0.5
BACK_S = 120.0


def run(scale: float = 1.0) -> Report:
    """Measure; `scale` below 1 shortens."""
    report = Report("reconcile", "Reconciliation after a reconnect", "python -m benchmarks reconcile")
    rounds = max(2, round(ROUNDS * scale))
    with work_folder() as folder:
        rig = Rig(folder, has_quotes_port=True, gateway="exits_child")
        try:
            left = [leave_and_drop(rig, OPEN_ORDERS if n % 2 == 0 else 0) for n in range(rounds)]
        finally:
            rig.close()
        took = reconciliations(folder / "trace.jsonl")[-rounds:]
    with_orders = [ns for ns, n in zip(took, left, strict=True) if n]
    without = [ns for ns, n in zip(took, left, strict=True) if not n]
    worst = max(with_orders, default=float("nan")) / 1e9
    report.aim(
        f"reconciled after a reconnect with {OPEN_ORDERS} working orders (slowest)",
        "≤ 1 s",
        f"{worst:.2f} s",
        worst <= 1,
    )
    report.table(
        "From `LinkUp` in the order session's mailbox to `ReconcileFinished`, read-back and the ledger's comparison in "
        "it; in turns.",
        ["working orders at the broker", "n", *SPREAD],
        [[OPEN_ORDERS, len(with_orders), *spread(with_orders)], [0, len(without), *spread(without)]],
    )
    ratio = percentile(with_orders, 50) / percentile(without, 50)
    report.note(f"Median beside the same without orders: {ratio:.1f} ×.")
    return report


def leave_and_drop(rig: Rig, orders: int) -> int:
    """Leave working orders at the broker, cut the link, and wait until it is reconciled; return how many there were."""
    rig.gateway.drain()
    rig.gateway.tell(f"orders {orders}")
    left = int(rig.gateway.next()["open"])
    rig.gateway.tell(f"drop {OUTAGE_S}")
    rig.wait(lambda: rig.view().reconciled_utc is None or rig.view().mode is not Mode.FULLY_LIVE, BACK_S)
    rig.wait(lambda: rig.view().mode is Mode.FULLY_LIVE, BACK_S)
    time.sleep(0.5)
    return left


def reconciliations(trace: Path) -> list[int]:
    """Return how long each reconciliation took, ns."""
    took, up_utc = [], 0
    for line in lines_of(trace):
        record = orjson.loads(line)
        if record["kind"] != "envelope":
            continue
        tag = record["message"]["type"]
        if tag == "broker.LinkUp" and record["to"].startswith("ibkr:"):
            up_utc = record["sent_utc"]
        elif tag == "session.ReconcileFinished" and up_utc:
            took.append(record["sent_utc"] - up_utc)
            up_utc = 0
    return took
