"""The session's lists, newest first: trades, alerts, refusals, fills, and the marks of a chart."""

from __future__ import annotations

from domain.ask.question import examples
from domain.instants import SECOND
from domain.instruments import Side
from domain.reports.refusals import code_text, refused_measure
from domain.reports.trades import closing_text, exit_reasons
from domain.risk.reject import RejectCode
from domain.signals.outcome import Outcome, OutcomeState
from domain.units import Utc
from storage.queries import Found
from web import models
from web.ledgers import average_ticks, before, label_of, short_label_of, usd
from web.outcomes import words_of
from web.times import iso, iso_of
from web.view import View

LIST_MAX = 50


def trades(view: View, limit: int, before_utc: Utc | None = None) -> list[models.Trade]:
    """Return closed positions; with `before_utc` those that were closed by then."""
    return [_trade(view, row) for row in before(view.ledgers.trades, "closed_utc", before_utc)[:limit]]


def _trade(view: View, row: Found) -> models.Trade:
    fills, sign = view.ledgers.fills_of(row), Side(row["side"] or Side.BUY).sign
    bought = average_ticks([fill for fill in fills if not fill["is_exit"]])
    sold = average_ticks([fill for fill in fills if fill["is_exit"]])
    return models.Trade(
        id=row["position_id"], trade_date=row["session"],
        entry_credit=None if bought is None else -sign * bought * row["opened_qty"],
        final_pnl=row["realised_cents"] / 100, exit_reason=row["exit_reason"] or row["end"], status="closed",
        closed_by=closing_text(row, exit_reasons(view.ledgers.executions, row)), structure_id=row["structure_id"],
        ticker=row["ticker"] or "", contract=label_of(row) if row["strike_ticks"] else str(row["con_id"]),
        qty=sign * (row["opened_qty"] or 0), fees=row["fees_cents"] / 100, entry_time=iso(row["opened_utc"]),
        exit_time=iso_of(row["closed_utc"]), entry_price=None if bought is None else bought / 100,
        exit_price=None if sold is None else sold / 100, strategy=row["strategy"], alert_id=row["alert_id"],
        order_ref=row["order_ref"],
    )  # fmt: skip


def alerts(
    view: View, limit: int = LIST_MAX, before_utc: Utc | None = None, *, shadows: bool | None = None
) -> list[models.Alert]:
    """Return the session's alerts, each with what became of it; `before_utc` as in `trades`.

    `shadows`: those alone that were never to be traded, or none of them; `None`: all.
    """
    known = before(view.ledgers.alerts, "raised_utc", before_utc)
    if shadows is not None:
        known = [row for row in known if bool(row["is_shadow"]) is shadows]
    became = view.ledgers.fates(before_utc)
    outcomes = view.outcomes.known
    if before_utc is not None:  # an outcome tells of the market up to its end
        outcomes = {key: outcome for key, outcome in outcomes.items() if outcome.end_utc <= before_utc}
    return [_alert(row, became.get(row["alert_id"]), outcomes.get(row["alert_id"])) for row in reversed(known[-limit:])]


def _alert(row: Found, became: str | None, outcome: Outcome | None) -> models.Alert:
    return models.Alert(
        alert_id=row["alert_id"], at=iso_of(row["raised_utc"]), source=row["source"], ticker=row["ticker"],
        kind=row["kind"], direction=row["direction"], price=row["entry_ticks"] / 100,
        target=row["target_ticks"] / 100, stop=row["stop_ticks"] / 100, is_shadow=bool(row["is_shadow"]),
        alignment=row["alignment"], became=became, outcome=words_of(outcome),
        first=None if outcome is None else outcome.first.value,
        mfe_bps=None if outcome is None else round(outcome.mfe_bps, 1),
        mae_bps=None if outcome is None else round(outcome.mae_bps, 1),
        is_resolved=outcome is not None and outcome.state is OutcomeState.RESOLVED,
    )  # fmt: skip


def shadows(view: View, limit: int = LIST_MAX, before_utc: Utc | None = None) -> list[models.Alert]:
    """Return the session's alerts that were never to be traded; `before_utc` as in `trades`."""
    return alerts(view, limit, before_utc, shadows=True)


def gates(view: View, limit: int = LIST_MAX) -> models.Gates:
    """Return the session's attempts by the code that they ended with, and the newest refusals.

    A shadow's is counted alone: it was never to be traded, and there are many; `shadows` lists them.
    """
    counts: dict[str, int] = {}
    refusals: list[models.Refusal] = []
    for row in reversed(view.ledgers.attempts):
        code = RejectCode.SHADOW_SIGNAL if row["is_shadow"] else row["amended_code"] or row["code"]
        counts[code or "accepted"] = counts.get(code or "accepted", 0) + 1
        if code not in (None, RejectCode.SHADOW_SIGNAL) and len(refusals) < limit:
            refusals.append(_refusal(row, code))
    return models.Gates(counts=dict(sorted(counts.items(), key=lambda item: -item[1])), refusals=refusals)


def _refusal(row: Found, code: str) -> models.Refusal:
    return models.Refusal(
        at=iso_of(row["decided_utc"]), alert_id=row["alert_id"], source=row["source"], ticker=row["ticker"],
        kind=row["kind"], code=code, gate=row["gate"], measured=row["measured"], limit=row["limit_value"],
        unit=row["unit"], words=row["amended_words"],
        text=row["amended_words"] or refused_measure(row), because=code_text(row) or code,
    )  # fmt: skip


def fills(view: View, limit: int = LIST_MAX, before_utc: Utc | None = None) -> list[models.Fill]:
    """Return the session's executions in force; `before_utc` as in `trades`."""
    known = view.ledgers.contracts
    return [
        models.Fill(
            at=iso_of(row["at_utc"]), order_ref=row["order_ref"], side=row["side"], qty=row["qty"],
            price=row["price_ticks"] / 100, fee=usd(row["fee_cents"]),
            is_exit=None if row["is_exit"] is None else bool(row["is_exit"]), ticker=row["ticker"],
            contract=label_of(known[row["con_id"]]) if row["con_id"] in known else None,
            slippage=usd(row["slippage_ticks"]),
        )
        for row in reversed(before(view.ledgers.executions, "at_utc", before_utc)[-limit:])
    ]  # fmt: skip


def questions(view: View) -> tuple[str, ...]:
    """Return questions to begin with, about this day's trades and refusals."""
    refused = [row for row in reversed(view.ledgers.attempts) if row["code"] is not None and not row["is_shadow"]]
    return examples((*view.ledgers.today(), *view.ledgers.held), refused)


def marks_of(view: View, ticker: str) -> list[tuple[int, str, str]]:
    """Return a chart's entries and exits: seconds since the epoch, `entry` or `exit`, a few letters."""
    known = view.ledgers.contracts
    found = [
        (fill["at_utc"] // SECOND, "entry", short_label_of(known[fill["con_id"]]))
        for fill in view.ledgers.executions
        if fill["ticker"] == ticker and not fill["is_exit"] and fill["con_id"] in known
    ]  # fmt: skip
    found += [
        (trade["closed_utc"] // SECOND, "exit", f"{trade['realised_cents'] / 100:+,.0f}".replace("-", "\u2212"))
        for trade in view.ledgers.today()
        if trade["ticker"] == ticker
    ]
    return sorted(found)
