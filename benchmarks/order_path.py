"""Order path: from the last hub's marker of a bucket to the order's bytes at the gateway's socket.

One trial: a bucket closes, a lane flips, the entry passes every gate, its order reaches the gateway's process, which
rejects it so that the next one finds an empty desk. Chains are whole and model greeks stale (`rig.QuotePump`). Waits
for ticks and for the disk are taken out and shown apart; a trial that places no order counts as one that took
`TRIAL_S`. Every instant but the last is the trace's own; the last is taken in the gateway's `data_received`.

An idle virtual processor halts, and comes back with cold caches: a scenario of its own keeps them from it, where the
kernel lets us (`AWAKE`).
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from benchmarks.feed_load import STRIKES, FeedLoad
from benchmarks.figures import SPREAD, Report, append_floor_ns, commit_floor_ns, ms, percentile, spread, work_folder
from benchmarks.hops import hop_floor_ns
from benchmarks.rig import Rig
from domain.options.profile import Rows
from domain.units import Utc
from messages import market
from supervision.trace import lines_of

FRAMES_A_SECOND = 500
IDLE_S = 0.025
ROUNDS = 10
UP, DOWN = 1, -1
AWAKE = Path("/dev/cpu_dma_latency")  # while it is open and holds 0, idle processors poll (kernel: PM QoS)
FLOORS = (
    "one SQLite commit, WAL FULL, one row",
    "one append of 600 bytes with fdatasync",
    "one hop between two actors of the live runtime, no trace",
)
TRIAL_S = 4.0
SYNC_THREAD = "sync"  # the live runtime's own; what it waits for delays nobody
# By scenario: frames a second, trials in a row (a multiple of the eight tickers), what it is.
SCENARIOS = {
    "idle": (0, 24, "one ticker closes, no frames"),
    "one": (FRAMES_A_SECOND, 24, "one ticker closes"),
    "awake": (FRAMES_A_SECOND, 24, "one ticker closes, idle processors poll"),
    "eight": (FRAMES_A_SECOND, 16, "eight close at once, ours at a rotating place"),
    "stored": (FRAMES_A_SECOND, 8, "as before, through the hub actors; the warehouse stores the five batches"),
}
if not os.access(AWAKE, os.W_OK):
    del SCENARIOS["awake"]
# (segment, tag at whose dequeue it ends), in causal order; it begins where the one before ends.
CHAIN = (
    ("hop to the reading", "market.HubClosed"),
    ("reading: features, forces", "signals.FeaturesComputed"),
    ("lane", "signals.RecordAlert"),
    ("alert's record (with its commit)", "signals.AlertRecorded"),
    ("lane, then the standing gates", "market.RequestContracts"),
    ("wait for a ticker's first quotes", ""),
    ("contract choice", "market.ContractsOffered"),
    ("gates of the contract and the size", "market.RequestQuote"),
    ("wait for a tick", ""),
    ("tick to risk", "market.QuoteRead"),
    ("gates of the fresh quote, last look", "entries.ReserveEntry"),
    ("reservation (with its commit)", "entries.EntryReserved"),
    ("hand-over", "entries.OpenPosition"),
    ("position", "orders.SubmitOrder"),
    ("ibkr", "broker.PlaceOrder"),
    ("trace sync", ""),
    ("port, encoding, socket", ""),
)

# What may be answered by a tick that comes later: the answer, and the request that it belongs to.
REQUESTS = {"market.QuoteRead": "market.RequestQuote", "market.ContractsOffered": "market.RequestContracts"}

Chain = dict[str, dict[str, Any]]  # by tag, the envelope of a trial that bore it
Requests = dict[tuple[str, str], dict[str, Any]]  # by tag and request id


@dataclass
class Trial:
    """One order: where its bucket was, when the burst began (eight at once), when its bytes arrived (real ns)."""

    scenario: str
    ticker: str
    bucket_utc: int
    began_ns: int
    arrived_ns: int


@dataclass
class Way:
    """What one trial took, ns: segments in the order of CHAIN, the total, its waits (`tick`: for ticks)."""

    segments: list[int]
    total: int
    tick: int
    commits: int
    trace_sync: int

    @property
    def net(self) -> int:
        """The total without the waits for ticks and for the disk."""
        return self.total - self.tick - self.commits - self.trace_sync


@dataclass
class Measured:
    """All trials and what became of them; `lost` says by scenario why a trial placed no order."""

    trials: list[Trial] = field(default_factory=list)
    lost: dict[str, list[str]] = field(default_factory=dict)


def run(scale: float = 1.0) -> Report:
    """Measure; `scale` below 1 shortens."""
    report = Report("order_path", "Order path: bucket close to bytes at the gateway", "python -m benchmarks order_path")
    measured = Measured()
    with work_folder() as folder, FeedLoad() as load:
        rig = Rig(folder, rejects=1_200)
        try:
            for ticker in rig.settings.tickers:
                close_one(rig, ticker, DOWN)
            _warm(rig, measured)
            floors: dict[str, list[int]] = {name: [] for name in FLOORS}
            for n in range(max(1, round(ROUNDS * scale))):
                for scenario, (rate, _, _) in SCENARIOS.items():
                    load.rate(rate)
                    with _awake() if scenario == "awake" else contextlib.nullcontext():
                        time.sleep(0.3)
                        _block(rig, scenario, measured)
                load.rate(0)
                _take_floors(folder / f"floors-{n}", floors)
        finally:
            rig.close()
        paths = _paths(rig, folder / "trace.jsonl", measured)
    _write(report, paths, floors, measured)
    return report


@contextlib.contextmanager
def _awake() -> Iterator[None]:
    """Have idle processors poll instead of halting."""
    with AWAKE.open("wb", buffering=0) as device:
        device.write(struct.pack("<i", 0))
        yield


def _take_floors(folder: Path, floors: dict[str, list[int]]) -> None:
    """Measure the floors once more, between the rounds, so that they and the trials see the same machine."""
    folder.mkdir()
    for name, found in zip(
        FLOORS, (commit_floor_ns(folder, 20), append_floor_ns(folder, 20), hop_floor_ns(200)), strict=True
    ):
        floors[name] += found


# -- driving ------------------------------------------------------------------------------------


def close_one(rig: Rig, ticker: str, side: int) -> tuple[Utc, int]:
    """Close a ticker's next bucket; return the bucket and the instant before the last marker (real ns)."""
    bucket_utc, rows = rig.take_bucket(ticker), rig.rows(ticker, side)
    *early, last = rows
    for hub in early:
        rig.hand_over(hub, ticker, bucket_utc, rows[hub])
    time.sleep(IDLE_S)
    began_ns = time.time_ns()
    rig.hand_over(last, ticker, bucket_utc, rows[last])
    return bucket_utc, began_ns


