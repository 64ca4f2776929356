"""What lies around the day: how the index funds and the VIX go together, and the derived series of each symbol."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from domain.market.bars import Bars
from domain.market.derived import TABLE, all_values
from storage.minute_bars import SESSIONS, TICKERS, Correlated, correlated, joined_sessions, minute_bars
from storage.series_reader import SeriesReader
from storage.warehouse_reader import WarehouseReader
from web import models


class MarketContext:
    """The minute bars of the session shown and of those before it; a session that is over is read once."""

    def __init__(self, series: Path) -> None:
        self._series = series
        self._sessions: dict[date, dict[str, Bars]] = {}

    def read(self, market: WarehouseReader, shown: date) -> models.Context:
        """Return the context of a session."""
        reader = SeriesReader(self._series)  # not kept: what it reads is large, what is made of it is small
        known = sorted({*market.sessions(), *reader.sessions()})
        wanted = [session for session in known if session < shown][-SESSIONS:]
        for session in wanted:
            if session not in self._sessions:
                self._sessions[session] = minute_bars(market, reader, session, TICKERS)
        now = minute_bars(market, reader, shown, TICKERS)
        found = {session: self._sessions[session] for session in wanted} | {shown: now}
        values = all_values(joined_sessions(found)) if now else {}
        return models.Context(
            session=shown.isoformat(), sessions_before=len(wanted),
            correlations=[
                _correlation(one) for one in correlated(found, shown)
            ],
            derived=[
                models.Derived(
                    symbol=series.symbol, name=series.name, formula=series.formula,
                    value=_value(values.get((series.symbol, series.name))),
                )
                for series in TABLE
            ],
        )  # fmt: skip


def _correlation(one: Correlated) -> models.Correlation:
    usual = one.usual
    return models.Correlation(
        pair="/".join(one.pair), now=_short(one.now), usual=None if usual is None else _short(usual.mean),
        deviation=None if usual is None else _short(usual.deviation), sessions=0 if usual is None else usual.sessions,
        is_broken=one.is_broken,
    )  # fmt: skip


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _value(value: float | str | None) -> float | str | None:
    return round(value, 6) if isinstance(value, float) else value
