"""Levels of taking profit and holding learned from paths: chosen on sessions before, judged on the next ones alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from domain.instants import MINUTE, MS
from domain.position.exit_paths import ExitPath, Levels, Longs, results_cents
from domain.reports.model import Rate
from simulation.backtest.sweep_figures import Fold, by_chance, walk_forward

# Fixed before any path is read, so that the choice of what is tried knows nothing of what is judged on.
TAKES: Final = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
HOLDS_MS: Final = tuple(minutes * MINUTE // MS for minutes in (2, 4, 6, 8, 10, 15, 20, 30, 45, 60))
PATHS_MIN: Final = 30  # fewer teach nothing
SESSIONS_MIN: Final = 5
TRIED: Final = tuple(Levels(take, hold) for take in TAKES for hold in HOLDS_MS)
RESAMPLED: Final = 2_000
_SEED: Final = 20_260_101  # the same paths give the same bounds

Before = Mapping[str, Levels]


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """Levels beside those before, trade by trade: `mean_cents` more a trade, with bounds of 95 % (sessions drawn anew).

    `better` counts the trades that came to more, of those that came to something else. `mean_cents` and `bounds` are
    `None` without a trade; `bounds` under two sessions.
    """

    n: int
    sessions: int
    mean_cents: float | None
    bounds: tuple[float, float] | None
    better: Rate


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """Levels learned from all paths, `None` where none of the `tried` came to more than those before.

    `ahead` judges what each step of `folds` chose, on what it had not seen; a fold's chosen 0 stands for those before,
    n for `TRIED[n - 1]`. `chance` is how often the best of as many levels without an edge over those before does as
    well; `None` under 20 sessions.
    """

    levels: Levels | None
    n: int
    folds: tuple[Fold, ...]
    ahead: Judged
    chance: Rate | None


def fit(paths: Sequence[ExitPath], before: Before, stop: float) -> Fit:
    """Return what these paths teach.

    Args:
        paths: in any order; one at least.
        before: the levels in force by ticker.
        stop: the premium stop in force.
    """
    sessions = sorted({path.session for path in paths})
    of_path = np.array([results_cents(path, (before[path.ticker], *TRIED), stop) for path in paths])
    place = np.array([sessions.index(path.session) for path in paths])
    nets = np.zeros((1 + len(TRIED), len(sessions)), np.int64)
    np.add.at(nets.T, place, of_path)
    folds = walk_forward(nets)
    more, of_session = list[NDArray[np.int64]](), list[NDArray[np.int64]]()
    for fold in folds:
        tested = (place >= fold.cut) & (place < fold.end)
        more.append(of_path[tested, fold.chosen] - of_path[tested, 0])
        of_session.append(place[tested])
    best = int(nets.sum(axis=1).argmax())
    return Fit(
        levels=TRIED[best - 1] if best else None, n=len(paths), folds=folds,
        ahead=_judged(np.concatenate(more or [_NONE]), np.concatenate(of_session or [_NONE])),
        chance=by_chance(nets - nets[0]),
    )  # fmt: skip


def judged(paths: Sequence[ExitPath], levels: Levels, before: Before, stop: float) -> Judged:
    """Return what levels would have done beside those before on paths that they were not learned from."""
    sessions: dict[date, int] = {}
    place = np.array([sessions.setdefault(path.session, len(sessions)) for path in paths], np.int64)
    found = np.array([results_cents(path, (levels, before[path.ticker]), stop) for path in paths], np.int64).reshape(
        -1, 2
    )
    return _judged(found[:, 0] - found[:, 1], place)


_NONE: Final = np.zeros(0, np.int64)


def _judged(more: Longs, of_session: Longs) -> Judged:
    sessions, place = np.unique(of_session, return_inverse=True)
    bounds = None
    if len(sessions) > 1:
        sums, counts = np.bincount(place, more), np.bincount(place)
        drawn = np.random.default_rng(_SEED).integers(0, len(sessions), (RESAMPLED, len(sessions)))
        means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
        bounds = (float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975)))
    return Judged(
        n=len(more), sessions=len(sessions), mean_cents=float(more.mean()) if len(more) else None, bounds=bounds,
        better=Rate(int((more > 0).sum()), int((more != 0).sum())),
    )  # fmt: skip
