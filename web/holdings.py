"""Positions and the day's money, from the ledgers and the newest quotes."""

from __future__ import annotations

from datetime import date

import msgspec

from domain.instants import MINUTE, MS, SECOND
from domain.instruments import Contract, Quote, Right, Side, Spot
from domain.position.exits import HeldPosition
from domain.position.nearest import Distance, distances
from domain.reports.trades import results_cents
from domain.risk.day import hard_limit_cents
from domain.structure.nearest import HeldStructure
from domain.structure.nearest import distances as structure_distances
from domain.structure.saga import SagaState
from domain.units import Cents, Qty, Ticks, Utc
from storage.queries import Found
from web import models
from web.ledgers import average_ticks, label_of, usd
from web.times import iso, iso_of
from web.view import View

_STATE = {"PENDING_ENTRY": "pending", "OPEN": "open", "PENDING_EXIT": "closing", "SETTLING": "settling"}


class _Structure(msgspec.Struct, frozen=True):
    """What the legs of a structure have in common."""

    pnl_cents: Cents | None
    exits: list[models.NearestExit]


def positions(view: View) -> list[models.Position]:
    """Return what is held or may soon be, in the order of reservation."""
    structures = {key: _structure(view, legs) for key, legs in _legs(view).items()}
    return [_position(view, row, structures.get(row["structure_id"])) for row in view.ledgers.held]


def _legs(view: View) -> dict[str, list[Found]]:
    """Return the legs of each structure that is held whole; one under way has no exits of its own."""
    found: dict[str, list[Found]] = {}
    for row in view.ledgers.held:
        if row["structure_state"] == SagaState.HELD:
            found.setdefault(row["structure_id"], []).append(row)
    return found


def _structure(view: View, legs: list[Found]) -> _Structure:
    sold, opened = [row for row in legs if row["side"] == Side.SELL], [row["opened_utc"] for row in legs]
    pnl = _result_cents(view, legs)
    if not sold or None in opened:
        return _Structure(pnl, [])
    held = HeldStructure(
        sold=tuple(_contract(row) for row in sold), pnl_cents=pnl, credit_cents=sold[0]["credit_cents"],
        entry_spot_ticks=sold[0]["entry_spot_ticks"], opened_utc=Utc(max(opened)),
    )  # fmt: skip
    spot, hours = view.spots.get(sold[0]["underlying"]), view.day
    found = structure_distances(
        held, spot, view.now_utc, None if hours is None else hours.close_utc, _flatten_utc(view), view.settings.spread
    )
    return _Structure(pnl, [_exit(distance, sold[0]["underlying"]) for distance in found])


def _result_cents(view: View, legs: list[Found]) -> Cents | None:
    """Return what all legs have come to, by their marks and net of fees; `None` while a mark is not known."""
    total = 0.0
    for row in legs:
        bought = average_ticks([fill for fill in view.ledgers.fills_of(row) if not fill["is_exit"]])
        unrealised = _unrealised(view, row, row["net_qty"], bought, view.quotes.get(row["con_id"]))
        if unrealised is None:
            return None
        total += (row["realised_cents"] or 0) + 100 * unrealised
    return Cents(round(total))


def _contract(row: Found) -> Contract:
    return Contract(
        row["con_id"], row["underlying"], row["trading_class"], date.fromisoformat(row["expiry"]),
        Ticks(row["strike_ticks"]), Right(row["right"]),
    )  # fmt: skip


def _flatten_utc(view: View) -> Utc | None:
    hours = view.day
    return None if hours is None else Utc(hours.close_utc - view.settings.day.flatten_ms * MS)


def _position(view: View, row: Found, structure: _Structure | None) -> models.Position:
    fills = view.ledgers.fills_of(row)
    bought = average_ticks([fill for fill in fills if not fill["is_exit"]])
    quote = view.quotes.get(row["con_id"])
    sign = Side(row["side"]).sign
    held, strike = abs(row["net_qty"]), row["strike_ticks"] / 100
    exits = _exits(view, row, held, bought, quote) if structure is None else structure.exits
    bid, ask = (None, None) if quote is None else (quote.bid_ticks, quote.ask_ticks)
    opened_utc, ticker = row["opened_utc"] or row["reserved_utc"], row["underlying"]
    return models.Position(
        trade_id=row["position_id"] or row["intent_id"], entry_time=iso_of(opened_utc),
        spy_strike=strike if ticker == "SPY" else None, spx_strike=strike if ticker == "SPX" else None,
        entry_credit=None if bought is None else -sign * bought * held,
        current_pnl=_unrealised(view, row, sign * held, bought, quote),
        status=_STATE.get(row["position_state"] or row["state"], "open"), ticker=ticker, contract=label_of(row),
        right=row["right"], strike=strike, expiry=row["expiry"], qty=sign * (held or row["qty"]),
        entry_price=None if bought is None else bought / 100, bid=usd(bid), ask=usd(ask),
        quote_age_s=None if quote is None else max(0.0, round((view.now_utc - quote.at_utc) / SECOND, 1)),
        strategy=row["strategy"], direction=row["direction"], order_ref=row["order_ref"],
        wanted_exit=row["exit_reason"], nearest=exits[0] if exits else None, exits=exits,
        greeks=_greeks(quote, sign * held * row["multiplier"], view.spots.get(ticker)),
        structure_id=row["structure_id"],
        structure_pnl=None if structure is None else usd(structure.pnl_cents),
    )  # fmt: skip


