"""What a sweep says of its combinations: how they spread, what each value does, and whether choosing one carries over.

`nets` is what each combination (row) came to on each session (column, ascending), in cents net of fees.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from domain.reports.model import Rate

Nets = NDArray[np.int64]

QUANTILES: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
FOLDS: Final = 4
RESAMPLED: Final = 2_000
CHANCE_DAYS_MIN: Final = 20  # fewer days say nothing about chance
_AT_ONCE: Final = 100  # resamples in memory
_SEED: Final = 20_260_101  # the same results give the same answer


class Spread(msgspec.Struct, frozen=True):
    """Totals of combinations: at `QUANTILES`, and how many of them gained."""

    cents: tuple[float, ...]
    gained: Rate


class Fold(msgspec.Struct, frozen=True, kw_only=True):
    """One step forward: what came to most on the sessions before `cut`, judged on those from `cut` to before `end`.

    Both are places among the sessions, ascending. `tested_cents` is what the chosen combination then came to,
    `median_cents` the median of all; `beaten` counts the others that did worse.
    """

    cut: int
    end: int
    chosen: int
    trained_cents: int
    tested_cents: int
    median_cents: float
    beaten: Rate


def spread_of(totals: NDArray[np.int64]) -> Spread:
    """Return how totals spread."""
    return Spread(
        tuple(float(q) for q in np.quantile(totals, QUANTILES)), Rate(int((totals > 0).sum()), int(totals.size))
    )


def falls_of(nets: Nets) -> NDArray[np.int64]:
    """Return by combination the largest fall of its sum, by days' ends, as a positive number."""
    sums = np.cumsum(np.concatenate((np.zeros((len(nets), 1), np.int64), nets), axis=1), axis=1)
    found: NDArray[np.int64] = (np.maximum.accumulate(sums, axis=1) - sums).max(axis=1)
    return found


def walk_forward(nets: Nets, folds: int = FOLDS) -> tuple[Fold, ...]:
    """Return the steps forward: a combination is chosen on all sessions before, and judged on the next ones alone.

    The sessions are cut into one more part than there are steps, as even as can be; none under two sessions, fewer
    steps where there are fewer sessions. Of equal combinations the first is chosen.
    """
    sessions = nets.shape[1]
    cuts = [round(sessions * n / (folds + 1)) for n in range(folds + 2)] if sessions > folds else [*range(sessions + 1)]
    found = []
    for cut, end in itertools.pairwise(cuts[1:]):
        trained, tested = nets[:, :cut].sum(axis=1), nets[:, cut:end].sum(axis=1)
        chosen = int(trained.argmax())
        found.append(
            Fold(
                cut=cut, end=end, chosen=chosen, trained_cents=int(trained[chosen]), tested_cents=int(tested[chosen]),
                median_cents=float(np.median(tested)),
                beaten=Rate(int((tested < tested[chosen]).sum()), len(tested) - 1),
            )
        )  # fmt: skip
    return tuple(found)


def by_chance(nets: Nets) -> Rate | None:
    """Return how often the best of as many combinations without any edge does as well as the best one did.

    Days are drawn with replacement, the same ones for all combinations, whose means are taken away first (White 2000,
    "A Reality Check for Data Snooping"). `None` under `CHANCE_DAYS_MIN` days.
    """
    sessions = nets.shape[1]
    if sessions < CHANCE_DAYS_MIN:
        return None
    means = nets.mean(axis=1)
    without_edge, best = nets - means[:, None], means.max()
    random, hits = np.random.default_rng(_SEED), 0
    for _ in range(RESAMPLED // _AT_ONCE):
        drawn = random.multinomial(sessions, np.full(sessions, 1 / sessions), _AT_ONCE).astype(np.float64)
        hits += int(((drawn @ without_edge.T / sessions).max(axis=1) >= best).sum())
    return Rate(hits, RESAMPLED)


def of_value(totals: NDArray[np.int64], has_value: Sequence[bool]) -> Spread:
    """Return how the totals of the combinations with one value spread, whatever their other values."""
    return spread_of(totals[np.array(has_value, bool)])