def _close_eight(rig: Rig, ours: str, side: int) -> tuple[Utc, int]:
    """Close the same bucket of every ticker; the last hub closes it for all of them in one go."""
    tickers = rig.settings.tickers
    rows = {ticker: rig.rows(ticker, side if ticker == ours else DOWN) for ticker in tickers}
    buckets = {rig.take_bucket(ticker) for ticker in tickers}
    (bucket_utc,) = buckets
    *early, last = rows[ours]
    for hub in early:
        for ticker in tickers:
            rig.hand_over(hub, ticker, bucket_utc, rows[ticker][hub])
    time.sleep(IDLE_S)
    began_ns = time.time_ns()
    for ticker in tickers:
        rig.hand_over(last, ticker, bucket_utc, rows[ticker][last])
    return bucket_utc, began_ns


def _close_stored(rig: Rig, ours: str, side: int) -> tuple[Utc, int]:
    """Let the five hub actors hand the bucket on and have it stored; none waits for another."""
    tickers = rig.settings.tickers
    rows = {ticker: rig.rows(ticker, side if ticker == ours else DOWN) for ticker in tickers}
    buckets = {rig.take_bucket(ticker) for ticker in tickers}
    (bucket_utc,) = buckets
    sealed = [
        market.BucketSealed(
            hub=hub, bucket_utc=bucket_utc, absent=(), counts=market.FrameCounts(accepted=1),
            rows=Rows(f"{hub}/{bucket_utc}", tuple(row for ticker in tickers for row in rows[ticker][hub].rows)),
        )
        for hub in rows[ours]
    ]  # fmt: skip
    time.sleep(IDLE_S)
    for message in sealed:
        rig.runtime.post(f"hub:{message.hub}", message, f"port:hub:{message.hub}")
    return bucket_utc, 0


def _warm(rig: Rig, measured: Measured) -> None:
    """Enter every contract once: an option's first entry also starts its position's actor."""
    for ticker in rig.settings.tickers:
        _trial(rig, "first", ticker, measured)


def _block(rig: Rig, scenario: str, measured: Measured) -> None:
    for i in range(SCENARIOS[scenario][1]):
        _trial(rig, scenario, rig.settings.tickers[i % len(rig.settings.tickers)], measured)


