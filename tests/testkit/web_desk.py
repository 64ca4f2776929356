"""A desk for the dashboard's tests: its ledgers and market data as a supervisor leaves them, and what it pushes."""

from __future__ import annotations

import math
from datetime import date, time
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from config.settings import Settings, load_settings
from domain.alarm import Severity
from domain.instants import BUCKET_NS, SECOND, at_exchange
from domain.instruments import DataType, Greeks, Quote, Side, Spot
from domain.options.profile import GEX_SCALARS, Profile, Row, Rows
from domain.position.cycle import EndReason, PositionState
from domain.risk.day import DaySummary
from domain.risk.kill import KillLevel
from domain.session.modes import AccountClass, Mode
from domain.session.phases import Phase
from domain.units import Cents, Qty, Ticks, Utc
from messages import broker, market, operator, positions, risk, session, signals
from messages.base import Message
from messages.ledgers import DeskInput, SharedInput
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import SharedLedger, start_run
from storage.warehouse import Warehouse
from tests.testkit import ledger_asks as ask
from tests.testkit import spread_ledger

DAY = ask.DAY
OPEN = at_exchange(DAY, time(9, 30))
NOW = at_exchange(DAY, time(10, 2))
ACCOUNT = "DU1234567"
LAST = 63  # the newest stored bucket: that of 10:01:30


def settings(
    folder: Path, *, lanes: dict[str, list[str]] | None = None, outside: dict[str, object] | None = None, **web: object
) -> Settings:
    """The demo's settings with two tickers, on any free port."""
    return load_settings(
        profile="demo",
        overrides={
            "data_dir": str(folder), "tickers": ["SPX", "QQQ"], "web": {"rate_per_s": 500.0} | web,
            "warehouse": {"disk_free_min_mb": 1}, "lanes": lanes or {}, "outside": outside or {},
        },
    )  # fmt: skip


def write_desk(folder: Path, words: str | None = None) -> None:
    """Write ledgers with a trade, a held position, refusals and alerts, and half an hour of market data.

    `words`: what the broker said of the entry that is held, if anything.
    """
    write_ledgers(folder / "ledgers", words)
    write_market(folder, 0, LAST)


def write_spread(folder: Path) -> None:
    """Write a desk that holds a spread whole."""
    write_ledgers(folder / "ledgers")
    for kept in (folder / "ledgers").glob("paper.db*"):
        kept.unlink()
    ledger = DeskLedger(folder / "ledgers", "paper", run_n=1, is_durable=False)
    ledger.open()
    spread_ledger.held(ledger)
    ledger.close()
    write_market(folder, 0, LAST)


def quoted(con_id: int, ticks: int, delta: float | None, now: Utc = NOW) -> market.QuoteChanged:
    """A quote around a price, with greeks where it has a delta."""
    greeks = None if delta is None else Greeks(0.18, delta, 0.02, -3.1, 0.8, Ticks(600_000), now)
    bid, ask_ = Ticks(ticks - 2), Ticks(ticks + 2)
    quote = Quote(con_id, bid, ask_, Qty(5), Qty(5), now, DataType.LIVE, 400, greeks)
    return market.QuoteChanged(con_id=con_id, quote=quote, spot=None)


def write_finished(folder: Path) -> None:
    """Write a day that is over: one trade was closed, one entry never filled, nothing is held."""
    ledgers = folder / "ledgers"
    ledgers.mkdir(parents=True)
    start_run(ledgers, ("paper",), ask.T0)
    shared = SharedLedger(ledgers, ("paper",), is_durable=False)
    shared.open()
    for n in (1, 2):
        shared.apply(ask.alert(n), ask.T0)
    shared.close()
    desk = DeskLedger(ledgers, "paper", run_n=1, is_durable=False)
    desk.open()
    summary = DaySummary(
        trades=1, wins=0, losses=1, realised_cents=Cents(-12_000), fees_cents=Cents(260), drawdown_cents=Cents(12_000)
    )
    entries: tuple[DeskInput, ...] = (
        ask.reserve(1), ask.execution(1, price_ticks=505), ask.position(1), ask.exit_intent(1),
        ask.execution(1, exec_id="x.1", order_ref=ask.ref(1, "x1"), side=Side.SELL, price_ticks=450), ask.closed(1),
        ask.reserve(2), ask.position(2, state=PositionState.FLAT, opened_utc=None, end=EndReason.ABANDONED),
        ask.abandoned(2), risk.RecordDay(session=DAY, summary=summary, at_utc=NOW),
    )  # fmt: skip
    for entry in entries:
        desk.apply(entry, ask.T0)
    desk.close()


