"""What of a look at a gateway is a fault of its set-up, and what to do about it; the account is told masked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from commands.findings import Finding
from config.settings import Settings
from domain.options.fees import round_trip_cents
from domain.risk.overlay import Overlay
from domain.risk.sizing import size_entry
from domain.session.modes import AccountClass
from domain.units import Cents, Qty, Ticks
from domain.wording import duration_text
from gateways.ib.checkup import Line, Seen, TriedOrder, TriedSale
from gateways.ib.translate import account_class_of

USD: Final = "USD"
SKEW_MAX_S: Final = 2.0  # the broker's clock comes in whole seconds; the desk itself judges 500 ms by what it measures
LIVE: Final = 1
_KINDS: Final = {2: "frozen", 3: "delayed", 4: "delayed and frozen"}
_PORTS: Final = {4001: "IB Gateway, live", 4002: "IB Gateway, paper", 7496: "TWS, live", 7497: "TWS, paper"}
_API: Final = "Configure, Settings, API, Settings"
# What a refusal of data means, by code.
_DATA: Final = {
    10197: ("another session of this login has the market data", "Log out of the other session (phone, web, TWS)."),
    10168: ("no subscription, and delayed data are off", ""),
    10167: ("no subscription: the broker would show delayed data", ""),
    101: ("the account has no market data line left", "Close other programs that follow prices, or buy more lines."),
}
_SUBSCRIBE: Final = (
    "Subscribe in the broker's client portal (OPRA for options, Cboe for indices), accept its questionnaire, and share"
    " the data with the paper account (Settings, Paper Trading Account)."
)


def gateway_findings(seen: Seen, settings: Settings, account: str | None) -> Iterator[Finding]:
    """Judge what a gateway showed; `account` is the one that the settings name, where they do."""
    where = f"{seen.host}:{seen.port}"
    if not seen.is_reached:
        yield Finding("IB Gateway", False, f"{where} cannot be reached ({seen.why})", _where_else(seen))
        return
    if not seen.is_spoken:
        remedy = (
            f"Log in to IB Gateway, tick `Enable ActiveX and Socket Clients` ({_API}), answer its question whether this"
            " address may connect, and see that no other program has this port."
        )
        yield Finding("IB Gateway", False, f"{where} is reached, but does not speak the API", remedy)
        return
    if seen.ids_in_use:
        ids = ", ".join(map(str, seen.ids_in_use))
        remedy = "Stop the other program that uses it, or choose other numbers under broker.client_ids."
        yield Finding("client id", False, f"{ids} in use at {where}", remedy)
    if not seen.accounts:
        if not seen.ids_in_use:
            yield Finding("IB Gateway", False, f"{where} names no account", "Log in to IB Gateway, then try again.")
        return
    yield Finding("IB Gateway", True, f"{where} answers, account {', '.join(map(masked, seen.accounts))}")
    yield from _account(seen, settings, account)
    yield from _clock(seen)
    if seen.is_read_only:
        remedy = f"Untick `Read-Only API` ({_API})."
        yield Finding("API rights", False, "the gateway lets nobody send orders: its API is read-only", remedy)
    yield from _money(seen, settings)
    yield from _listings(seen, settings)
    for line in seen.lines:
        yield _data(line)
    if seen.tried is not None:
        yield _order(seen.tried)
    if settings.spread.is_on:
        yield _sale(seen.sale, seen.values.get("AvailableFunds"), settings)


def masked(account: str) -> str:
    """Return an account number with all but its kind and its last two digits hidden."""
    return f"{account[:2]}…{account[-2:]}" if len(account) > 4 else "…"


def _where_else(seen: Seen) -> str:
    if not seen.other_ports:
        return "Start IB Gateway and log in, then check host and port under broker.gateways."
    found = ", ".join(f"{port} ({_PORTS[port]})" for port in seen.other_ports)
    return f"Something answers on {found}: set broker.gateways to the one that you mean."


def _account(seen: Seen, settings: Settings, account: str | None) -> Iterator[Finding]:
    used = account if account in seen.accounts else seen.accounts[0]
    if account and account not in seen.accounts:
        remedy = f"Correct {settings.broker.account_env}, or log in as its owner."
        yield Finding("account", False, f"this login does not have account {masked(account)}", remedy)
    kind, wanted = account_class_of(used), AccountClass.PAPER if settings.trading_mode == "paper" else AccountClass.LIVE
    if kind is not wanted:
        words = {AccountClass.PAPER: "a paper", AccountClass.LIVE: "a LIVE"}.get(kind, "an unknown kind of")
        seen_text = f"{masked(used)} is {words} account, though trading_mode is {settings.trading_mode}"
        remedy = f"Log in to the {wanted.value.lower()} account, or correct trading_mode."
        yield Finding("account type", False, seen_text, remedy)


def _clock(seen: Seen) -> Iterator[Finding]:
    if seen.ahead_s is None:
        remedy = "Restart IB Gateway; a desk that does not know the broker's time makes no entries."
        yield Finding("broker's clock", False, "the gateway does not tell its time", remedy)
    elif abs(seen.ahead_s) > SKEW_MAX_S:
        side = "behind" if seen.ahead_s > 0 else "ahead of"
        text = f"this computer is {duration_text(abs(seen.ahead_s) * 1000)} {side} the broker"
        yield Finding(
            "broker's clock", False, text, "Set the clock by NTP (chrony, systemd-timesyncd), here and there."
        )


def _money(seen: Seen, settings: Settings) -> Iterator[Finding]:
    known = seen.values.get("NetLiquidation")
    if known is None:
        remedy = "Wait a minute after the login; if it stays so, look at the account in IB Gateway."
        yield Finding("account values", False, "the gateway tells no net liquidation", remedy)
        return
    value, currency = known
    if currency != USD:
        text = f"the account tells its values in {currency}; sizes are calculated in USD"
        yield Finding(
            "base currency", False, text, "Change the base currency to USD (client portal, Account Settings)."
        )
        return
    available = seen.values.get("AvailableFunds", (0.0, USD))[0]
    yield Finding("balance", value > 0, f"net liquidation {value:,.0f} USD, available {available:,.0f} USD", "Fund it.")
    yield from _least_nav(Cents(round(value * 100)), settings)


def _least_nav(nav_cents: Cents, settings: Settings) -> Iterator[Finding]:
    """Warn where not even one contract of the least premium fits the risk a trade may take, so that none is traded."""
    session = settings.demo.session  # fees change rarely: any session tells whether one contract fits
    for ticker in sorted({name for tickers in settings.lanes.values() for name in tickers}):
        rule = settings.ticker_rules[ticker]
        premium = Ticks(rule.premium_min_ticks)
        sizing = size_entry(
            nav_cents=nav_cents, ask_ticks=premium, multiplier=100, stop_share=settings.exits.premium_stop,
            fees_cents=round_trip_cents(session, rule.trading_class, Qty(1), premium), cap=rule.size_cap, cuts=1.0,
            overlay=Overlay(1.0, ""), limits=settings.entry,
        )  # fmt: skip
        if sizing.qty < 1:
            share = min(sizing.by_risk, sizing.by_premium)
            least = nav_cents / share / 100 if share > 0 else 0.0
            text = f"not even one {ticker} contract of {premium / 100:.2f} fits: it wants about {least:,.0f} USD of NAV"
            remedy = f"Fund the account, raise entry.risk_nav, or take {ticker} out of lanes."
            yield Finding("least NAV", False, text, remedy, is_warning=True)


def _listings(seen: Seen, settings: Settings) -> Iterator[Finding]:
    for listed in seen.listed:
        trading_class = settings.ticker_rules[listed.ticker].trading_class
        if not listed.is_known:
            remedy = f"Correct the ticker, or take {listed.ticker} out of lanes."
            yield Finding("contracts", False, f"the broker knows no {listed.ticker}", remedy)
        elif trading_class not in listed.classes:
            named = ", ".join(listed.classes) or "none"
            text = f"the broker lists no {trading_class} options of {listed.ticker} (listed: {named})"
            remedy = (
                "Ask for trading permission in options of this exchange (client portal, Settings, Trading Permissions),"
                f" or correct ticker_rules.{listed.ticker}.trading_class."
            )
            yield Finding("contracts", False, text, remedy)


def _data(line: Line) -> Finding:
    check = f"market data of {line.of}" if not line.of.startswith("options") else f"market data, {line.of}"
    if line.refusal is not None:
        code = line.refusal.code
        text, remedy = _DATA.get(code, (line.refusal.text, ""))
        return Finding(check, False, f"refused with {code}: {text}", remedy or _SUBSCRIBE)
    if line.data_type is None:
        remedy = "Look again in trading hours: now it may only be closed."
        return Finding(check, False, "no price came", remedy, is_warning=True)
    if line.data_type != LIVE:
        kind = _KINDS.get(line.data_type, f"of kind {line.data_type}")
        return Finding(check, False, f"{kind}, not live: every entry would be refused", _SUBSCRIBE)
    return Finding(check, True, "live")


def _order(tried: TriedOrder) -> Finding:
    """Judge the answer to an order that was only asked about."""
    check = f"orders of {tried.of}"
    if tried.refusal is None and not tried.warning:
        return Finding(check, True, "the broker would take one (asked, not sent)")
    if tried.refusal is None:
        remedy = "Tick `Bypass Order Precautions for API Orders` (Configure, Settings, API, Precautions)."
        return Finding(check, False, f"the broker would ask first: {tried.warning}", remedy, is_warning=True)
    code, text = tried.refusal.code, " ".join(tried.refusal.text.split())
    if code == 321:
        remedy = f"Untick `Read-Only API` ({_API})."
    else:
        remedy = (
            "Ask for the option level that buys calls and puts, and for permission to trade this class (client portal,"
            " Settings, Trading Permissions)."
        )
    return Finding(check, False, f"the broker would refuse one with {code}: {text}", remedy)


def _sale(tried: TriedSale | None, available: tuple[float, str] | None, settings: Settings) -> Finding:
    """Judge what the broker says to the spread's sold calls, which nothing covers for it; `None`: it was not asked."""
    check = "sold calls of the spread"
    if tried is None:
        seen = (
            "not asked: for the broker they are uncovered, which needs its highest option level and, under Reg T, about"
            " 100,000 USD for ten"
        )
        return Finding(check, False, seen, "Ask it with `main.py doctor --try-order`.", is_warning=True)
    what = f"{tried.qty} {tried.of} calls sold uncovered"
    if tried.refusal is not None:
        text = " ".join(tried.refusal.text.split())
        remedy = (
            "Ask for the option level that sells uncovered calls (client portal, Settings, Trading Permissions: the"
            " highest one, with a margin account), or set spread.is_on to false."
        )
        return Finding(check, False, f"the broker would refuse {what} with {tried.refusal.code}: {text}", remedy)
    if tried.margin_usd is None:
        remedy = "Look again in trading hours; without the margin every spread is refused before anything is bought."
        return Finding(check, False, f"the broker tells no margin of {what}", remedy, is_warning=True)
    needs = f"{what} would block {tried.margin_usd:,.0f} USD"
    if available is None:
        remedy = "Wait a minute after the login, then try again."
        return Finding(check, False, f"{needs}; what is available is not known", remedy, is_warning=True)
    bound = settings.entry.cash_share_max * available[0]
    if tried.margin_usd > bound:
        remedy = (
            "Fund the account, ask for portfolio margin, lower spread.spy_contracts_per_spread, or set spread.is_on to"
            " false: every spread would be refused before anything is bought."
        )
        return Finding(check, False, f"{needs}; {bound:,.0f} USD may be used for it", remedy)
    return Finding(check, True, f"{needs} of the {bound:,.0f} USD that may be used for it (asked, not sent)")
