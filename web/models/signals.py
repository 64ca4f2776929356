"""What led to a trade or to none: readings, alerts, gates, and what lies around the day."""

from __future__ import annotations

from web.models.base import Model


class Alert(Model):
    """An alert of a lane; `outcome` says in words how it came out, as far as that is known.

    `first` is what was reached first (target, stop, neither); `mfe_bps` and `mae_bps` are the farthest moves with and
    against it; `is_resolved` says that its horizon is over without a gap.
    """

    alert_id: str
    at: str
    source: str
    ticker: str
    kind: str
    direction: int
    price: float
    target: float
    stop: float
    is_shadow: bool
    alignment: float | None
    became: str | None
    outcome: str | None
    first: str | None
    mfe_bps: float | None
    mae_bps: float | None
    is_resolved: bool


class Rate(Model):
    """How alerts of a source, kind and version came out: `wins` of `n` resolved ones reached their target first.

    `lower` and `upper` are Wilson's bounds at 95 %; `unresolved` (a gap) and `followed` count in no rate.
    """

    source: str
    kind: str
    version: int
    is_shadow: bool
    n: int
    wins: int
    losses: int
    unresolved: int
    followed: int
    rate: float | None
    lower: float | None
    upper: float | None


class Refusal(Model):
    """An attempt that was refused, with what the deciding gate measured; `text` says it in a trader's units.

    `because` is the code, and where no contract passed that of the nearest one behind it.
    """

    at: str
    alert_id: str
    source: str
    ticker: str
    kind: str
    code: str
    because: str
    gate: str | None
    measured: float | None
    limit: float | None
    unit: str
    words: str | None
    text: str


class Gates(Model):
    """The attempts of a session: how many ended with which code, and the newest refusals of what might have traded."""

    counts: dict[str, int]
    refusals: list[Refusal]


class Force(Model):
    """One force of a reading: score from -1 to 1, confidence from 0 to 1."""

    name: str
    score: float
    confidence: float


class Reading(Model):
    """The newest reading of a ticker."""

    ticker: str
    at: str
    spot: float | None
    zero_gamma: float | None
    alignment: float | None
    missing: list[str]
    forces: list[Force]


class StoryStep(Model):
    """One step of a chain (reading, alert, gates, refused, order, fill, exit, won, lost), `gap_s` after the last."""

    at: str
    gap_s: float
    kind: str
    text: str


class Story(Model):
    """The causal chain of an alert (`title`: its ticker and kind): what was seen, decided, ordered, how it ended."""

    ref: str
    alert_id: str
    title: str
    steps: list[StoryStep]


class Correlation(Model):
    """A pair's correlation of minute returns in the session shown, and what was usual in the sessions before."""

    pair: str
    now: float | None
    usual: float | None
    deviation: float | None
    sessions: int
    is_broken: bool


class Derived(Model):
    """One derived series of a symbol: its newest value, `None` where an input is missing."""

    symbol: str
    name: str
    formula: str
    value: float | str | None


class Context(Model):
    """What lies around the session shown; `sessions_before` are stored before it, at most 30."""

    session: str
    sessions_before: int
    correlations: list[Correlation]
    derived: list[Derived]
