"""A child of `system_day`: records a day of 39 tickers into a data folder, or backtests it on all lanes.

Four tickers of the simulated market are recorded; the others are theirs again under names of their own, with their
rows, readings and prices, and a chain every five minutes: what a desk keeps whose lines are taken by the first four.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from msgspec.structs import replace

from config.settings import Settings, load_settings
from domain.instants import BUCKET_NS, MINUTE
from domain.options.profile import Profile, Row, Rows
from domain.session import calendar
from domain.units import Cents, Utc
from messages import market
from simulation.backtest.model import FillModel
from simulation.backtest.run import Backtest, hash_of
from simulation.days.sweep import quick_folder
from simulation.recording import record_day, seal_rows
from storage.series_rows import BARS, CHAINS, DERIVED, MODES, QUOTES, READINGS, UNDERLYINGS
from storage.warehouse import Warehouse
from storage.warehouse_reader import WarehouseReader

SESSION: Final = date(2026, 11, 20)
RECORDED: Final = ("SPX", "SPY", "QQQ", "IWM")
TICKERS_N: Final = 39
NAV_CENTS: Final = Cents(30_000_000)
CHAIN_EVERY_NS: Final = 5 * MINUTE
OTHERS: Final = {f"T{n:02d}": RECORDED[1 + n % 3] for n in range(len(RECORDED), TICKERS_N)}  # by the one that each is


def settings_of(tickers: tuple[str, ...]) -> Settings:
    """Return a demo day without its outages, all of whose tickers are watched by all lanes."""
    named = {} if len(tickers) == len(RECORDED) else {"ticker_rules": _rules()}
    return load_settings(
        None, "demo",
        {
            "tickers": tickers, "lanes": {"gexwatch": tickers, "advisor": tickers},
            "warehouse": {"chain_every_ms": 5_000},
            "demo": {
                "session": SESSION.isoformat(), "seed": 100, "start_clock": "09:20:00", "gateway_drop_s": 0,
                "hub_drop_s": 0,
            },
            **named,
        },
    )  # fmt: skip


def _rules() -> dict[str, Any]:
    """Return the rules of the others: those of the ticker that each is, with a trading class of its own."""
    known = json.loads(load_settings(None, "demo").to_json())["ticker_rules"]
    return {name: {**known[ticker], "trading_class": name} for name, ticker in OTHERS.items()}


def record(folder: Path, share: float) -> None:
    """Play the first share of a day of four tickers into a data folder, and widen it."""
    day = calendar.day(SESSION)
    assert day is not None
    until_utc = None if share >= 1 else Utc(day.open_utc + round(share * (day.close_utc - day.open_utc)))
    with tempfile.TemporaryDirectory() as name:
        record_day(settings_of(RECORDED), Path(name), until_utc)
        _widen_series(Path(name, "series", SESSION.isoformat()), folder / "series" / SESSION.isoformat())
        _widen_rows(Path(name, "warehouse"), folder / "warehouse", day.open_utc, day.buckets)


def _widen_series(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for kind in (READINGS, QUOTES, CHAINS, UNDERLYINGS, BARS, MODES, DERIVED):
        path = source / f"{kind}.parquet"
        if not path.exists():
            continue
        whole = pq.read_table(path)
        pieces = [whole]
        if kind in (READINGS, CHAINS, UNDERLYINGS):
            pieces += [_renamed(whole, kind, ticker, name) for name, ticker in OTHERS.items()]
        pq.write_table(pa.concat_tables(pieces), target / path.name, compression="zstd")


def _renamed(whole: pa.Table, kind: str, ticker: str, name: str) -> pa.Table:
    """Return a ticker's lines as those of another."""
    own = whole.filter(pc.equal(whole["ticker"], ticker))
    words = {"ticker": name}
    if kind == CHAINS:
        read_utc = own["at_utc"].to_numpy()
        _, first = np.unique(read_utc // CHAIN_EVERY_NS, return_index=True)
        own = own.filter(pa.array(np.isin(read_utc, read_utc[first])))
        own = own.set_column(own.column_names.index("con_id"), "con_id", pa.nulls(own.num_rows, pa.int64()))
        words["trading_class"] = name
    for column, word in words.items():
        own = own.set_column(own.column_names.index(column), column, pa.repeat(pa.scalar(word), own.num_rows))
    return own


def _widen_rows(source: Path, target: Path, open_utc: Utc, buckets_n: int) -> None:
    reader, warehouse = WarehouseReader(source, is_past=True), Warehouse(target, is_durable=False, seals=False)
    warehouse.open()
    for bucket_utc in range(open_utc, open_utc + buckets_n * BUCKET_NS, BUCKET_NS):
        for hub in reader.manifest(SESSION).buckets:
            found = reader.read_bucket(SESSION, hub, Utc(bucket_utc))
            own = () if found is None else found.rows
            more = [_as(row, name) for name, ticker in OTHERS.items() for row in own if row.profile.ticker == ticker]
            rows = Rows(f"{hub}/{bucket_utc}", (*own, *more))
            if own:
                warehouse.take(
                    market.StoreBucket(
                        hub=hub, bucket_utc=Utc(bucket_utc), rows=rows, absent=(), why_absent="",
                        counts=market.FrameCounts(accepted=len(rows.rows)),
                    )
                )  # fmt: skip
        warehouse.flush()
    warehouse.close()
    seal_rows(target, SESSION)


def _as(row: Row, name: str) -> Row:
    own = row.profile
    return replace(row, profile=Profile(
        name, own.category, own.source_utc, own.spot, own.scalars, own.strikes, own.values, own.priors,
    ))  # fmt: skip


def backtest(folder: Path) -> None:
    """Backtest the day; print what it took and what it came to."""
    settings = settings_of((*RECORDED, *OTHERS))
    began = time.process_time()
    with tempfile.TemporaryDirectory(dir=quick_folder()) as ledgers:
        run = Backtest(
            settings, folder / "series", folder / "warehouse", dict.fromkeys(settings.lanes, settings.promoted),
            FillModel(), NAV_CENTS, Path(ledgers),
        )  # fmt: skip
        (day,) = run.days((SESSION,))
    print(
        json.dumps({
            "cpu_s": round(time.process_time() - began, 2), "messages": day.messages, "rows": day.rows,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "alerts": day.alerts,
            "trades": len(day.trades), "refused": sum(day.refused.values()), "quotes": day.quotes,
            "hash": hash_of((day,)), "damaged": day.damaged, "crashed": day.crashed,
        })
    )  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1] == "record":
        record(Path(sys.argv[2]), float(sys.argv[3]))
    else:
        backtest(Path(sys.argv[2]))