def _trial(rig: Rig, scenario: str, ticker: str, measured: Measured) -> None:
    """Cross zero gamma downwards (let go: the last alert still cools), then upwards, and wait for the order."""
    rig.gateway.drain()
    close = {"eight": _close_eight, "stored": _close_stored}.get(scenario, close_one)
    close(rig, ticker, DOWN)
    bucket_utc, began_ns = close(rig, ticker, UP)
    try:
        arrived_ns = int(rig.gateway.next(TRIAL_S)["order_at_ns"])
    except RuntimeError:
        lane = rig.runtime.cells[f"lane:gexwatch:{ticker}"].state
        measured.lost.setdefault(scenario, []).append(f"{scenario} {ticker}: {lane.last_answer}")
        rig.wait(rig.is_idle, TRIAL_S)
        return
    measured.trials.append(Trial(scenario, ticker, bucket_utc, began_ns, arrived_ns))
    rig.wait(rig.is_idle, TRIAL_S)
    time.sleep(IDLE_S)


# -- reading the trace --------------------------------------------------------------------------


def _paths(rig: Rig, trace: Path, measured: Measured) -> dict[str, list[Way]]:
    envelopes: dict[int, dict[str, Any]] = {}
    requests: Requests = {}
    placed: dict[tuple[str, int], tuple[dict[str, Any], Chain]] = {}
    for line in lines_of(trace):
        record = orjson.loads(line)
        if record["kind"] != "envelope":
            continue
        record["tag"] = record["message"]["type"]
        if not record["to"].startswith("port:"):
            envelopes[record["seq"]] = record
            if record["tag"] in REQUESTS.values():
                requests[record["tag"], record["message"]["request_id"]] = record
        elif record["tag"] == "broker.PlaceOrder":
            chain = _chain_of(record, envelopes, requests)
            seen = chain["signals.FeaturesComputed"]["message"]
            placed[seen["ticker"], seen["bucket_utc"]] = (record, chain)
    to_real = time.time_ns() - rig.clock.now_utc()
    out: dict[str, list[Way]] = {scenario: [] for scenario in SCENARIOS}
    for trial in measured.trials:
        found = placed.get((trial.ticker, trial.bucket_utc))
        if found is None:
            why = f"{trial.scenario} {trial.ticker}: the order that arrived was another bucket's"
            measured.lost.setdefault(trial.scenario, []).append(why)
            continue
        out.setdefault(trial.scenario, []).append(_path(rig, trial, *found, to_real))
    return out


def _chain_of(record: dict[str, Any], envelopes: dict[int, dict[str, Any]], requests: Requests) -> Chain:
    """Follow the causes back: by tag, the newest envelope of each; a tick that gave an answer stands under `_tick`."""
    chain = {record["tag"]: record}
    here: dict[str, Any] | None = record
    while here is not None:
        cause = envelopes.get(here["cause_seq"])
        request_tag = REQUESTS.get(here["tag"])
        if request_tag is not None and cause is not None and cause["tag"] != request_tag:
            # a tick (or the end of the wait for one) gave the answer; the request continues the chain
            chain[_tick(here["tag"])] = cause
            cause = requests[request_tag, here["message"]["request_id"]]
        if cause is not None:
            chain.setdefault(cause["tag"], cause)
        here = cause
    return chain


def _tick(answer: str) -> str:
    return f"tick for {answer}"


def _path(rig: Rig, trial: Trial, record: dict[str, Any], chain: Chain, to_real: int) -> Way:
    at = {tag: envelope["at_utc"] + to_real for tag, envelope in chain.items()}
    began = trial.began_ns or chain["market.HubClosed"]["sent_utc"] + to_real
    waited = {request: _waited_ns(chain, at, answer, to_real) for answer, request in REQUESTS.items()}
    placed = record["at_utc"] + to_real
    sync = next(took for name, began_ns, took in rig.trace.syncs if began_ns >= placed and name != SYNC_THREAD)
    commits = sum(
        _commit_within(rig, at[request], at[answer])
        for request, answer in (
            ("signals.RecordAlert", "signals.AlertRecorded"), ("entries.ReserveEntry", "entries.EntryReserved"),
        )
    )  # fmt: skip
    ends: list[int] = []
    before = ""
    for name, tag in CHAIN:
        if tag:
            ends.append(at[tag])
        elif before in waited:
            ends.append(at[before] + waited[before])
        else:
            ends.append(placed + sync if name == "trace sync" else trial.arrived_ns)
        before = tag
    segments = [end - start for start, end in zip([began, *ends], ends, strict=False)]
    return Way(segments, trial.arrived_ns - began, sum(waited.values()), commits, sync)


def _waited_ns(chain: Chain, at: dict[str, int], answer: str, to_real: int) -> int:
    """Return how long after the request the tick was sent that gave the answer; 0 where what was there was enough."""
    tick = chain.get(_tick(answer))
    return 0 if tick is None else max(0, tick["sent_utc"] + to_real - at[REQUESTS[answer]])


