"""What other levels would have made of a path: the first look that reaches one decides, as one look after the other."""

from __future__ import annotations

from datetime import date

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from domain.position.exit_paths import ExitPath, Levels, results_cents

STOP = 0.35
LOOKS = st.lists(st.tuples(st.integers(1, 60), st.integers(-60, 120), st.integers(0, 20)), min_size=1, max_size=40)
LEVELS = st.lists(
    st.builds(Levels, take=st.integers(5, 120).map(lambda n: n / 100), hold_ms=st.integers(1, 1_200)), min_size=1
)


def path_of(looks: list[tuple[int, int, int]]) -> ExitPath:
    """Return a path of looks: seconds since the one before, gain of the mid in percent, how far the bid is below."""
    mid = np.array([gain / 100 for _, gain, _ in looks])
    return ExitPath(
        session=date(2026, 11, 20), ticker="SPX", cost_cents=100_000,
        at_ms=np.cumsum([seconds for seconds, _, _ in looks]).astype(np.int64), mid=mid,
        bid=np.array([(gain - below) / 100 for _, gain, below in looks]),
    )  # fmt: skip


@given(looks=LOOKS, levels=LEVELS)
def test_each_level_sells_at_the_bid_of_the_first_look_that_reaches_it(
    looks: list[tuple[int, int, int]], levels: list[Levels]
) -> None:
    path = path_of(looks)
    columns = path.at_ms.tolist(), path.mid.tolist(), path.bid.tolist()
    rows: list[tuple[int, float, float]] = list(zip(*columns, strict=True))

    def plain(one: Levels) -> int:
        for at_ms, mid, bid in rows:
            if mid <= -STOP or mid >= one.take or at_ms >= one.hold_ms:
                return round(bid * path.cost_cents)
        return round(rows[-1][2] * path.cost_cents)

    assert results_cents(path, levels, STOP).tolist() == [plain(one) for one in levels]


def test_the_farthest_gain_is_that_of_the_mid_and_never_negative() -> None:
    assert (path_of([(5, 10, 2), (5, 40, 2), (5, 20, 2)]).mfe, path_of([(5, -10, 2)]).mfe) == (0.4, 0.0)
    assert path_of([(5, 10, 2), (5, 40, 2), (5, 40, 2)]).mfe_ms == 10
