"""Rows of a trace get their values back from the warehouse, whichever of a bucket's messages comes first."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.replay import Values
from domain.options.profile import Rows
from messages import market
from messages.base import Message
from storage.warehouse_reader import WarehouseReader
from supervision.replay import UnresolvedError
from tests.testkit.bucket_rows import T0, bucket
from tests.testkit.warehouse_days import opened, store


class Counting(WarehouseReader):
    """Counts what is looked up."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked: list[str] = []

    def resolve(self, ref: str, content_hash: str | None = None) -> Rows | None:
        self.asked.append(ref)
        return super().resolve(ref, content_hash)


def without_values(rows: Rows, ref: str) -> Rows:
    return Rows(ref, (), rows.content_hash)


def ticker_sealed(whole: Rows, ticker: str) -> Message:
    ref = f"classic/{T0}/{ticker}"
    return market.TickerSealed(hub="classic", bucket_utc=T0, ticker=ticker, rows=without_values(whole.of(ticker), ref))


def test_tickers_that_were_decoded_before_their_bucket_cost_one_look_at_it(tmp_path: Path) -> None:
    stored = bucket()
    store(opened(tmp_path), stored)
    reader = Counting(tmp_path)
    values = Values(reader)
    for ticker in ("SPX", "QQQ"):
        found = values.fill(ticker_sealed(stored.rows, ticker))
        assert isinstance(found, market.TickerSealed)
        assert found.rows.content_hash == stored.rows.of(ticker).content_hash
        assert [row.profile.ticker for row in found.rows.rows] == [ticker] * 2
    assert reader.asked == [f"classic/{T0}"]
    nothing = values.fill(ticker_sealed(stored.rows, "META"))
    assert isinstance(nothing, market.TickerSealed)
    assert nothing.rows.rows == ()


def test_a_ticker_of_a_bucket_that_is_not_stored_is_missing(tmp_path: Path) -> None:
    opened(tmp_path).close()
    values = Values(WarehouseReader(tmp_path))
    with pytest.raises(UnresolvedError):
        values.fill(ticker_sealed(bucket().rows, "SPX"))
    assert values.missing == 1
