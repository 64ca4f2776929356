"""An alert's key and its text, which is read back from ledgers and traces."""

from __future__ import annotations

from datetime import date, time

import pytest

from domain.instants import at_exchange
from domain.signals.alert import AlertKey

DAY = date(2026, 11, 20)
BUCKET = at_exchange(DAY, time(10, 30))


@pytest.mark.parametrize("ticker", ["SPX", "SPX-SPY", "BRK-B"])
def test_an_alert_id_reads_back_also_with_a_hyphen_in_the_ticker(ticker: str) -> None:
    key = AlertKey("spread", ticker, "CREDIT", 2, BUCKET)
    assert AlertKey.parse(key.alert_id) == key
    assert key.session == DAY


def test_an_alert_id_names_session_source_ticker_bucket_kind_and_version() -> None:
    key = AlertKey("gexwatch", "SPX", "GAMMA_FLIP", 1, BUCKET)
    assert key.alert_id == "20261120-gexwatch-SPX-103000-GAMMA_FLIP-1"


@pytest.mark.parametrize(("source", "kind"), [("gex-watch", "FLIP"), ("gexwatch", "GAMMA-FLIP"), ("", "FLIP")])
def test_a_name_that_could_not_be_read_back_is_refused(source: str, kind: str) -> None:
    with pytest.raises(ValueError, match="hyphen"):
        _ = AlertKey(source, "SPX", kind, 1, BUCKET).alert_id


def test_what_is_no_alert_id_is_not_read() -> None:
    with pytest.raises(ValueError, match="not an alert id"):
        AlertKey.parse("20261120-gexwatch")
