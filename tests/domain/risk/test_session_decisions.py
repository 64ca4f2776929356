"""What is looked up in a session's decisions is what a search of all of them finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.instants import BUCKET_NS
from domain.risk.desk_view import SENT, Decision, DeskView, amended, decisions_of, last_sent_utc, with_decision
from domain.risk.reject import RejectCode
from domain.signals.alert import AlertKey
from domain.units import Utc

SOURCES, TICKERS = ("gexwatch", "advisor"), ("SPX", "SPY")
CODES = (None, RejectCode.BROKER_REJECTED, RejectCode.COOLDOWN, RejectCode.PERMIT_EXPIRED)

decisions = st.builds(
    lambda source, ticker, bucket, code, at: Decision(
        AlertKey(source, ticker, "GAMMA_FLIP", 1, Utc(bucket * BUCKET_NS)), source, code, Utc(at)
    ),
    st.sampled_from(SOURCES), st.sampled_from(TICKERS), st.integers(0, 5), st.sampled_from(CODES), st.integers(0, 9),
)  # fmt: skip


def newest_sent(rows: tuple[Decision, ...], source: str, ticker: str) -> Utc | None:
    """Return what a search of all decisions finds."""
    sent = (d.decided_utc for d in rows if d.code in SENT and (d.key.source, d.key.ticker) == (source, ticker))
    return max(sent, default=None)


@given(st.lists(decisions, max_size=12), st.lists(decisions, max_size=3))
def test_the_last_order_of_a_source_for_a_ticker_is_the_newest_that_was_sent(
    told: list[Decision], taken_back: list[Decision]
) -> None:
    view = DeskView()
    for row in told:
        view = with_decision(view, row)
    assert view.decisions == decisions_of(told), "a restarted view and a running one agree"
    for row in taken_back:
        view = amended(view, row.key, RejectCode.PERMIT_EXPIRED)
    for source in SOURCES:
        for ticker in TICKERS:
            assert last_sent_utc(view, source, ticker) == newest_sent(view.decisions.rows, source, ticker)