def _commit_within(rig: Rig, from_ns: int, to_ns: int) -> int:
    """Return the last commit that ended before the answer was dequeued."""
    return max(((ended, took) for ended, took in rig.commits if from_ns <= ended <= to_ns), default=(0, 0))[1]


# -- the report ------------------------------------------------------------------------------------


def _write(report: Report, paths: dict[str, list[Way]], floors: dict[str, list[int]], measured: Measured) -> None:
    never = round(TRIAL_S * 1e9)
    net = {
        scenario: [path.net for path in found] + [never] * len(measured.lost.get(scenario, ()))
        for scenario, found in paths.items()
    }
    lost = sum(len(found) for found in measured.lost.values())
    tried = lost + sum(len(found) for found in paths.values())
    report.aim("trials that placed no order", "0", f"{lost} of {tried:,}", lost == 0)
    p50, p99 = percentile(net["one"], 50) / 1e6, percentile(net["one"], 99) / 1e6
    eight = percentile(net["eight"], 99) / 1e6
    report.aim(f"one order, {FRAMES_A_SECOND} frames/s: p50", "≤ 3 ms", f"{p50:.2f} ms", p50 <= 3)
    report.aim(f"one order, {FRAMES_A_SECOND} frames/s: p99", "≤ 6 ms", f"{p99:.2f} ms", p99 <= 6)
    report.aim("eight lanes closing at once: p99", "≤ 10 ms", f"{eight:.2f} ms", eight <= 10)
    report.table(
        f"Last HubClosed to bytes at the gateway, less the waits for ticks and the syncs; {FRAMES_A_SECOND} "
        f"frames/s of {STRIKES} strikes through five real hub ports unless said; scenarios in turns. Chains of 162 "
        f"contracts a ticker, model greeks always stale.",
        ["scenario", "n", *SPREAD],
        [[SCENARIOS[s][2], len(net[s]), *spread(net[s])] for s in SCENARIOS if s in net],
    )
    waits = [
        ("total, everything in", [p.total for p in paths["one"]]),
        ("waits for ticks (watched lines tick every 50 ms)", [p.tick for p in paths["one"]]),
        ("two ledger commits", [p.commits for p in paths["one"]]),
        ("trace sync before the port", [p.trace_sync for p in paths["one"]]),
    ]
    report.table(
        "The waits, scenario 'one ticker closes', and the floors of this run.",
        ["what", "n", *SPREAD],
        [[what, len(ns), *spread(ns)] for what, ns in (*waits, *((f"floor: {k}", v) for k, v in floors.items()))],
    )
    shown = [s for s in SCENARIOS if s in paths]
    report.table(
        "Segments, p50 / p99 ms: from the dequeue before to the dequeue that ends it.",
        ["segment", *(SCENARIOS[s][2] for s in shown)],
        [[name, *(_pair([path.segments[i] for path in paths[s]]) for s in shown)] for i, (name, _) in enumerate(CHAIN)],
    )
    report.note(_floors_note(paths["one"], floors))
    first = paths.get("first", [])
    if first:
        report.note(
            f"The first entry into a contract starts its position's actor (ledger read, thread): {len(first)} of them "
            f"took {ms(percentile([p.net for p in first], 50))} ms at the median, the slowest "
            f"{ms(max(p.net for p in first))} ms; they are not in the tables."
        )
    in_turn = [path.net for path in paths["one"]]
    fourth = max(1, len(in_turn) // 4)
    report.note(
        f"Drift over the run (decisions and orders pile up as on no real day): median of the first quarter "
        f"{ms(percentile(in_turn[:fourth], 50))} ms, of the last {ms(percentile(in_turn[-fourth:], 50))} ms."
    )
    if lost:
        why = sorted({text for found in measured.lost.values() for text in found})
        report.note(f"{lost} trials placed no order: {'; '.join(why[:4])}.")
    report.note("The gateway's process, the frames' generator and the supervisor share the machine's cores.")


def _floors_note(ways: list[Way], floors: dict[str, list[int]]) -> str:
    """Return what this machine's disk and threads leave of an order's time at best, beside what it took."""
    commit, append, hop = (percentile(floors[name], 50) for name in FLOORS)
    hops = sum(bool(tag) for _, tag in CHAIN) + 1  # a dequeue each, and the port's thread
    floor = 2 * commit + append + hops * hop
    taken = percentile([way.total - way.tick for way in ways], 50)
    return (
        f"The floor of this run: two commits of {ms(commit)} ms, one trace sync of {ms(append)} and {hops} hops of "
        f"{ms(hop)} make {ms(floor)} ms at the median; with commits and sync, an order of 'one ticker closes' took "
        f"{ms(taken)} ms."
    )


def _pair(values: list[int]) -> str:
    return f"{ms(percentile(values, 50))} / {ms(percentile(values, 99))}"
