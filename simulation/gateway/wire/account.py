"""What the gateway sends about the account: values, portfolio, positions, summary, and their end marks."""

from __future__ import annotations

from collections.abc import Mapping

from domain.instants import exchange_clock
from domain.units import Cents, Utc
from simulation.broker.portfolio import Position
from simulation.gateway.wire.frames import encode, usd


def account_updates(values: Mapping[str, Cents], account: str) -> list[bytes]:
    """Write updateAccountValue (6) for every value, in USD."""
    return [
        encode(6, 2, "AccountReady", "true", "", account),
        encode(6, 2, "AccountType", "INDIVIDUAL", "", account),
        encode(6, 2, "DayTradesRemaining", -1, "", account),  # unlimited, as for a margin account of any size here
        *(encode(6, 2, tag, usd(cents), "USD", account) for tag, cents in values.items()),
    ]


def account_time(now_utc: Utc) -> bytes:
    """Write updateAccountTime (8), New York's clock."""
    return encode(8, 1, exchange_clock(now_utc)[:5])


def account_download_end(account: str) -> bytes:
    """Write accountDownloadEnd (54)."""
    return encode(54, 1, account)


def portfolio(position: Position, contract: tuple[str, ...], mark_ticks: float, account: str) -> bytes:
    """Write updatePortfolio (7); the market value is the mark times quantity and multiplier."""
    multiplier = int(contract[6] or 1)
    value_cents = position.qty * mark_ticks * multiplier
    unrealised = value_cents - position.cost_cents if position.qty else 0
    return encode(
        7, 8, *contract[:7], "CBOE", *contract[8:], position.qty, usd(mark_ticks),
        usd(value_cents), position.average_cost_usd, usd(unrealised),
        usd(position.realised_cents), account,
    )  # fmt: skip


def position_row(position: Position, contract: tuple[str, ...], account: str) -> bytes:
    """Write position (61); the exchange is empty, as a real gateway leaves it."""
    fields = (*contract[:7], "", *contract[8:])
    return encode(61, 3, account, *fields, position.qty, position.average_cost_usd)


def position_end() -> bytes:
    """Write positionEnd (62)."""
    return encode(62, 1)


def account_multi(request_id: int, values: Mapping[str, Cents], account: str) -> list[bytes]:
    """Write accountUpdateMulti (73) for every value."""
    return [encode(73, 1, request_id, account, "", tag, usd(cents), "USD") for tag, cents in values.items()]


def account_multi_end(request_id: int) -> bytes:
    """Write accountUpdateMultiEnd (74)."""
    return encode(74, 1, request_id)


def position_multi(request_id: int, position: Position, contract: tuple[str, ...], account: str) -> bytes:
    """Write positionMulti (71); the exchange is empty, there is no model."""
    fields = (*contract[:7], "", *contract[8:])
    return encode(71, 1, request_id, account, *fields, position.qty, position.average_cost_usd, "")


def position_multi_end(request_id: int) -> bytes:
    """Write positionMultiEnd (72)."""
    return encode(72, 1, request_id)


def account_summary(request_id: int, values: Mapping[str, Cents], tags: str, account: str) -> list[bytes]:
    """Write accountSummary (63) for the tags asked for (all if none is named)."""
    wanted = {tag for tag in tags.split(",") if tag and not tag.startswith("$")}
    return [
        encode(63, 1, request_id, account, tag, usd(cents), "USD")
        for tag, cents in values.items()
        if not wanted or tag in wanted
    ]


def account_summary_end(request_id: int) -> bytes:
    """Write accountSummaryEnd (64)."""
    return encode(64, 1, request_id)
