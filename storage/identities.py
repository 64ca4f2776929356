"""Identities that hold in the vendor's data: a row that breaks one is kept and counted.

Source: the identities of `gexbot.md` §3. Sums stand in 1/1000 and their terms in 1/100, each rounded on its own, so an
identity may be off by half a unit per term.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from domain.options.profile import Profile, Row, Shape

_TOTALS = (
    ("agg_dex", "agg_call_dex", "agg_put_dex"),
    ("one_agg_dex", "one_agg_call_dex", "one_agg_put_dex"),
    ("net_dex", "net_call_dex", "net_put_dex"),
    ("one_net_dex", "one_net_call_dex", "one_net_put_dex"),
)


def violations_of(rows: Iterable[Row]) -> Counter[str]:
    """Return how many rows break each identity, by its name."""
    return Counter(name for row in rows for name in broken_by(row.profile))


def broken_by(profile: Profile) -> tuple[str, ...]:
    """Return the identities that a profile breaks."""
    if profile.shape is Shape.GEX:
        return tuple(name for name in ("gex_vol", "gex_oi") if not _sums_up(profile, name))
    if profile.shape is Shape.ORDERFLOW:
        return tuple(total for total, call, put in _TOTALS if not _adds_up(profile, total, call, put))
    return ()


def _sums_up(profile: Profile, column: str) -> bool:
    total = 10 * int(profile.column(column).sum(dtype="int64"))
    return abs(total - profile.scalar(f"sum_{column}")) <= 5 * (len(profile.strikes) + 1)


def _adds_up(profile: Profile, total: str, call: str, put: str) -> bool:
    return abs(profile.scalar(total) - profile.scalar(call) - profile.scalar(put)) <= 1
