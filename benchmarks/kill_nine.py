"""kill -9 of the supervisor at random instants of demo days; counts what was lost or doubled (nothing may be).

    python -m benchmarks.kill_nine --kills 50 [--seed 1] [--data FOLDER]

Half of the kills come a random moment after an order event, the others at any time. Market and broker stand in
processes of their own; before the close a client of its own asks the simulated broker for the whole truth.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import date
from datetime import time as clock_time
from pathlib import Path
from typing import Any

import orjson
from ib_insync import IB

from commands.folder import DataFolder
from commands.report import facts
from config.settings import Settings, load_settings
from domain.instants import SECOND, at_exchange
from domain.units import Utc
from storage.queries import LedgerReader
from supervision.clock import MarketClock

ROOT = Path(__file__).resolve().parent.parent
TRUTH_CLIENT_ID = 77


class Child:
    """One supervisor process and what it prints."""

    def __init__(self, data: Path) -> None:
        self.lines: list[str] = []
        self.order_event = threading.Event()
        self.process = subprocess.Popen(
            [sys.executable, "-u", str(ROOT / "main.py"), "--data", str(data), "run"],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if any(word in line for word in ("Approved", "Opened", "Closed")):
                self.order_event.set()


def play(data: Path, kills: int, source: random.Random) -> dict[str, Any]:
    """Play one demo day with up to `kills` kills; return what the end looks like."""
    settings = load_settings(profile="demo", overrides={"data_dir": str(data)})
    folder = DataFolder(data)
    close_utc = at_exchange(settings.demo.session, clock_time(16, 0))
    killed = 0
    child = Child(data)
    truth: dict[str, Any] | None = None
    try:
        while child.process.poll() is None:
            clock = _clock(folder)
            if clock is not None and clock.now_utc() > close_utc - 600 * SECOND:
                break
            if killed >= kills:
                time.sleep(0.2)
                continue
            _wait(child, source)
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGKILL)
                child.process.wait()
                killed += 1
                child = Child(data)
        truth = _broker_truth(folder, close_utc)
        code = child.process.wait(timeout=120)
        child.reader.join(5)
    finally:
        if child.process.poll() is None:
            child.process.terminate()
    return {"killed": killed, "exit_code": code, "tail": child.lines[-40:], **_verdict(settings, folder, truth)}


def _wait(child: Child, source: random.Random) -> None:
    """Wait for the next instant to kill at: soon after an order event, or anywhere."""
    if source.random() < 0.5:
        child.order_event.clear()
        child.order_event.wait(timeout=12.0)
        time.sleep(source.uniform(0.0, 0.4))
    else:
        time.sleep(source.uniform(0.3, 6.0))


def _clock(folder: DataFolder) -> MarketClock | None:
    try:
        return MarketClock.load(folder.clock)
    except OSError:
        return None


def _broker_truth(folder: DataFolder, close_utc: Utc) -> dict[str, Any]:
    """Return what the broker reports shortly before the close: executions, working orders, positions."""
    clock, gateway = _clock(folder), folder.sim("gateway")
    assert clock is not None and gateway is not None, "market and broker must outlive the supervisor"
    time.sleep(max(0.0, clock.real_wait_s(close_utc - 120 * SECOND)))
    ib = IB()
    ib.connect("127.0.0.1", gateway.port, clientId=TRUTH_CLIENT_ID, timeout=10)
    fills = ib.reqExecutions()
    found = {
        "executions": [
            {"exec_id": f.execution.execId, "ref": f.execution.orderRef, "perm_id": f.execution.permId,
             "side": f.execution.side, "qty": f.execution.shares, "con_id": f.contract.conId}
            for f in fills
        ],
        "working": [t.order.orderRef for t in ib.reqAllOpenOrders() if t.isActive()],
        "positions": [{"con_id": p.contract.conId, "qty": p.position} for p in ib.positions() if p.position],
    }  # fmt: skip
    ib.disconnect()
    return found


def _verdict(settings: Settings, folder: DataFolder, truth: dict[str, Any]) -> dict[str, Any]:
    session: date = settings.demo.session
    ours = {row["exec_id"] for row in LedgerReader(folder.ledgers, settings.desk).executions(session)}
    theirs = {e["exec_id"].rpartition(".")[0] for e in truth["executions"]}
    perm_ids: dict[str, set[int]] = {}
    for execution in truth["executions"]:
        perm_ids.setdefault(execution["ref"], set()).add(execution["perm_id"])
    report = facts(settings, folder, session)
    return {
        "orders_filled": len(perm_ids),
        "executions": len(theirs),
        "lost": len(theirs - ours),
        "invented": len(ours - theirs),
        "sent_twice": sum(len(ids) > 1 for ids in perm_ids.values()),
        "held_at_close": truth["positions"],
        "working_at_close": truth["working"],
        "is_flat": report["is_flat"],
        "readings_doubled": report["readings"]["doubled"],
        "trades": len(report["trades"]),
        "starts": len(report["runs"]),
    }


def main() -> int:
    """Play days until the kills are done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--per-day", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    source = random.Random(arguments.seed)
    totals: Counter[str] = Counter()
    days = []
    while totals["killed"] < arguments.kills:
        data = arguments.data or Path(tempfile.mkdtemp(prefix="zerohour-kill-"))
        left = arguments.kills - totals["killed"]
        day = play(data, min(arguments.per_day, left), source)
        print(orjson.dumps({k: v for k, v in day.items() if k != "tail"}).decode(), flush=True)
        for name in ("killed", "executions", "lost", "invented", "sent_twice", "trades", "readings_doubled"):
            totals[name] += day[name]
        days.append(day)
        is_bad = (
            day["lost"] or day["invented"] or day["sent_twice"] or day["held_at_close"] or not day["is_flat"]
            or day["exit_code"]
        )  # fmt: skip
        if is_bad:
            print("\n".join(day["tail"]))
            print(f"seed {arguments.seed}; data kept in {data}")
            return 1
        if arguments.data is None:
            shutil.rmtree(data, ignore_errors=True)
    print(orjson.dumps(dict(totals)).decode())
    return 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
