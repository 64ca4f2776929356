"""A whole simulated day on the stepped runtime: from market to money, without a socket."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from datetime import time
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from commands.folder import DataFolder
from commands.replay import Values, maker
from commands.report import facts
from commands.why import chain_of
from commands.why_forces import force_lines
from commands.why_lines import lines_of
from config.settings import load_settings
from domain.features.forces import INPUTS
from domain.instants import BUCKET_NS, SECOND, at_exchange
from domain.session import calendar
from domain.signals.alerts import EVALUATORS, evaluators_of
from domain.signals.columns import Found, Lane, Memory, alerts_in
from domain.signals.registry import FEATURES
from domain.units import Utc
from simulation.day import SteppedDay, invariants, start_of, stepped_day
from storage.queries import LedgerReader
from storage.reading_columns import stored_days
from storage.series_reader import SeriesReader
from storage.warehouse_reader import WarehouseReader
from supervision.replay import replay
from supervision.trace import FileTrace, Header, TraceReader
from tests.testkit.paths import LEAN, needs_recorded_day
from tests.testkit.toys import trace_lines

pytestmark = pytest.mark.slow


class Day:
    """A day that was run, and its trace on disk."""

    def __init__(self, day: SteppedDay, folder: Path, trace: Path) -> None:
        self.day = day
        self.folder = DataFolder(folder)
        self.trace = trace
        self.records = [orjson.loads(line) for line in trace.read_bytes().splitlines()]
        self.facts = facts(day.settings, self.folder, day.settings.demo.session)

    def told(self, tag: str, to: str) -> list[dict[str, Any]]:
        return [
            r["message"] | {"at_utc": r["at_utc"]}
            for r in self.records
            if r["kind"] == "envelope" and r["to"] == to and r["message"]["type"] == tag
        ]


# A stepped day has no dashboard; SPX flips and IWM does all else: alerts of every kind, and fills of both strategies.
SETTINGS: dict[str, Any] = {"web": {"is_on": False}, "tickers": ["SPX", "IWM"]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    folder = tmp_path_factory.mktemp("day")
    settings = load_settings(profile="demo", overrides=SETTINGS)
    session = settings.demo.session.isoformat()
    path = folder / "traces" / session / "run-1.jsonl"
    header = Header(
        run_n=1, session=session, started_utc=0, rate=1.0, settings_digest=settings.digest(), code_version="test",
        settings=msgspec.Raw(settings.to_json()),
    )  # fmt: skip
    clock = start_of(settings)
    trace = FileTrace(path, header, clock)
    day = stepped_day(settings, folder, trace=trace, clock=clock)
    day.run()
    trace.close()
    yield Day(day, folder, path)
    day.runtime.close()


def test_a_day_trades_and_ends_flat_with_nothing_broken(whole: Day) -> None:
    assert invariants(whole.day) == []
    assert whole.facts["is_flat"]
    assert len(whole.facts["trades"]) >= 3
    assert {row["strategy"] for row in whole.facts["trades"]} == {"gexwatch", "advisor"}


def test_the_ledger_knows_exactly_the_brokers_executions(whole: Day) -> None:
    theirs = {execution.exec_id.rpartition(".")[0] for execution, _ in whole.day.exchange.executions()}
    ours = {row["exec_id"] for row in _executions(whole)}
    assert theirs == ours


def test_ledger_profit_is_the_brokers_to_the_cent(whole: Day) -> None:
    broker_cents = whole.day.exchange.account_values()["NetLiquidation"] - whole.day.settings.demo.nav_usd * 100
    assert whole.facts["realised_cents"] == broker_cents


def test_every_ticker_and_bucket_has_exactly_one_reading(whole: Day) -> None:
    settings = whole.day.settings
    found = Counter(
        (record["to"], message["ticker"], message["bucket_utc"])
        for record in whole.records
        if record["kind"] == "envelope" and (message := record["message"])["type"] == "signals.FeaturesComputed"
    )
    lanes = {
        ticker: [f"lane:{source}:{ticker}" for source, on in settings.lanes.items() if ticker in on]
        for ticker in settings.tickers
    }
    world = whole.day.exchange.market
    buckets = range(world.open_utc, world.close_utc, BUCKET_NS)
    assert found == {
        (to, ticker, bucket): 1
        for ticker in settings.tickers
        for to in (*lanes[ticker], "series")
        for bucket in buckets
    }


def test_the_hub_drop_leaves_gap_rows_and_the_gateway_drop_none(whole: Day) -> None:
    gaps = WarehouseReader(whole.folder.warehouse).gaps(whole.day.settings.demo.session)
    assert {gap.hub for gap in gaps} == {whole.day.settings.demo.hub_dropped}
    absent = {
        (m["hub"], m["bucket_utc"], *pair)
        for m in whole.told("market.StoreBucket", "warehouse")
        for pair in m["absent"]
    }
    rows = {
        (gap.hub, bucket, gap.ticker, gap.category)
        for gap in gaps
        for bucket in range(gap.from_utc, gap.to_utc, BUCKET_NS)
    }
    assert rows == absent


def test_the_gateway_drop_goes_through_the_modes_in_order(whole: Day) -> None:
    modes = [m["mode"] for m in whole.told("session.ModeChanged", "risk:paper")]
    passed = [mode for n, mode in enumerate(modes) if n == 0 or modes[n - 1] != mode]
    assert passed == ["DATA_ONLY", "WARMUP", "FULLY_LIVE", "DEGRADED", "WARMUP", "FULLY_LIVE"]


def test_entries_are_filled_by_the_book_of_gates_and_nothing_is_sent_twice(whole: Day) -> None:
    placed = [m["order"]["order_ref"] for m in whole.told("broker.PlaceOrder", "port:ibkr:paper")]
    assert len(placed) == len(set(placed))
    accepted = {m["intent_id"] for m in whole.told("entries.EntryReserved", "risk:paper")}
    entries = {ref for ref in placed if ref.endswith("-e")}
    assert len(entries) == len(accepted)


def test_a_replay_of_the_day_finds_no_divergence(whole: Day) -> None:
    values = Values(WarehouseReader(whole.folder.warehouse, is_past=True))
    report = replay(TraceReader(whole.trace), maker(whole.day.settings), values.fill)
    assert report.divergence is None
    assert values.missing == 0
    assert report.compared > 25_000


def test_a_changed_threshold_names_the_first_diverging_message(whole: Day) -> None:
    rules = {"alert_rules": {"GAMMA_FLIP": {"hysteresis_bps": 40.0}}}
    changed = load_settings(profile="demo", overrides=SETTINGS | rules)
    values = Values(WarehouseReader(whole.folder.warehouse, is_past=True))
    report = replay(TraceReader(whole.trace), maker(changed), values.fill)
    assert report.divergence is not None
    assert report.divergence.envelope.to == "lane:gexwatch:SPX"
    assert report.divergence.causes


def test_why_prints_the_chain_from_bucket_to_fill_with_gate_values(whole: Day) -> None:
    trade = whole.facts["trades"][0]
    text = "\n".join(lines_of(chain_of([whole.trace], trade["order_ref"])))
    steps = ("reading", "alert", "gates", "handed over", "submit", "on the wire", "execution", "fill", "closed")
    places = [text.index(f"  {step} ") for step in steps]
    assert places == sorted(places)
    assert "quote_fresh" in text
    assert "against" in text


def test_every_kind_has_alerts_and_why_shows_each_ones_forces_and_what_pushed_them(whole: Day) -> None:
    alerts = LedgerReader(whole.folder.ledgers, "paper").alerts(whole.day.settings.demo.session)
    readings = {(m["ticker"], m["bucket_utc"]): m for m in whole.told("signals.FeaturesComputed", "series")}
    of_kind = {row["kind"]: (row["ticker"], row["bucket_utc"]) for row in alerts}
    assert of_kind.keys() == EVALUATORS.keys()
    for place in of_kind.values():
        lines = force_lines(readings[place])  # as `why` shows them
        forces = {line.split()[0]: line for line in lines if "  sure " in line}
        assert forces.keys() == INPUTS.keys()
        told = "\n".join(lines)
        sure = [inputs for force, inputs in INPUTS.items() if "  sure 0.00 " not in forces[force]]
        assert len(sure) >= 4
        assert all(any(one.name in told for one in inputs) for inputs in sure)
        assert "alignment" in told


def test_at_three_no_feature_of_a_ticker_with_all_categories_is_missing(whole: Day) -> None:
    at_three = at_exchange(whole.day.settings.demo.session, time(15))
    readings = [m for m in whole.told("signals.FeaturesComputed", "series") if m["bucket_utc"] == at_three]
    assert sorted(m["ticker"] for m in readings) == sorted(whole.day.settings.tickers)
    assert [m["missing"] for m in readings] == [[]] * len(readings)
    absent = [
        (m["ticker"], feature.name)
        for m in readings
        for feature, value in zip(FEATURES, m["evidence"]["features"], strict=True)
        if value is None
    ]
    assert absent == []


def test_alerts_in_columns_are_those_of_the_ledger(whole: Day) -> None:
    settings, session = whole.day.settings, whole.day.settings.demo.session
    day = calendar.day(session)
    assert day is not None
    stored = stored_days(SeriesReader(whole.folder.series), day)
    found: list[Found] = []
    for source, tickers in settings.lanes.items():
        kinds = evaluators_of(settings.alerts[source], settings.alert_rules, settings.alert_trials, settings.kinds)
        lane = Lane(source, kinds, settings.promoted, settings.day.bucket_grace_ms)
        found += alerts_in([stored[ticker] for ticker in tickers], lane, settings.day, Memory())
    ledger = LedgerReader(whole.folder.ledgers, settings.desk)
    columnar = [
        {
            "alert_id": one.alert.key.alert_id, "direction": one.alert.direction, "raised_utc": one.alert.raised_utc,
            "entry_ticks": one.alert.entry_ticks, "target_ticks": one.alert.target_ticks,
            "stop_ticks": one.alert.stop_ticks, "horizon_ms": one.alert.horizon_ms,
            "is_shadow": int(one.alert.is_shadow), "features": list(one.features), "alignment": one.alignment,
            "forces": msgspec.to_builtins(one.forces), "thresholds": msgspec.to_builtins(one.thresholds),
            "pushes": msgspec.to_builtins(one.pushes),
        }
        for one in sorted(found, key=lambda one: (one.alert.raised_utc, one.alert.key.alert_id))
    ]  # fmt: skip
    assert len(columnar) >= 3
    told = [{name: row[name] for name in columnar[0]} for row in ledger.alerts(session)]
    assert told == msgspec.json.decode(msgspec.json.encode(columnar))
    resolved = {outcome.alert.key: outcome for outcome in ledger.outcomes()}
    assert {one.alert.key: one.outcome for one in found} == resolved


def _executions(whole: Day) -> list[dict[str, Any]]:
    return LedgerReader(whole.folder.ledgers, "paper").executions(whole.day.settings.demo.session)


def _morning(folder: Path, shuffle_seed: int | None = None) -> SteppedDay:
    settings = load_settings(profile="demo", overrides={"tickers": ["SPX", "SPY", "QQQ", "IWM"]})
    day = stepped_day(settings, folder, shuffle_seed=shuffle_seed, shows=False)
    day.run(Utc(day.exchange.market.open_utc + 1500 * SECOND))
    day.runtime.close()
    return day


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> SteppedDay:
    return _morning(tmp_path_factory.mktemp("morning"))


def test_the_same_seed_gives_the_same_trace(plain: SteppedDay, tmp_path: Path) -> None:
    again = _morning(tmp_path)
    assert again.trace_hash == plain.trace_hash
    assert len(trace_lines(plain.runtime)) > 5_000


def test_a_shuffled_order_between_recipients_makes_the_same_decisions(plain: SteppedDay, tmp_path: Path) -> None:
    shuffled = _morning(tmp_path, shuffle_seed=3)
    assert plain.trace_hash != shuffled.trace_hash
    assert _orders(plain) == _orders(shuffled) != []


@needs_recorded_day
def test_a_recorded_day_drives_the_same_actors(tmp_path: Path) -> None:
    demo = {"market_folder": str(LEAN), "session": "2021-01-04", "start_clock": "09:29:00"}
    day = stepped_day(load_settings(profile="demo", overrides={"demo": demo}), tmp_path, shows=False)
    day.run(Utc(day.exchange.market.open_utc + 1210 * SECOND))
    day.runtime.close()
    told = [orjson.loads(line) for line in trace_lines(day.runtime)]
    spots = {
        m["message"]["bucket_utc"]: m["message"]["spot"]
        for m in told
        if m["kind"] == "envelope" and m["to"] == "lane:gexwatch:SPX" and m["message"]["type"].endswith("Computed")
    }
    assert len(spots) == 40
    assert all(370_000 < spot < 380_000 for spot in spots.values())
    assert not day.runtime.dead_letters


def _orders(day: SteppedDay) -> list[str]:
    told = [orjson.loads(line) for line in trace_lines(day.runtime)]
    kept = ("broker.PlaceOrder", "entries.ReserveEntry", "signals.RecordAlert")
    found = [r["message"] for r in told if r["kind"] == "envelope" and r["message"]["type"] in kept]
    return [hashlib.blake2b(orjson.dumps(m), digest_size=8).hexdigest() for m in found]