def _exits(view: View, row: Found, held: int, bought: float | None, quote: Quote | None) -> list[models.NearestExit]:
    rules = view.settings.ticker_rules.get(row["ticker"])
    if not held or bought is None or rules is None or row["opened_utc"] is None or row["structure_id"] is not None:
        return []
    position = HeldPosition(
        qty=Qty(held), average_ticks=bought, direction=row["direction"], entry_spot_ticks=row["entry_spot_ticks"],
        entry_iv=None, opened_utc=Utc(row["opened_utc"]), took_part=bool(row["took_part"]),
    )  # fmt: skip
    spot = view.spots.get(row["ticker"])
    found = distances(position, quote, spot, view.now_utc, _flatten_utc(view), view.settings.exits, rules)
    return [_exit(distance) for distance in found]


def _unrealised(view: View, row: Found, held: int, bought: float | None, quote: Quote | None) -> float | None:
    """Return what a position has gained so far in USD: at mid, else what it said of itself last; `held` is signed."""
    if held and bought is not None and quote is not None and quote.mid_x2 is not None:
        return round((quote.mid_x2 / 2 - bought) * held, 2)
    mark = view.marks.get(row["position_id"] or "")
    return None if mark is None or mark.unrealised_cents is None else mark.unrealised_cents / 100


def performance(view: View) -> models.Performance:
    """Return the day's money."""
    today, held = view.ledgers.today(), view.ledgers.held
    results = results_cents(today)
    of_held = sum(row["realised_cents"] or 0 for row in held if row["position_id"] is not None)
    realised = sum(row["realised_cents"] for row in today) + of_held
    open_pnl = [p.current_pnl for p in positions(view) if p.status != "pending"]
    unrealised = None if None in open_pnl else round(sum(pnl for pnl in open_pnl if pnl is not None), 2)
    row = view.ledgers.day
    nav = None if row is None or row["start_nav_cents"] is None else Cents(row["start_nav_cents"])
    limits = view.settings.entry
    hard = None if nav is None else hard_limit_cents(nav, limits) / 100
    locked = None if row is None else row["locked_why"]
    return models.Performance(
        daily_realized_pnl=realised / 100, held_realized_pnl=of_held / 100, unrealized_pnl=unrealised,
        total_pnl=None if unrealised is None else round(realised / 100 + unrealised, 2),
        max_daily_loss=None if hard is None else -hard, risk_breached=locked == "daily_loss",
        trades_count=len(results), active_positions=sum(r["state"] == "OPEN" for r in held),
        soft_stop=None if nav is None else -limits.soft_stop_nav * nav / 100, hard_stop=hard,
        start_nav=usd(nav), locked=locked, fees=sum(r["fees_cents"] for r in today) / 100,
        wins=sum(cents > 0 for cents in results), losses=sum(cents < 0 for cents in results),
        curve=[list(point) for point in view.curve],
    )  # fmt: skip


def sample(view: View) -> None:
    """Note the day's P&L, once a minute of the market; what came before is known by its closed trades."""
    hours = view.day
    if hours is None or not view.ledgers.is_read or not hours.open_utc <= view.now_utc <= hours.close_utc:
        return
    if not view.curve:
        total = 0
        view.curve.append((hours.open_utc // SECOND, 0.0))
        for trade in reversed(view.ledgers.today()):
            total += trade["realised_cents"]
            view.curve.append((trade["closed_utc"] // SECOND, total / 100))
    if view.now_utc // SECOND - view.curve[-1][0] >= MINUTE // SECOND:
        total_pnl = performance(view).total_pnl
        if total_pnl is not None:
            view.curve.append((view.now_utc // SECOND, total_pnl))


def _exit(distance: Distance, ticker: str | None = None) -> models.NearestExit:
    level = None if distance.level_ticks is None else round(distance.level_ticks / 100, 2)
    return models.NearestExit(
        reason=distance.reason.value, left=round(distance.left, 3), level=level, at=iso(distance.at_utc),
        pnl=usd(distance.pnl_cents), ticker=None if level is None else ticker,
    )  # fmt: skip


def _greeks(quote: Quote | None, shares: int, spot: Spot | None) -> models.GreeksOf | None:
    if quote is None or quote.greeks is None or not shares:
        return None
    greeks = quote.greeks
    dollars = None if spot is None else round(greeks.delta * shares * spot.price_ticks / 100)
    return models.GreeksOf(
        delta=round(greeks.delta * shares, 1), delta_dollars=dollars, gamma=round(greeks.gamma * shares, 2),
        theta=round(greeks.theta * shares, 2), vega=round(greeks.vega * shares, 2), iv=round(greeks.iv, 4),
    )  # fmt: skip
