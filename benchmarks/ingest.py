"""Ingest: frames a second that one process holds, cores at 500 a second, bytes a row, batch append beside the disk."""

from __future__ import annotations

import gc
import time
from datetime import time as clock_time
from pathlib import Path

from benchmarks.feed_load import STRIKES, FeedLoad
from benchmarks.figures import SPREAD, Report, fsync_floor_ns, ms, percentile, spread, work_folder
from config.settings import load_settings
from domain.instants import BUCKET_NS, at_exchange
from domain.profile import Row, Rows
from messages import market
from simulation.market import Market
from storage.warehouse import Warehouse

RATES = (500, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000)
HELD_SHARE = 0.98
HUB_P99_MS = 5.0
CORES_AT_500 = 0.15
FRAMES_AIM = 4_000


def run(scale: float = 1.0) -> Report:
    """Measure; `scale` below 1 shortens."""
    report = Report("ingest", "Ingest and the warehouse", "python -m benchmarks ingest")
    _frames(report, scale)
    with work_folder() as folder:
        _batches(report, folder, max(4, round(120 * scale)))
    return report


def _frames(report: Report, scale: float) -> None:
    rows, held, cores_at_500, seals = [], 0.0, float("nan"), []
    with FeedLoad() as load:
        load.rate(500)
        time.sleep(1.0 * scale)
        gc.collect()
        gc.freeze()
        for rate in RATES:
            load.rate(rate)
            time.sleep(1.0 * scale)
            load.rate(rate)
            cpu_s, began = time.process_time(), time.perf_counter()
            time.sleep((8.0 if rate == RATES[0] else 5.0) * scale)
            written, due = load.timed()
            took_s = time.perf_counter() - began
            cores = (time.process_time() - cpu_s) / took_s
            generator = load.report()
            got = len(written) / took_s
            p99_ms = percentile(written, 99) / 1e6
            is_held = got >= HELD_SHARE * rate and p99_ms <= HUB_P99_MS
            if rate == RATES[0]:
                cores_at_500 = cores
            held = max(held, got) if is_held else held
            rows.append(
                [rate, f"{got:,.0f}", f"{percentile(written, 50) / 1e6:.2f}", f"{p99_ms:.2f}", ms(max(written)),
                 f"{percentile(due, 99) / 1e6:.2f}", f"{cores:.2f}", f"{cores / max(got, 1) * 1e6:.0f}",
                 f"{generator['cores']:.2f}", "yes" if is_held else "no"]
            )  # fmt: skip
        load.rate(500)
        time.sleep(1.0 * scale)
        seals.append(load.seal())
        groups, frame_bytes = load.groups, load.frame_bytes
    report.table(
        f"Five hub ports in one process, frames of {STRIKES} strikes and {frame_bytes:,.0f} bytes of base64 from a "
        f"child process ({groups} groups); time from the generator's write to the folded frame.",
        ["frames/s asked", "taken", "p50 ms", "p99 ms", "max ms", "p99 after due ms", "cores", "µs/frame",
         "generator's cores", "held"],
        rows,
    )  # fmt: skip
    report.aim("frames/s held with hub p99 ≤ 5 ms", f"≥ {FRAMES_AIM:,}", f"{held:,.0f}", held >= FRAMES_AIM * 0.98)
    report.aim("cores at 500 frames/s", f"≤ {CORES_AT_500}", f"{cores_at_500:.3f}", cores_at_500 <= CORES_AT_500)
    sealed, took = seals[0]
    report.note(f"Closing a bucket of {sealed} rows at all hubs at once, decoding included, took {took * 1e3:.1f} ms.")
    report.note("The generator runs on the same cores; its share is in the table, so the last rows are its limit too.")


def _batches(report: Report, folder: Path, n: int) -> None:
    """Store buckets hub by hub, as the warehouse actor does; each beside a plain write of as many bytes."""
    settings = load_settings(profile="demo")
    world = Market(settings.demo.seed, settings.demo.session, settings.tickers)
    store = Warehouse(folder / "warehouse")
    store.open()
    first_utc = at_exchange(settings.demo.session, clock_time(11))
    took: list[int] = []
    floors: list[int] = []
    rows_n = bytes_n = 0
    sessions = folder / "warehouse"
    for i in range(n):
        bucket_utc = first_utc + i * BUCKET_NS
        world.step(bucket_utc + BUCKET_NS - 1_000_000_000)
        before = set(sessions.rglob("*.parquet"))
        for hub, categories in settings.feed.hubs.items():
            batch = _batch(world, hub, settings.tickers, categories, bucket_utc)
            began = time.perf_counter_ns()
            store.take(batch)
            store.flush()
            took.append(time.perf_counter_ns() - began)
            rows_n += len(batch.rows.rows)
        new = [path.stat().st_size for path in sessions.rglob("*.parquet") if path not in before]
        bytes_n += sum(new)
        for _ in settings.feed.hubs:
            floors += fsync_floor_ns(folder, sum(new) // len(settings.feed.hubs), 1)
    seal_began_s = time.perf_counter()
    store.start_seal(settings.demo.session)
    while (sealed := store.poll_seal()) is None:
        time.sleep(0.02)
    seal_s = time.perf_counter() - seal_began_s
    sealed_bytes = sum(path.stat().st_size for path in sessions.rglob("sealed-*.parquet"))
    store.close()
    report.table(
        f"Append of one hub's bucket ({rows_n / len(took):.0f} rows on average) until it is durable and named, "
        f"n = {len(took)}; the floor writes and fsyncs one new file of as many bytes.",
        ["what", *SPREAD],
        [["batch append", *spread(took)], ["floor: write + fsync", *spread(floors)]],
    )
    report.aim(
        "batch append beside the disk's floor (p50, p99)", "reported",
        f"{percentile(took, 50) / percentile(floors, 50):.0f} ×, "
        f"{percentile(took, 99) / percentile(floors, 99):.1f} × the floor", True,
    )  # fmt: skip
    kept = "" if sealed == "" else f" (the seal failed: {sealed})"
    report.aim(
        "bytes a row", "reported",
        f"{bytes_n / rows_n:,.0f} hot, {sealed_bytes / rows_n:,.0f} sealed{kept}", True,
    )  # fmt: skip
    report.note(f"Sealing those {rows_n:,} rows in its child process took {seal_s:.1f} s.")


def _batch(
    world: Market, hub: str, tickers: tuple[str, ...], categories: tuple[str, ...], bucket_utc: int
) -> market.StoreBucket:
    profiles = [world.profile(ticker, category) for ticker in tickers for category in categories]
    rows = tuple(
        Row(profile=p, hub=hub, frames=30, first_utc=bucket_utc, last_utc=p.source_utc, sequence=1) for p in profiles
    )
    return market.StoreBucket(
        hub=hub, bucket_utc=bucket_utc, rows=Rows(f"{hub}/{bucket_utc}", rows), absent=(), why_absent="silent",
        counts=market.FrameCounts(accepted=30 * len(rows)),
    )  # fmt: skip
