"""Gamma of a chain of 20,000 contracts on a grid of 200 spots, and history objects imported a second: CPU time."""

from __future__ import annotations

import gc
import io
import json
import time
from collections.abc import Callable
from datetime import date
from datetime import time as wall

import numpy as np

from benchmarks.figures import Report, percentile
from domain.instants import MINUTE, SECOND, at_exchange
from domain.options.chain_gamma import GRID_POINTS, ChainGamma, ChainQuotes, gamma_of
from gateways.gexbot.history import objects_in
from gateways.gexbot.history_days import folded

CONTRACTS, STRIKES_N, OBJECTS, ROUNDS = 20_000, 140, 20_000, 5
GAMMA_AIM_S, IMPORT_AIM = 0.3, 8_000
SESSION = date(2026, 11, 20)
OPEN = at_exchange(SESSION, wall(9, 30))


def run(scale: float = 1.0) -> Report:
    """Return what was measured; `scale` below 1 shrinks chain and file."""
    report = Report("chain", "Chain gamma and history import", "python -m benchmarks chain")
    contracts, objects = max(400, round(CONTRACTS * scale)), max(200, round(OBJECTS * scale))
    quotes = _chain(contracts)
    seconds = [_cpu_s(lambda: gamma_of(quotes, 6_000.0, OPEN)) for _ in range(ROUNDS)]
    report.aim(
        f"gamma of {contracts:,} contracts, {GRID_POINTS} spots, all levels refined", f"≤ {GAMMA_AIM_S} s",
        f"{percentile(seconds, 50):.3f} s", percentile(seconds, 50) <= GAMMA_AIM_S,
    )  # fmt: skip
    found = gamma_of(quotes, 6_000.0, OPEN)
    if isinstance(found, ChainGamma):
        report.note(f"The chain has {len(found.expiries)} expiries and {len(found.crossings)} levels of zero gamma.")
    data = _history(objects)
    spent = [_cpu_s(lambda: folded(objects_in(io.BytesIO(data)), "SPX", "classic_gex_zero", "classic")) for _ in (1, 2)]
    rate = objects / min(spent)
    size = len(data) / objects / 1_024
    report.aim("history objects a second a core", f"≥ {IMPORT_AIM:,}", f"{rate:,.0f}", rate >= IMPORT_AIM)
    report.note(
        f"An object has {STRIKES_N} strikes and {size:.1f} KB; split, checked, folded, the last of a bucket read."
    )
    return report


def _cpu_s(work: Callable[[], object]) -> float:
    gc.collect()
    began = time.process_time()
    work()
    return time.process_time() - began


def _chain(n: int) -> ChainQuotes:
    rng = np.random.default_rng(1)
    per_expiry = 250
    days = np.repeat(np.arange(-(-n // per_expiry)), per_expiry)[:n] + 0.25
    none = np.full(n, np.nan)
    strikes = np.tile(np.arange(3_500.0, 8_500.0, 40.0).repeat(2), -(-n // per_expiry))[:n]
    return ChainQuotes(
        symbol="SPX", at_utc=OPEN, spot=6_000.0, strikes=strikes,
        is_call=np.arange(n) % 2 == 0, expiry_utc=(OPEN + days * 1_440 * MINUTE).astype(np.int64),
        open_interest=rng.integers(0, 5_000, n).astype(np.float64), volume=rng.integers(0, 500, n).astype(np.float64),
        iv=0.15 + 0.1 * rng.random(n), bid=none, ask=none,
    )  # fmt: skip


def _history(n: int) -> bytes:
    rng = np.random.default_rng(2)
    strikes = [
        [6_000 + 5 * k, *rng.normal(0, 30, 2).round(2).tolist(), rng.normal(0, 30, 5).round(2).tolist()]
        for k in range(STRIKES_N)
    ]
    session_s = 390 * 60
    rows = [
        {
            "timestamp": OPEN // SECOND + k * session_s // n, "ticker": "SPX", "spot": 6_000.25, "zero_gamma": 5_990,
            "major_pos_vol": 6_050, "major_pos_oi": 6_100, "major_neg_vol": 5_900, "major_neg_oi": 5_850,
            "strikes": strikes, "sum_gex_vol": 1.5, "sum_gex_oi": -2.5, "delta_risk_reversal": 0.1,
            "max_priors": [[6_000, 1.5]] * 6,
        }
        for k in range(n)
    ]  # fmt: skip
    return json.dumps(rows).encode()
