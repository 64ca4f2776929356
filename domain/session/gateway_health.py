"""How each gateway has done so far, one row a gateway, and when IB's weekly login is due."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from domain.instants import SECOND, exchange_clock, session_of
from domain.session.dialling import Link, LinkState
from domain.units import Utc

_SUNDAY, _MONDAY = 6, 0
_ON_DUTY = "09:30:00"


class GatewayHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One gateway of this run: where its link is and since when, how long it was up in all before, and its faults."""

    gateway_n: int
    state: LinkState
    since_utc: Utc
    up_before_ns: int = 0
    round_trip_ms: int | None = None
    errors: int = 0
    last_error: str = ""

    def up_s(self, now: Utc) -> int:
        """Return how many seconds its link has been up in this run."""
        return (self.up_before_ns + (now - self.since_utc if self.state is LinkState.UP else 0)) // SECOND

    def words(self, now: Utc) -> str:
        """Return the row for people."""
        trip = "" if self.round_trip_ms is None else f", {self.round_trip_ms} ms"
        counted = f"{self.errors} error{'s' * (self.errors != 1)}"
        errors = f", {counted}, last: {self.last_error}" if self.errors else ""
        return f"gateway {self.gateway_n} {self.state.value}, up {self.up_s(now)} s{trip}{errors}"


Rows = tuple[GatewayHealth, ...]


def after_link(rows: Rows, link: Link, now: Utc) -> Rows:
    """Return the rows with the state of the link's gateway; the same ones where it has not changed."""
    row = next((row for row in rows if row.gateway_n == link.dial_n), None)
    if row is None:
        return (*rows, GatewayHealth(gateway_n=link.dial_n, state=link.state, since_utc=now))
    if row.state is link.state:
        return rows
    up_ns = row.up_before_ns + (now - row.since_utc if row.state is LinkState.UP else 0)
    return _put(rows, replace(row, state=link.state, since_utc=now, up_before_ns=up_ns))


def after_error(rows: Rows, gateway_n: int, text: str) -> Rows:
    """Return the rows with a fault of a gateway counted."""
    return tuple(
        replace(row, errors=row.errors + 1, last_error=text) if row.gateway_n == gateway_n else row for row in rows
    )


def after_round_trip(rows: Rows, gateway_n: int, round_trip_ms: int) -> Rows:
    """Return the rows with a gateway's newest round trip."""
    return tuple(replace(row, round_trip_ms=round_trip_ms) if row.gateway_n == gateway_n else row for row in rows)


def _put(rows: Iterable[GatewayHealth], new: GatewayHealth) -> Rows:
    return tuple(new if row.gateway_n == new.gateway_n else row for row in rows)


def is_weekly_login_due(now: Utc) -> bool:
    """Return whether a gateway may be down because IB ended its login on Saturday night, until Monday's open."""
    weekday = session_of(now).weekday()
    return weekday == _SUNDAY or (weekday == _MONDAY and exchange_clock(now) < _ON_DUTY)
