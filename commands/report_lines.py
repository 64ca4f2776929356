"""The report of a session in lines for people: 80 columns, New York's clock, money in dollars."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from commands.held import Holding, contract_of
from commands.lines import WIDTH, wrapped
from commands.report_origin import Origin, lines_by_origin
from commands.report_outcomes import exit_lines, outcome_lines
from domain.instants import exchange_clock
from domain.orders.references import slice_n
from domain.risk.reject import RejectCode
from domain.wording import reasons_text, usd_text
from storage.queries import Found

_TRACES_SHOWN: Final = 3
_wrapped = partial(wrapped, columns=WIDTH)  # the same in every window: reports are compared


def lines_of(found: dict[str, Any]) -> list[str]:
    """Return the report of what `report.facts` found."""
    lines = _wrapped(f"Session {found['session']}, desk {found['desk']} ({found['market']}), New York's clock")
    lines += ["", *_trades(found)]
    if found["executions"]:
        lines += ["", "Fills", *(line for row in found["executions"] for line in _fill(row))]
    if found.get("outcomes"):
        lines += ["", "Alerts", *(line for text in outcome_lines(found["outcomes"]) for line in _fitted(text))]
    if found.get("exit_profiles"):
        lines += ["", "Exit profiles", *(line for text in exit_lines(found["exit_profiles"]) for line in _fitted(text))]
    lines += ["", "Attempts", *attempt_lines(found)]
    if found["refusals"]:
        lines += ["", "Refused by the broker"]
        for row in found["refusals"]:
            what = "exit" if row["is_exit"] else "entry"
            lines += [f"  {exchange_clock(row['at_utc'])}  {what} {row['order_ref']}", *_wrapped(row["words"], 6)]
    is_running = found["stage"] == "running"
    for title, sentences in (
        ("Open", [holding.told(is_supervised=is_running) for holding in found["open"]]),
        ("Flat by the broker", [look.sentence for look in found["looks"]]),
    ):
        if sentences:
            lines += ["", title, *(line for text in sentences for line in _wrapped(text, 2))]
    lines += ["", *_data(found)]
    return [*lines, *(line for text in _ending(found) for line in _wrapped(text))]


def _fitted(text: str) -> list[str]:
    """Return a line with columns of its own as it is, unless it is too long."""
    return [text] if len(text) <= WIDTH else _wrapped(text, len(text) - len(text.lstrip()))


def _trades(found: dict[str, Any]) -> list[str]:
    """Return the closed trades with their sum, and what they tell together; of what is open, that it is."""
    held: list[Holding] = [holding for holding in found["open"] if holding.qty]
    if not found["trades"]:
        if not held:
            return ["No trades."]
        what = ", ".join(f"{holding.qty} {holding.contract}" for holding in held)
        return _wrapped(f"No trade has been closed; {len(held)} open: {what} (see Open).")
    lines = ["Trades"]
    for row in found["trades"]:
        lines += _trade(row)
    lines.append(f"  net {found['realised_cents'] / 100:+,.2f} USD after fees of {usd_text(found['fees_cents'])}")
    return [*lines, *lines_by_origin(found), *_wrapped(_together(found), 2)]


def _trade(row: Found) -> list[str]:
    """Return a trade; of a structure with a line a leg, the sold ones with a quantity below 0."""
    clocks = f"{exchange_clock(row['opened_utc'])}-{exchange_clock(row['closed_utc'])}"
    is_structure = len(row["legs"]) > 1
    what = f"    {row['ticker']:<12}" if is_structure else f"{row['qty']:>3} {contract_of(row):<12}"
    lines = _wrapped(reasons_text(row["exit_reasons"]), 6, first=f"  {clocks} {what} {_result(row)} USD  ")
    for leg in row["legs"] if is_structure else ():
        side = "sold" if leg["qty"] < 0 else "bought"
        head = f"  {side:>17} {leg['qty']:>3} {contract_of(leg):<12} {_result(leg)} USD  "
        lines += _wrapped(leg["order_ref"], len(head), first=head)
    ref = "" if is_structure else f", {row['order_ref']}"
    origin = "" if row["origin"] == Origin.MARKET else f", {row['origin']}"
    return [*lines, *_wrapped(f"{row['strategy']}, {row['alert_id']}{ref}{origin}", 6)]


def _result(row: Found) -> str:
    return f"{row['realised_cents'] / 100:>+10,.2f}"


def _together(found: dict[str, Any]) -> str:
    """Return what the trades of the day tell together, each rate with its number."""
    figures, day = found["figures"], found["day"] or {}
    n = figures["n"]
    parts = [f"won {figures['wins']} of {n} ({figures['wins'] / n:.0%}, n = {n})" if n else "nothing was filled"]
    if day.get("drawdown_cents") is not None:
        parts.append(f"largest fall of the day's P&L {usd_text(day['drawdown_cents'])}")
    if figures["slippage_n"]:
        mean = figures["slippage_ticks"] / figures["slippage_n"]
        parts.append(
            f"entries {'at' if mean == 0 else usd_text(abs(mean)) + (' above' if mean > 0 else ' below')} the mid"
            f" (n = {figures['slippage_n']} contracts)"
        )
    return "; ".join(parts)


def _data(found: dict[str, Any]) -> list[str]:
    """Return what the day was seen through: order session, readings, gaps, traces, starts."""
    readings = found["readings"]
    where = f" in {found['trace_folder']}" if found["trace_folder"] else ""
    return [
        "Order session",
        *_wrapped(" -> ".join(f"{clock} {mode}" for clock, mode in found["modes"]) or "no mode is on record", 2),
        "",
        f"Readings: {readings['computed']} ({readings['tickers']} tickers, {readings['buckets']} buckets),"
        f" {readings['doubled']} computed twice",
        *_wrapped(
            f"Missing data: {found['gap_rows']} rows (bucket × ticker × category)"
            f"{''.join(f'; {why} {n}' for why, n in found['gaps'].items())}; covered {found['gap_rows_covered']}"
        ),
        f"Traces: {', '.join(found['traces'][:_TRACES_SHOWN]) or 'none'}"
        f"{' and older ones' if len(found['traces']) > _TRACES_SHOWN else ''}{where}",
        *(line for text in found["damaged"] for line in _wrapped(f"Damaged: {text}")),
        *(["", *(line for text in found["pace"] for line in _fitted(text))] if found["pace"] else []),
        "",
        f"Supervisor starts: {len(found['runs'])}; kill level {found['kill']['level'] if found['kill'] else 0}",
    ]


def _fill(row: Found) -> list[str]:
    price = "price not known" if row["is_adopted"] and not row["price_ticks"] else f"@ {row['price_ticks'] / 100:.2f}"
    notes = [
        *(["adopted from the broker's position"] if row["is_adopted"] else []),
        *(["not ours"] if row["is_foreign"] else []),
        *(["time not sure"] if row["is_time_uncertain"] else []),
        *([f"slice {n} of its entry"] if (n := slice_n(row["order_ref"])) is not None else []),
    ]
    head = f"  {exchange_clock(row['at_utc'])} {row['side']:<4} {row['qty']:>3} {row['contract']:<12} {price:>9}  "
    return _wrapped(row["order_ref"] + (f" ({', '.join(notes)})" if notes else ""), len(head), first=head)


def attempt_lines(found: dict[str, Any]) -> list[str]:
    """Return how many attempts ended how, and those that were refused or not filled, in the order of the day.

    Shadows are counted alone: of a day they are many, and none may trade before its kind is promoted.
    """
    counts = dict(found["attempts"])
    if not counts:
        return ["  none"]
    approved, shadows = counts.pop("accepted", 0), counts.pop(RejectCode.SHADOW_SIGNAL, 0)
    fates = (("filled", "filled"), ("working", "working"), ("unfilled", "without a fill"))
    shown = ", ".join(f"{found['approved'][fate]} {text}" for fate, text in fates if found["approved"][fate])
    beside = f", {shadows} shadow{'s' * (shadows != 1)} (not traded until promoted)" if shadows else ""
    lines = _wrapped(f"{approved} approved{f' ({shown})' if shown else ''}, {sum(counts.values())} refused{beside}", 2)
    refused = (row for row in found["refused"] if not row["is_shadow"])
    ends = [(row["decided_utc"], _refused(row)) for row in refused]
    ends += [(row["decided_utc"], _unfilled(row)) for row in found["unfilled"]]
    return [*lines, *(line for _, told in sorted(ends, key=lambda one: one[0]) for line in told)]


def _refused(row: Found) -> list[str]:
    head = f"  {exchange_clock(row['decided_utc'])}  {row['alert_id']}"
    text = f"{head}  {row['because']}"
    lines = [f"{text}  {row['told']}".rstrip()]
    if len(text) > WIDTH:
        lines = [head, *_wrapped(f"{row['because']}  {row['told']}", 6)]
    elif len(lines[0]) > WIDTH:
        lines = [text, *_wrapped(row["told"], 6)]
    return [*lines, *(_wrapped(row["amended_words"], 6) if row["amended_words"] else ())]


def _unfilled(row: Found) -> list[str]:
    lines = [f"  {exchange_clock(row['decided_utc'])}  {row['alert_id']}  no fill"]
    if row["contract"] is not None:
        limit = "market" if row["limit_ticks"] is None else f"{row['limit_ticks'] / 100:.2f}"
        lines.append(f"      {row['qty']} {row['contract']} at {limit}, {row['status']}, {row['order_ref']}")
    return lines


def _ending(found: dict[str, Any]) -> list[str]:
    """Return how the day ended, or what is open now and who minds it."""
    open_now: list[Holding] = found["open"]
    is_sure = any(holding.qty for holding in open_now)
    what = "positions are open" if is_sure else "whether something is held is not known"
    match found["stage"]:
        case "over":
            return [_verdict(found, is_open=bool(open_now))]
        case "running":
            if open_now:
                return [f"The day is running; {what} (see Open)."]
            return ["The day is running; nothing is held now."]
        case _:
            if not open_now:
                return ["The day was stopped before its end; nothing is held."]
            return [
                f"The day was stopped before its end, no supervisor runs: {what} (see Open).",
                "`main.py run` reads the broker back and goes on; `main.py flatten --direct` closes without it.",
            ]


def _verdict(found: dict[str, Any], *, is_open: bool) -> str:
    if found["is_flat_by_broker"] is False:
        return "The day was NOT FLAT by the broker's book (see above): find out why no exit closed it in time."
    if is_open:
        return "The day ended NOT FLAT: close what is open above by hand."
    if found["is_flat_by_broker"] is None:
        return "Whether the day ended flat is NOT KNOWN: nobody looked at the broker's book at the close."
    return "The day ended flat." if not found["looks"] else "The day ended flat, by the broker's own book."