def write_ledgers(folder: Path, words: str | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    start_run(folder, ("paper",), ask.T0)
    shared = SharedLedger(folder, ("paper",), is_durable=False)
    shared.open()
    shared_facts: tuple[SharedInput, ...] = (
        ask.alert(1),
        ask.alert(2),
        ask.alert(3),
        risk.RecordKill(level=KillLevel.RUNNING, kill_epoch=1, reason="first start", by="test", at_utc=ask.T0),
    )
    for fact in shared_facts:
        shared.apply(fact, ask.T0)
    shared.close()
    desk = DeskLedger(folder, "paper", run_n=1, is_durable=False)
    desk.open()
    desk_facts: tuple[DeskInput, ...] = (
        risk.RecordStartNav(session=DAY, nav_cents=Cents(30_000_000), at_utc=ask.T0),
        ask.reserve(1),
        ask.execution(1, price_ticks=505),
        ask.commission(),
        ask.position(1),
        ask.exit_intent(1),
        ask.execution(1, exec_id="x.1", order_ref=ask.ref(1, "x1"), side=Side.SELL, price_ticks=450),
        ask.closed(1),
        ask.denial(2),
        ask.reserve(3),
        ask.execution(3, exec_id="00e3.1"),
        ask.position(3),
        *(() if words is None else (ask.amended(3, words=words),)),
    )
    for entry in desk_facts:
        desk.apply(entry, ask.T0)
    desk.close()


def write_market(folder: Path, first: int, last: int, tickers: tuple[str, ...] = ("SPX", "QQQ")) -> None:
    """Store the buckets of a smooth half hour, by number after the open."""
    store = Warehouse(folder / "warehouse", is_durable=False, seals=False)
    store.open()
    for n in range(first, last + 1):
        bucket_utc = Utc(OPEN + n * BUCKET_NS)
        rows = Rows(f"{DAY}/classic/{bucket_utc}", tuple(_row(ticker, n, bucket_utc) for ticker in tickers))
        store.take(market.StoreBucket(
            hub="classic", bucket_utc=bucket_utc, rows=rows, absent=(), why_absent="silent",
            counts=market.FrameCounts(accepted=2),
        ))  # fmt: skip
    bucket_utc = Utc(OPEN + last * BUCKET_NS)
    store.take(market.StoreBucket(
        hub="classic", bucket_utc=bucket_utc, rows=Rows(f"{DAY}/classic/{bucket_utc}", ()),
        absent=tuple((ticker, "classic_gex_full") for ticker in tickers), why_absent="silent",
        counts=market.FrameCounts(),
    ))  # fmt: skip
    store.flush()
    store.show()
    store.close()


def spot_at(n: int) -> int:
    """The price of SPX in ticks at the end of the n-th bucket."""
    return 600_000 + round(900 * math.sin(n / 9)) + 15 * n


def _row(ticker: str, n: int, bucket_utc: Utc) -> Row:
    spot = spot_at(n) // (1 if ticker == "SPX" else 10)
    step = 500 if ticker == "SPX" else 100
    strikes = (spot // step * step + step * np.arange(-80, 81)).astype(np.int32)
    away = (strikes - spot) / (10 * step)
    gamma = (40_000 * np.tanh(away) * np.exp(-(away**2)) * (1 + 0.5 * (strikes % (5 * step) == 0))).astype(np.int32)
    zero, call, put = spot - step // 2, int(strikes[90]), int(strikes[70])
    known = {"zero_gamma": zero, "major_pos_vol": call, "major_neg_vol": put, "sum_gex_vol": 10 * int(gamma.sum())}
    values = np.column_stack([gamma, gamma]).astype(np.int32)
    profile = Profile(
        ticker, "classic_gex_zero", Utc(bucket_utc + 29 * SECOND), Ticks(spot),
        tuple(known.get(name, 0) for name in GEX_SCALARS), strikes, values, np.zeros((len(strikes), 5), np.int32),
    )  # fmt: skip
    return Row(profile, "classic", 20, Utc(bucket_utc + SECOND), Utc(bucket_utc + 29 * SECOND))


def facts(now: Utc = NOW) -> list[tuple[str, Message]]:
    """What the supervisor has pushed by now, by slot."""
    contract = ask.contract(3)
    greeks = Greeks(0.18, 0.51, 0.02, -3.1, 0.8, Ticks(600_000), now)
    quote = Quote(3, Ticks(590), Ticks(610), Qty(5), Qty(5), now, DataType.LIVE, 400, greeks)
    mark = positions.PositionChanged(
        ref=ask.position_ref(3), state=ask.position(3).state, qty=Qty(2), cost_cents=Cents(100_000),
        realised_cents=Cents(0), fees_cents=Cents(0), unrealised_cents=Cents(20_000), mark_utc=now, exit_reason=None,
        at_utc=now,
    )  # fmt: skip
    forces = tuple(
        signals.Force(name=name, score=score, confidence=0.8)
        for name, score in (("gamma", 0.6), ("vanna", -0.4), ("charm", 0.2), ("flow", -0.1), ("trend", 0.3))
    )
    reading = signals.FeaturesComputed(
        ticker="SPX", bucket_utc=Utc(OPEN + LAST * BUCKET_NS), reading_n=LAST, features=(1.0, None), missing=(),
        forces=forces, alignment=0.3, spot=Ticks(spot_at(LAST)), zero_gamma=Ticks(spot_at(LAST) - 250),
        is_complete=True,
    )  # fmt: skip
    alarm = operator.Alarm(
        key="gateway", severity=Severity.HIGH, text=f"The gateway knows account {ACCOUNT} no longer.", at_utc=now
    )
    assert contract.con_id == quote.con_id
    return [
        ("phase", phase(DAY, now)),
        ("mode", session.ModeChanged(mode=Mode.FULLY_LIVE, mode_n=4, session_epoch=7, cause="stable", at_utc=now)),
        ("port", session.AccountChecked(port=4002, account_class=AccountClass.PAPER, account_matches=True)),
        ("account", broker.AccountRead(
            session_epoch=7, nav_cents=Cents(30_000_000), available_cents=Cents(29_000_000),
            buying_power_cents=Cents(58_000_000), day_trades_remaining=None, read_utc=now,
            cash_cents=Cents(29_900_000),
        )),
        ("hub:classic", market.HubUp(hub="classic", feed_epoch=1, recovered=False)),
        ("spots:SPX", spots(spot_at(LAST), now)),
        ("quote:3", market.QuoteChanged(con_id=3, quote=quote, spot=None)),
        (f"position:{ask.stem(3)}", mark),
        ("reading:SPX", reading),
        ("alarm:gateway", alarm),
    ]  # fmt: skip


def spots(spx_ticks: int, at_utc: Utc) -> market.SpotsChanged:
    return market.SpotsChanged(spots=(
        Spot("SPX", Ticks(spx_ticks), at_utc), Spot("SPY", Ticks(spx_ticks // 10), at_utc),
    ))  # fmt: skip


def phase(day: date, at_utc: Utc) -> session.PhaseChanged:
    return session.PhaseChanged(
        phase=Phase.ENTRY, session=day, open_utc=at_exchange(day, time(9, 30)),
        close_utc=at_exchange(day, time(16, 0)), at_utc=at_utc,
    )  # fmt: skip


def reading_of(n: int, ticker: str = "SPX") -> signals.FeaturesComputed:
    """The reading of the n-th bucket after the open."""
    reading = next(fact for slot, fact in facts() if slot == "reading:SPX")
    assert isinstance(reading, signals.FeaturesComputed)
    return replace(reading, ticker=ticker, bucket_utc=Utc(OPEN + n * BUCKET_NS), spot=Ticks(spot_at(n)))
