"""Rules of the hub sessions: which groups a key can carry, in which order tickers come, how long a dial waits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from domain.instants import MS
from domain.limits import FeedRules

PRIORITY: Final = ("SPX", "SPY", "QQQ", "IWM", "VIX")


def in_priority(tickers: Iterable[str]) -> tuple[str, ...]:
    """Return tickers in the order in which they are served: those of the index first, the others as given."""
    rank = {ticker: n for n, ticker in enumerate(PRIORITY)}
    return tuple(sorted(tickers, key=lambda ticker: rank.get(ticker, len(PRIORITY))))


class Packed(NamedTuple):
    """The groups that a key carries, and the tickers for which it has no room (with any of their groups)."""

    groups: tuple[str, ...]
    left_out: tuple[str, ...]


def packed(
    tickers: Sequence[str], spot_only: Sequence[str], hubs: Mapping[str, Sequence[str]], memberships_max: int
) -> Packed:
    """Return a key's groups: a ticker goes in whole, with its spot, in the order of priority, or not at all.

    Args:
        tickers: analysed tickers, each in every category of every hub.
        spot_only: tickers of which only the spot is wanted.
        hubs: the categories of each hub.
        memberships_max: groups that one key may carry.
    """
    categories = [category for wanted in hubs.values() for category in wanted]
    groups: list[str] = []
    left_out: list[str] = []
    for ticker in in_priority((*tickers, *spot_only)):
        own = [f"{ticker}_spot"]
        if ticker in tickers:
            own += [f"{ticker}_{category}" for category in categories]
        if len(groups) + len(own) > memberships_max:
            left_out.append(ticker)
        else:
            groups += own
    return Packed(tuple(groups), tuple(left_out))


def pause_ns(attempts: int, rules: FeedRules) -> int:
    """Return the pause in ns before the next dial after `attempts` in a row were in vain.

    The first attempt goes at once; pauses double from `retry_min_ms` to `retry_max_ms`; from `breaker_failures` on the
    breaker is open and each pause is `breaker_pause_ms`.
    """
    if attempts == 0:
        return 0
    if attempts >= rules.breaker_failures:
        return rules.breaker_pause_ms * MS
    return int(min(rules.retry_min_ms * 2 ** (attempts - 1), rules.retry_max_ms)) * MS
