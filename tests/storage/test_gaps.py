"""Gaps of a session: intervals per hub, ticker and category, and the buckets in them that rows covered late."""

from __future__ import annotations

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from domain.instants import BUCKET_NS
from domain.units import Utc
from storage.manifest import LATE, Entry, Gap, Gaps, HubCounts, Manifest, Silence, folded

BUCKETS = 12
KEYS = (("classic", "SPX", "gex_zero"), ("classic", "QQQ", "gex_zero"), ("orderflow", "SPX", "orderflow"))
STEPS = st.lists(
    st.tuples(st.sampled_from(("silent", "filled")), st.sampled_from(KEYS), st.integers(0, BUCKETS - 1)), max_size=60
)


def _at(n: int) -> Utc:
    return Utc(n * BUCKET_NS)


def _buckets(gaps: Gaps) -> dict[tuple[str, str, str], dict[int, str]]:
    """Return what covers each missing bucket, by key; no bucket may be in two gaps."""
    found: dict[tuple[str, str, str], dict[int, str]] = {key: {} for key in KEYS}
    for gap in gaps.all():
        for n in range(gap.from_utc // BUCKET_NS, gap.to_utc // BUCKET_NS):
            assert n not in found[gap.hub, gap.ticker, gap.category]
            found[gap.hub, gap.ticker, gap.category][n] = gap.cover
    return found


@given(STEPS)
def test_each_bucket_is_missing_or_covered_as_it_was_told(steps: list[tuple[str, tuple[str, str, str], int]]) -> None:
    gaps = Gaps()
    wanted: dict[tuple[str, str, str], dict[int, str]] = {key: {} for key in KEYS}
    for what, key, n in steps:
        hub, *pair = key
        if what == "filled":
            gaps.fill(hub, _at(n), [(pair[0], pair[1])])
            if n in wanted[key]:
                wanted[key][n] = LATE
        elif n >= max(wanted[key], default=0):  # silence is told of ever newer buckets
            gaps.add(hub, _at(n), Silence(((pair[0], pair[1]),), "silent"))
            wanted[key].setdefault(n, "")
    assert _buckets(gaps) == wanted
    assert _buckets(Gaps(gaps.all())) == wanted


class _Compared(str):
    """A hub's name that counts how often it is compared."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        _Compared.compared += 1
        return str.__eq__(self, other)


def test_a_bucket_that_comes_late_is_sought_among_the_gaps_of_its_own_series() -> None:
    tickers = [f"T{n:03}" for n in range(300)]
    gaps = Gaps(Gap(_Compared("hub"), ticker, "gex", _at(0), _at(5), "down") for ticker in tickers)
    _Compared.compared = 0
    gaps.fill(_Compared("hub"), _at(2), [(ticker, "gex") for ticker in reversed(tickers)])
    assert _Compared.compared < 20 * len(tickers)  # all of them for each would be 300 times as many
    assert sum(gap.cover == LATE for gap in gaps.all()) == len(tickers)


def test_a_whole_bucket_leaves_the_gaps_as_they_are() -> None:
    base = Manifest(date(2026, 11, 20), gaps=(Gap("classic", "SPX", "gex", _at(0), _at(5), "down"),))
    assert folded(base, (Entry("classic", _at(9), counts=HubCounts(rows=1)),)).gaps is base.gaps
