"""Rules of the hub sessions: which groups a key can carry, in which order tickers come, how long a dial waits."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Final, NamedTuple

from domain.instants import MS
from domain.limits import FeedRules
from domain.session import calendar
from domain.units import Ticks, Utc

LEAP_MAX: Final = 0.15  # of a price within a bucket: beyond the widest halt of the market (20 % a day is level 3)
AGREE_MAX: Final = 0.05  # between two buckets that say the same
PRIORITY: Final = ("SPX", "SPY", "QQQ", "IWM", "VIX")
TODAY: Final = "_today"  # ends a category of the vendor's explicit expiries that follows the session's date
SPOT: Final = "_spot"
_RANKS: Final = {ticker: n for n, ticker in enumerate(PRIORITY)}


def in_priority(tickers: Iterable[str]) -> tuple[str, ...]:
    """Return tickers in the order in which they are served: those of the index first, the others as given."""
    return tuple(sorted(tickers, key=rank_of))


def rank_of(ticker: str) -> int:
    """Return a ticker's place in the order of priority; those that are not named share the last one."""
    return _RANKS.get(ticker, len(PRIORITY))


class SpotWatch:
    """Tells a wild price from a move: one that leaps too far counts only once a later bucket says the same."""

    __slots__ = ("_leapt", "_spot")

    def __init__(self) -> None:
        self._spot = 0
        self._leapt = (0, Utc(0))

    def is_plausible(self, spot: Ticks, bucket_utc: Utc) -> bool:
        """Return whether a price can be believed, and go on from it if so."""
        if self._spot and not _is_near(spot, self._spot, LEAP_MAX):
            leapt, leapt_utc = self._leapt
            if not (leapt_utc and leapt_utc < bucket_utc and _is_near(spot, leapt, AGREE_MAX)):
                if leapt_utc != bucket_utc or not leapt:
                    self._leapt = spot, bucket_utc
                return False
        self._spot, self._leapt = spot, (0, Utc(0))
        return True


def _is_near(a: int, b: int, share: float) -> bool:
    return abs(a - b) <= share * b


class Packed(NamedTuple):
    """What each key carries (groups, and the tickers in them), and the tickers for which no key has room."""

    groups: tuple[tuple[str, ...], ...]
    tickers: tuple[tuple[str, ...], ...]
    left_out: tuple[str, ...]


def packed(
    tickers: Sequence[str],
    spot_only: Sequence[str],
    hubs: Mapping[str, Sequence[str]],
    memberships_max: int,
    keys_n: int = 1,
) -> Packed:
    """Return the keys' groups: a ticker goes in whole, with its spot, in the order of priority, or not at all.

    Args:
        tickers: analysed tickers, each in every category of every hub.
        spot_only: tickers of which only the spot is wanted.
        hubs: the categories of each hub.
        memberships_max: groups that one key may carry.
        keys_n: keys that there are; those that nothing is left for are not used.
    """
    categories = [category for wanted in hubs.values() for category in wanted]
    groups: list[list[str]] = [[] for _ in range(keys_n)]
    carried: list[list[str]] = [[] for _ in range(keys_n)]
    left_out: list[str] = []
    for ticker in in_priority((*tickers, *spot_only)):
        own = [f"{ticker}_spot"]
        if ticker in tickers:
            own += [f"{ticker}_{category}" for category in categories]
        key_n = next((n for n, of_key in enumerate(groups) if len(of_key) + len(own) <= memberships_max), None)
        if key_n is None:
            left_out.append(ticker)
        else:
            groups[key_n] += own
            carried[key_n].append(ticker)
    used_n = max(1, sum(map(bool, groups)))
    return Packed(tuple(map(tuple, groups[:used_n])), tuple(map(tuple, carried[:used_n])), tuple(left_out))


def expiry_on(day: date, closed_dates: Collection[date] = ()) -> date:
    """Return the expiry that categories of today's have on a New York date: it, or the first session after it."""
    found = calendar.day(day, closed_dates) or calendar.next_session(day, closed_dates)
    return found.session


def at_expiry(name: str, expiry: date) -> str:
    """Return the vendor's name of a category or group: one of today's expiry bears its date, others stay."""
    return f"{name.removesuffix(TODAY)}_{expiry:%Y%m%d}" if name.endswith(TODAY) else name


def memberships(
    groups: Sequence[str], hubs: Mapping[str, Sequence[str]], expiry: date, memberships_max: int
) -> tuple[tuple[str, str], ...]:
    """Return where a key's groups are joined: pairs of a hub and the vendor's name of a group.

    A ticker's spot is joined on each hub that analyses it, where the key has room for that; else, and of tickers that
    only have a spot, on the first.

    Args:
        groups: as `packed` gives them; each belongs to a hub that has its category.
        hubs: the categories of each hub.
        expiry: of categories of today's.
        memberships_max: groups that one key may carry.
    """
    joined: list[tuple[str, str]] = []
    spots: dict[str, list[str]] = {group: [] for group in groups if group.endswith(SPOT)}
    for hub, categories in hubs.items():
        for spot, at in spots.items():
            own = [f"{spot.removesuffix(SPOT)}_{category}" for category in categories]
            found = [group for group in own if group in groups]
            joined += [(hub, at_expiry(group, expiry)) for group in found]
            if found:
                at.append(hub)
    first = next(iter(hubs))
    everywhere = [(hub, spot) for spot, at in spots.items() for hub in at or [first]]
    if len(joined) + len(everywhere) > memberships_max:
        everywhere = [(next(iter(at), first), spot) for spot, at in spots.items()]
    return (*joined, *everywhere)


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
