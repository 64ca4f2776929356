"""A desk on which every gate passes, and small ways to change one thing about it."""

from __future__ import annotations

from datetime import date, time

from msgspec.structs import replace

from config.settings import Settings, load_settings
from domain.identifiers import alert_id
from domain.instants import BUCKET_NS, SECOND, at_exchange
from domain.instruments import Contract, Quote, Right, Spot
from domain.risk.day import Closed
from domain.risk.desk_view import AccountFacts, Decision, DeskView, Funds, Holding
from domain.risk.gates.types import DeskRules, Halts, Intent, Snapshot
from domain.session.modes import Mode
from domain.session.phases import Phase
from messages import market, risk, session, signals

DAY = date(2026, 11, 20)
OPEN = at_exchange(DAY, time(9, 30))
CLOSE = at_exchange(DAY, time(16))
BUCKET = at_exchange(DAY, time(10, 30))
NOW = BUCKET + BUCKET_NS + 2 * SECOND  # the bucket's end and its grace
SETTINGS: Settings = load_settings(profile="demo", overrides={"demo": {"rate": 1.0}})
PAPER_PORT = SETTINGS.broker.paper_port
NAV = 30_000_000

CALL = Contract(812, "SPX", "SPXW", DAY, 600_000, Right.CALL)
OTHER_CALL = Contract(813, "SPX", "SPXW", DAY, 600_500, Right.CALL)
QQQ_CALL = Contract(900, "QQQ", "QQQ", DAY, 50_000, Right.CALL)
SPOT = Spot("SPX", 600_000, NOW)
QQQ_SPOT = Spot("QQQ", 50_000, NOW)


def quote(con_id: int = 812, bid: int | None = 1_000, ask: int | None = 1_030, at: int = NOW, kind: int = 1) -> Quote:
    """Give a live quote: 10.00 at 10.30."""
    return Quote(con_id, bid, ask, 20, 20, at, kind)


def name_of(bucket: int = BUCKET, ticker: str = "SPX", source: str = "gexwatch", kind: str = "GAMMA_FLIP") -> str:
    """Give the alert id of a bucket."""
    return alert_id(DAY, source, ticker, bucket, kind, 1)


def intent(**changes: object) -> Intent:
    """Give a promoted long-call intent of the gexwatch lane on SPX."""
    base = Intent(
        intent_id=f"{name_of()}/gexwatch/0",
        signal_id=name_of(),
        alert_id=name_of(),
        source="gexwatch",
        strategy="gexwatch",
        ticker="SPX",
        kind="GAMMA_FLIP",
        version=1,
        direction=1,
        right=Right.CALL,
        bucket_utc=BUCKET,
        is_shadow=False,
        raised_utc=NOW,
        expires_utc=NOW + 60 * SECOND,
    )
    return replace(base, **changes)


def view(**changes: object) -> DeskView:
    """Give a read model on which nothing stands in the way."""
    base = DeskView(
        session=DAY,
        phase=Phase.ENTRY,
        open_utc=OPEN,
        close_utc=CLOSE,
        kill_level=0,
        mode=Mode.FULLY_LIVE,
        session_epoch=7,
        is_reconciled=True,
        account=AccountFacts(PAPER_PORT, "paper", True),
        funds=Funds(NAV, 20_000_000, 3, NOW),
        start_nav_cents=NAV,
        spots=(SPOT, QQQ_SPOT),
    )
    return replace(base, **changes)


def rules(**changes: object) -> DeskRules:
    """Give the demo's rules."""
    base = DeskRules(
        profile="demo",
        trading_mode="paper",
        is_live_armed=False,
        paper_port=PAPER_PORT,
        live_port=SETTINGS.broker.live_port,
        stop_share=SETTINGS.exits.premium_stop,
        limits=SETTINGS.entry,
        day=SETTINGS.day,
    )
    return replace(base, **changes)


def snapshot(**changes: object) -> Snapshot:
    """Give a snapshot on which every gate passes, 24 included; a change named like a view's field changes the view."""
    in_view = {k: changes.pop(k) for k in tuple(changes) if k in DeskView.__struct_fields__}
    base = Snapshot(
        now=NOW,
        rules=rules(),
        strategy=SETTINGS.strategies["gexwatch"],
        ticker=SETTINGS.ticker_rules["SPX"],
        view=view(**in_view),
        contract=CALL,
        quote=quote(),
        spot=SPOT,
        decision=quote(),
        fresh_from_utc=NOW,
        qty=1,
        fees_cents=310,
        halts=Halts(False, None),
        liquid_hours_utc=(OPEN, CLOSE),
    )
    return replace(base, **changes)


def holding(**changes: object) -> Holding:
    """Give an open SPX call, one contract at 10.00, at no profit."""
    base = Holding(
        intent_id="held",
        contract=OTHER_CALL,
        source="gexwatch",
        strategy="other",
        direction=1,
        qty=1,
        cost_cents=100_000,
        is_pending=False,
        unrealised_cents=0,
        at_utc=NOW,
    )
    return replace(base, **changes)


def lost(n: int, cents: int = -100) -> Closed:
    """Give the n-th closed trade of the day."""
    return Closed(f"p{n}", "other", cents, 10, BUCKET - (100 - n) * SECOND)


def decided(**changes: object) -> Decision:
    """Give a decision on the intent's own alert."""
    base = Decision("gexwatch", "gexwatch", "SPX", "GAMMA_FLIP", 1, BUCKET, name_of(), "cooldown", NOW - SECOND)
    return replace(base, **changes)


def signal(bucket: int = BUCKET, **changes: object) -> signals.SignalRaised:
    """Give a signal as the gexwatch lane tells it."""
    base = signals.SignalRaised(
        signal_id=name_of(bucket),
        alert_id=name_of(bucket),
        source="gexwatch",
        strategy="gexwatch",
        ticker="SPX",
        kind="GAMMA_FLIP",
        version=1,
        direction=1,
        right=Right.CALL,
        bucket_utc=bucket,
        is_shadow=False,
        raised_utc=NOW,
        expires_utc=NOW + 60 * SECOND,
    )
    return replace(base, **changes)


# What a desk hears before its first signal, in order.
MORNING = (
    session.PhaseChanged(phase=Phase.ENTRY, session=DAY, open_utc=OPEN, close_utc=CLOSE, at_utc=NOW - 9 * SECOND),
    risk.KillLowered(level=0, kill_epoch=3, reason="", by=""),
    session.AccountChecked(port=PAPER_PORT, account_class="paper", account_matches=True),
    session.AccountRead(
        session_epoch=7,
        nav_cents=NAV,
        available_cents=20_000_000,
        buying_power_cents=40_000_000,
        day_trades_remaining=None,
        read_utc=NOW - 8 * SECOND,
    ),
    session.ReconcileFinished(session_epoch=7, positions=(), read_utc=NOW - 8 * SECOND),
    risk.StartNavRecorded(session=DAY, nav_cents=NAV),
    session.ModeChanged(mode=Mode.FULLY_LIVE, mode_n=3, session_epoch=7, cause="warm", at_utc=NOW - 7 * SECOND),
    market.SpotsChanged(spots=(SPOT, QQQ_SPOT)),
)
