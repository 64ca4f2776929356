"""What a desk was told of quotes and prices is read from its traces: what the series only sample is not lost."""

from __future__ import annotations

from pathlib import Path

import msgspec
import orjson

from domain.instants import SECOND
from domain.instruments import DataType, Greeks, Quote, Spot
from domain.units import Ticks, Utc
from messages import market
from messages.base import SCHEMA, Message
from messages.envelope import encode
from simulation.backtest.recorded import RecordedDay
from simulation.backtest.traced import with_traced
from tests.testkit import ledger_asks as ask

GREEKS = Greeks(0.2, 0.5, 0.02, -3.0, 0.8, Ticks(600_000), ask.T0)
CHAIN = market.ChainListed(
    session_epoch=1, ticker="SPX", contracts=(ask.contract(1), ask.contract(2)), underlying_con_id=9, hours=None
)


def quotes(bid: int | None, after_s: int) -> tuple[int, Message]:
    at_utc = Utc(ask.T0 + after_s * SECOND)
    quote = Quote(1, None if bid is None else Ticks(bid), Ticks(520), 3, 4, at_utc, DataType.LIVE, 7, GREEKS)
    spot = Spot("SPX", Ticks(600_000 + after_s), at_utc)
    return after_s, market.QuotesArrived(session_epoch=1, quotes=(quote,), spots=(spot,))


def trace(path: Path, *told: tuple[int, Message], torn: bytes = b"") -> Path:
    lines = [
        orjson.dumps({
            "kind": "envelope", "seq": n, "at_utc": ask.T0 + after_s * SECOND, "to": "quotes:paper", "incarnation": 1,
            "inbox_n": n, "from": "port:quotes:paper", "message_id": f"1/port:quotes:paper/{n}", "cause_seq": 0,
            "sent_utc": ask.T0, "message": msgspec.json.decode(encode(message)), "schema": SCHEMA,
        })
        for n, (after_s, message) in enumerate(told)
    ]  # fmt: skip
    path.write_bytes(b"\n".join(lines) + b"\n" + torn)
    return path


def test_every_tick_that_was_told_is_in_the_day(tmp_path: Path) -> None:
    first = trace(
        tmp_path / "run-1.jsonl", (0, CHAIN), quotes(500, 1), torn=b'{"kind":"envelope","type":"market.QuotesA'
    )
    second = trace(tmp_path / "run-2.jsonl", quotes(505, 2), quotes(None, 3))
    day = with_traced(RecordedDay(ask.DAY, (), {}, {}), (first, second))
    assert [contract.con_id for contract in day.contracts] == [1], "a contract without a quote is none"
    column = day.columns[1]
    assert list(column.at_utc) == [ask.T0 + n * SECOND for n in (1, 2, 3)]
    assert list(zip(column.bid, column.ask, strict=True)) == [(500, 520), (505, 520), (-1, 520)]
    assert list(zip(column.bid_size, column.ask_size, strict=True)) == [(3, 4)] * 3
    assert column.quote_utc == column.at_utc
    assert [values[0] for values in column.greeks] == [0.2, 0.5, 0.02, -3.0, 0.8]
    assert day.prices["SPX"][1] == [600_001, 600_002, 600_003]


def test_what_no_trace_knows_stays_as_the_series_have_it() -> None:
    stored = RecordedDay(ask.DAY, (ask.contract(2),), {}, {"SPY": ([1], [59_900])})
    assert with_traced(stored, ()).prices == {"SPY": ([1], [59_900])}
