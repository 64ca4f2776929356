"""The common benchmark day through the desk: every trade is that of the plain rule, quote by quote."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.common_day import GENERATOR, day_file, run
from domain.instants import SECOND
from messages.envelope import Envelope
from supervision.trace import TraceReader
from tests.testkit.paths import ABSENT

OPEN = 1_778_851_800 * SECOND  # 2026-05-15 13:30 UTC
CONTRACTS, QUOTES = 3, 6_000


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """Write a small day in the benchmark's form: each contract's price jumps about its own level."""
    draw = np.random.default_rng(5)
    ts = OPEN + np.sort(draw.choice(23_000 * SECOND, QUOTES, replace=False)).astype(np.int64)
    inst = draw.integers(0, CONTRACTS, QUOTES).astype(np.int16)
    level = np.exp(np.cumsum(draw.standard_normal(QUOTES) * 0.03))
    bid = np.round(np.maximum(np.floor((1.0 + inst) * level / 0.05) * 0.05, 0.05), 2)
    sizes = draw.integers(5, 200, QUOTES).astype(np.int32)
    path = tmp_path / "day.npz"
    np.savez(path, ts=ts, inst=inst, bid=bid, ask=np.round(bid + 0.05, 2), bsz=sizes, asz=sizes)
    about = [{"symbol": f"X{n}", "right": "CP"[n % 2], "strike": 6000.0 + n} for n in range(CONTRACTS)]
    path.with_suffix(".json").write_text(
        json.dumps({"open_ns": OPEN, "close_ns": OPEN + 23_400 * SECOND, "inst": about})
    )
    return path


def plain(path: Path, threshold: float) -> tuple[int, str]:
    """Return the number of trades and their hash, by the rule alone, one quote after the other."""
    columns = np.load(path)
    about = json.loads(path.with_suffix(".json").read_text())["inst"]
    known = {n: [0.0, 0.0, 0, 0] for n in range(len(about))}  # mean, entry, entered, quiet until
    rows = []
    for ts, n, bid, ask in zip(*(columns[name].tolist() for name in ("ts", "inst", "bid", "ask")), strict=True):
        state, mid = known[n], (bid + ask) * 0.5
        state[0] = state[0] or mid
        state[0] += 0.01 * (mid - state[0])
        if not state[1]:
            if mid > threshold * state[0] and bid >= 0.5 and ts > state[3]:
                state[1], state[2] = ask, ts
                rows.append(f"{ts}{about[n]['symbol']}.CBOE114{ask}")
        elif bid >= 1.2 * state[1] or bid <= 0.88 * state[1] or ts - state[2] > 600 * SECOND:
            state[1], state[3] = 0.0, ts + 30 * SECOND
            rows.append(f"{ts}{about[n]['symbol']}.CBOE214{bid}")
    return len(rows), hashlib.sha256("".join(rows).encode()).hexdigest()[:12]


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [1.04, 1.25])
def test_every_trade_is_that_of_the_plain_rule(day: Path, threshold: float) -> None:
    found, (orders, digest) = run(day, threshold), plain(day, threshold)
    assert orders > 10
    assert (found.orders, found.trades_hash, found.denied) == (orders, digest, {})
    assert found.woken < QUOTES


@pytest.mark.slow
def test_the_day_trades_alike_with_every_message_on_record(day: Path, tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    bare, recorded = run(day, 1.25), run(day, 1.25, file)
    assert (recorded.trades_hash, recorded.messages) == (bare.trades_hash, bare.messages)
    reader = TraceReader(file)
    said = [record for record in reader if isinstance(record, Envelope)]
    assert not reader.torn
    assert sum(b"orders.SubmitOrder" in bytes(one.message) for one in said) == bare.orders
    with pytest.raises(FileExistsError):
        run(day, 1.25, file)


@pytest.mark.slow
@pytest.mark.skipif(not GENERATOR.exists(), reason=f"{ABSENT}the shared benchmark's generator")
def test_the_trades_of_the_common_day_are_the_benchmarks(tmp_path: Path) -> None:
    found = run(day_file(None, tmp_path), 1.25)
    assert (found.orders, found.trades_hash, found.pnl_usd) == (1_007, "aab05f64eebf", -770.0)
