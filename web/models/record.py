"""What reaches further than a session."""

from __future__ import annotations

from pydantic import Field

from web.models.base import Model


class Week(Model):
    """A week of the desk: `fill_rate` is the share of accepted attempts that bought something."""

    monday: str
    sessions: int
    trades: int
    wins: int
    net_pnl: float
    fees: float
    accepted: int
    refused: int
    fill_rate: float | None


class BrokerBreak(Model):
    """A loss of the order session: when, why, and for how long; `lasted_s` is `None` where it did not come back."""

    at: str
    cause: str
    lasted_s: float | None


class Lifetime(Model):
    """Sums of everything on record, since the first start.

    `kills` counts how often the kill level rose, `interventions` people's kills, flattens and resumes, `disconnects`
    the breaks of the feed's hubs that were survived, `broker_disconnects` those of the order session (the newest are
    `broker_breaks`), `rows` what is stored of the market.
    """

    since: str | None
    starts: int
    uptime_s: int | None
    sessions: int
    positions: int
    wins: int
    net_pnl: float
    interventions: int
    alerts: int
    kills: int
    disconnects: int
    rows: int
    broker_disconnects: int = 0
    broker_breaks: list[BrokerBreak] = Field(default_factory=list)


class GapRow(Model):
    """A time in which a hub's groups were expected and silent; `cover` names what delivered in their stead."""

    from_time: str
    to_time: str
    hub: str
    why: str
    cover: str | None
    tickers: list[str]
    groups: int
