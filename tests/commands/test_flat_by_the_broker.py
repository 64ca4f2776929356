"""Whether a day was flat is said by the broker's book 10 min before the close and at the close, before it settled."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from commands.book import Book, Held, keep_book
from commands.cli import main
from commands.folder import DataFolder
from config.settings import load_settings
from domain.instants import MINUTE, MS
from domain.instruments import OrderType, Side
from domain.position.day import DayMark
from domain.risk.day import DaySummary
from domain.units import Cents, Qty, Utc
from messages import risk
from messages.base import SCHEMA
from messages.positions import HoldingsChecked
from simulation.broker.exchange import Exchange
from simulation.broker.orders import Order
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import start_run
from tests.testkit import ledger_asks as ask
from tests.testkit.gateway_world import NOON, FakeMarket

VERIFY, CLOSE = DayMark.VERIFY, DayMark.CLOSE
AT_CLOSE = ask.T0 + 6 * 60 * MINUTE
SUMMARY = risk.RecordDay(
    session=ask.DAY, at_utc=AT_CLOSE + 5 * MINUTE,
    summary=DaySummary(
        trades=1, wins=0, losses=1, realised_cents=Cents(-12_000), fees_cents=Cents(260), drawdown_cents=Cents(12_000)
    ),
)  # fmt: skip


class Day:
    """A session that is over, with one closed trade, and what is on record of the broker's book."""

    def __init__(self, root: Path, *, is_traded: bool = True, is_over: bool = True) -> None:
        self.folder = DataFolder(root)
        self.folder.make()
        start_run(self.folder.ledgers, ("paper",), ask.T0)
        desk = DeskLedger(self.folder.ledgers, "paper", run_n=1)
        desk.open()
        if is_traded:
            sold = ask.execution(1, exec_id="x.1", order_ref=ask.ref(1, "x1"), side=Side.SELL, price_ticks=450)
            for message in (ask.reserve(1), ask.execution(1), ask.position(1), sold, ask.closed(1)):
                desk.apply(message, ask.T0)
        else:
            desk.apply(ask.denial(1), ask.T0)
        if is_over:
            desk.apply(SUMMARY, AT_CLOSE + 5 * MINUTE)
        desk.close()
        self.tell()

    def book(self, **held: tuple[Held, ...]) -> None:
        Book(held).save(self.folder.book)

    def tell(self, *looks: HoldingsChecked) -> None:
        path = self.folder.traces / ask.DAY.isoformat() / "run-1.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"kind": "header", "run_n": 1, "code_version": "x", "schema": SCHEMA}]
        for n, look in enumerate(looks, 1):
            message = orjson.loads(msgspec.json.encode(look))
            rows.append({"kind": "envelope", "seq": n, "at_utc": look.at_utc, "to": "notifier", "message": message})
        path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))

    def report(self, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
        code = main(["--data", str(self.folder.root), "report"])
        said = capsys.readouterr()
        assert said.err == ""
        return code, " ".join(said.out.split())  # whatever the width of the terminal


def look(mark: DayMark, *held: tuple[int, int], is_known: bool = True) -> HoldingsChecked:
    at_utc = AT_CLOSE - (10 * MINUTE if mark is VERIFY else 5_000 * MS)
    positions = tuple((con_id, Qty(qty)) for con_id, qty in held)
    return HoldingsChecked(
        session=ask.DAY, mark=mark, positions=positions, is_known=is_known, read_utc=at_utc, at_utc=at_utc
    )  # fmt: skip


def test_a_day_that_our_ledger_closed_and_the_broker_did_not_is_not_flat(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    day = Day(tmp_path)
    day.book(verify=(Held(1, "SPXW 20261120 6005C", Qty(2)),), close=())
    code, said = day.report(capsys)
    assert code == 1
    assert "10 min before the close: NOT FLAT, the broker held 2 SPXW 20261120 6005C (its own book)" in said
    assert "The day was NOT FLAT by the broker's book" in said


def test_a_day_whose_book_was_empty_at_both_instants_is_flat(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    day = Day(tmp_path)
    day.book(verify=(), close=())
    code, said = day.report(capsys)
    assert (code, "The day ended flat, by the broker's own book." in said) == (0, True)


def test_without_a_book_what_the_broker_told_the_session_counts_and_only_our_contracts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    day = Day(tmp_path)
    day.tell(look(VERIFY, (1, 2), (99, 500)), look(CLOSE, (99, 500)))
    code, said = day.report(capsys)
    assert code == 1
    assert "10 min before the close: NOT FLAT, the broker held 2 SPXW 6005C" in said
    assert "at the close: the broker held nothing" in said
    day.tell(look(VERIFY, (99, 500)), look(CLOSE, (99, 500)))
    assert day.report(capsys)[0] == 0


@pytest.mark.parametrize("looks", [(), (look(VERIFY),), (look(VERIFY), look(CLOSE, is_known=False))])
def test_a_day_with_trades_at_whose_close_nobody_looked_is_not_known_to_be_flat(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], looks: tuple[HoldingsChecked, ...]
) -> None:
    day = Day(tmp_path)
    day.tell(*looks)
    code, said = day.report(capsys)
    assert (code, "is NOT KNOWN" in said) == (1, True)


def test_a_day_without_a_position_needs_no_look(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = Day(tmp_path, is_traded=False).report(capsys)
    assert (code, "The day ended flat." in said) == (0, True)


def test_a_day_that_is_not_over_is_not_judged_by_looks_that_have_not_come(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = Day(tmp_path, is_over=False).report(capsys)
    assert (code, "The day was stopped before its end; nothing is held." in said) == (0, True)


# -- the simulated broker's own book ------------------------------------------------------------


class SetClock:
    """A market clock that stands where it is set; `looks` counts who waited for it."""

    def __init__(self, at_utc: Utc) -> None:
        self.at_utc = at_utc
        self.looks = 0

    def now_utc(self) -> Utc:
        return self.at_utc

    def real_wait_s(self, until_utc: Utc) -> float:
        self.looks += 1
        return 0.0 if self.at_utc >= until_utc else 0.001


def bought(market: Any) -> Exchange:
    exchange = Exchange(market, latency_ms=0)
    order = Order(
        client_id=1, order_id=1, con_id=market.call, side=Side.BUY, qty=Qty(2), type=OrderType.MARKET, order_ref="r"
    )  # fmt: skip
    exchange.place(order, NOON)
    assert exchange.position(market.call).qty == 2
    return exchange


def test_the_book_is_written_before_the_settlement_empties_it(tmp_path: Path) -> None:
    market = FakeMarket(NOON)
    exchange, path = bought(market), tmp_path / "book.json"
    rules = load_settings(profile="demo").day
    clock: Any = SetClock(NOON)

    async def day() -> None:
        keeping = asyncio.create_task(keep_book(exchange, clock, rules, path))
        async with asyncio.timeout(60):
            while clock.looks < 3:
                await asyncio.sleep(0.001)
        assert not path.exists()
        clock.at_utc = market.close_utc - 10 * MINUTE
        async with asyncio.timeout(60):
            while not path.exists():
                await asyncio.sleep(0.001)
        clock.at_utc = market.now_utc = market.close_utc
        exchange.step(market.close_utc)
        assert exchange.positions() == []
        async with asyncio.timeout(60):
            await keeping

    asyncio.run(day())
    assert {mark: [held.qty for held in rows] for mark, rows in Book.load(path).held.items()} == {
        "verify": [2], "close": [2],
    }  # fmt: skip


def test_a_book_of_a_server_that_began_late_leaves_out_what_it_did_not_see(tmp_path: Path) -> None:
    market = FakeMarket(NOON)
    exchange, path = bought(market), tmp_path / "book.json"
    rules = load_settings(profile="demo").day
    market.now_utc = market.close_utc
    exchange.step(market.close_utc)
    clock: Any = SetClock(market.close_utc)
    asyncio.run(keep_book(exchange, clock, rules, path))
    assert list(Book.load(path).held) == ["close"]


def test_a_book_that_cannot_be_read_is_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "book.json"
    assert Book.load(path).held == {}
    path.write_bytes(b'{"held": {"close": [{"con_id"')
    assert Book.load(path).held == {}
