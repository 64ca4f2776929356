"""A desk on which every gate passes, and small ways to change one thing about it."""

from __future__ import annotations

from datetime import date, time
from typing import Any

from msgspec.structs import replace

from config.settings import Settings, load_settings
from domain.instants import BUCKET_NS, MINUTE, SECOND, at_exchange
from domain.instruments import Contract, DataType, Quote, Right, Side, Spot
from domain.orders.intent import EntryPlan, Intent, PlannedLeg, PositionRef
from domain.orders.references import intent_id, position_id
from domain.risk.closed import closed_today
from domain.risk.day import Closed
from domain.risk.desk_view import (
    AccountFacts,
    Decision,
    DeskView,
    Funds,
    Holding,
    Hours,
    Pending,
    decisions_of,
)
from domain.risk.gates.types import DeskRules, Epochs, Sizing, Snapshot
from domain.risk.kill import KillLevel
from domain.risk.overlay import Minutes, Overlay
from domain.risk.reject import RejectCode
from domain.session.modes import AccountClass, Mode
from domain.session.phases import Phase
from domain.signals.alert import AlertKey
from messages import broker, market, risk, session, signals
from messages.restored import RiskRestored

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
VIX_SPOT = Spot("VIX", 1_500, NOW)
CALM = {  # a price every minute for a quarter of an hour, and none of them moves
    spot.ticker: Minutes(tuple((NOW // MINUTE - 15 + n, spot.price_ticks) for n in range(16)), 0.0)
    for spot in (SPOT, QQQ_SPOT)
}
FULL_SIZE = Overlay(1.0, "calm")
LONG_CALL = PlannedLeg(Right.CALL, Side.BUY)
SHORT_CALL = PlannedLeg(Right.CALL, Side.SELL)


HOURS = Hours(DAY, ((OPEN, CLOSE),))
PROMOTED = frozenset(
    (source, kind, version)
    for source in ("gexwatch", "advisor")
    for kind in ("GAMMA_FLIP", "OTHER", *(f"{letter}{n}" for letter in "AQ" for n in range(60)))
    for version in (1, 2)
)


def quote(
    con_id: int = 812, bid: int | None = 1_000, ask: int | None = 1_030, at: int = NOW, kind: DataType = DataType.LIVE
) -> Quote:
    """Return a live quote: 10.00 at 10.30."""
    return Quote(con_id, bid, ask, 20, 20, at, kind)


def alert(
    bucket: int = BUCKET, ticker: str = "SPX", source: str = "gexwatch", kind: str = "GAMMA_FLIP", version: int = 1
) -> AlertKey:
    """Return the key of a bucket's alert."""
    return AlertKey(source, ticker, kind, version, bucket)


ALERT = alert()
QQQ_ALERT = alert(ticker="QQQ", source="advisor")


def intent(key: AlertKey = ALERT, *legs: PlannedLeg, **changes: Any) -> Intent:
    """Return a promoted long-call intent of the alert's source (other legs where they are named)."""
    base = Intent(
        intent_id=intent_id(key.alert_id, changes.get("strategy", key.source)),
        key=key,
        strategy=key.source,
        direction=1,
        plan=EntryPlan(legs or (LONG_CALL,)),
        is_shadow=False,
        raised_utc=NOW,
        expires_utc=NOW + 60 * SECOND,
    )
    return replace(base, **changes)


def signal(key: AlertKey = ALERT, **changes: Any) -> signals.SignalRaised:
    """Return a signal as the alert's lane publishes it."""
    return signals.SignalRaised(intent=intent(key, **changes))


INTENT = intent().intent_id


def ref(intent: str = INTENT, contract: Contract = CALL, strategy: str = "gexwatch", direction: int = 1) -> PositionRef:
    """Return the name of the position that an intent of the gexwatch lane opens."""
    return PositionRef(
        position_id=position_id("paper", intent),
        intent_id=intent,
        key=alert(),
        strategy=strategy,
        direction=direction,
        contract=contract,
    )


def view(**changes: Any) -> DeskView:
    """Return a read model on which nothing stands in the way; `decisions` and `closed` are given as they came."""
    if "decisions" in changes:
        changes["decisions"] = decisions_of(changes["decisions"])
    if "closed" in changes:
        changes["closed"] = closed_today(changes["closed"])
    base = DeskView(
        session=DAY,
        phase=Phase.ENTRY,
        open_utc=OPEN,
        close_utc=CLOSE,
        kill_level=KillLevel.RUNNING,
        mode=Mode.FULLY_LIVE,
        session_epoch=7,
        reconciled_utc=NOW - 8 * SECOND,
        account=AccountFacts(PAPER_PORT, AccountClass.PAPER, True),
        funds=Funds(NAV, 20_000_000, 3, NOW),
        start_nav_cents=NAV,
        promoted=PROMOTED,
        is_promoted_known=True,
        spots={spot.ticker: spot for spot in (SPOT, QQQ_SPOT, VIX_SPOT)},
        minutes=CALM,
        hours=dict.fromkeys(("SPX", "QQQ"), HOURS),
    )
    return replace(base, **changes)


def rules(**changes: Any) -> DeskRules:
    """Return the demo's rules."""
    base = DeskRules(
        desk="paper",
        trading_mode="paper",
        is_live_armed=False,
        paper_port=PAPER_PORT,
        live_port=SETTINGS.broker.live_port,
        limits=SETTINGS.entry,
        kill=SETTINGS.kill,
        exits=SETTINGS.exits,
        day=SETTINGS.day,
        strategies=SETTINGS.strategies,
        tickers=SETTINGS.ticker_rules,
    )
    return replace(base, **changes)


def snapshot(**changes: Any) -> Snapshot:
    """Return a snapshot on which every gate passes; a change named like a view's field changes the view."""
    in_view = {k: changes.pop(k) for k in tuple(changes) if k in DeskView.__struct_fields__}
    base = Snapshot(
        now=NOW,
        rules=rules(),
        strategy=SETTINGS.strategies["gexwatch"],
        ticker=SETTINGS.ticker_rules["SPX"],
        view=view(**in_view),
        leg=LONG_CALL,
        contract=CALL,
        quote=quote(),
        spot=SPOT,
        decision=quote(),
        fresh_from_utc=NOW,
        qty=1,
        sizing=Sizing(1, 2.5, 5.5, 2, 1.0, FULL_SIZE),
        fees_cents=310,
        approved=Epochs(0, 7),
    )
    return replace(base, **changes)


def pending(**changes: Any) -> Pending:
    """Return another attempt under way, not sized yet: a QQQ call of the advisor."""
    base = Pending("advisor", "QQQ", "advisor", 1, 0, False)
    return replace(base, **changes)


def holding(
    intent: str = "held", contract: Contract = OTHER_CALL, strategy: str = "other", direction: int = 1, **changes: Any
) -> Holding:
    """Return an open SPX call, one contract at 10.00, at no profit."""
    base = Holding(
        ref=ref(intent, contract, strategy, direction),
        qty=1,
        cost_cents=100_000,
        is_pending=False,
        unrealised_cents=0,
        marked_utc=NOW,
    )
    return replace(base, **changes)


def lost(n: int, cents: int = -100) -> Closed:
    """Return the n-th closed trade of the day."""
    return Closed(f"p{n}", "other", cents, 10, BUCKET - (100 - n) * SECOND)


def decided(key: AlertKey = ALERT, code: RejectCode | None = RejectCode.COOLDOWN, at: int = NOW - SECOND) -> Decision:
    """Return a decision on an alert."""
    return Decision(key, "gexwatch", code, at)


# What the ledger gives back to a desk whose day has not begun.
FRESH = RiskRestored(
    session=DAY,
    day_locked=None,
    start_nav_cents=None,
    decisions=(),
    reservations=(),
    closed=(),
    pending_alerts=(),
    promoted=tuple(PROMOTED),
)
# What a desk hears before its first signal, in order.
MORNING = (
    session.PhaseChanged(phase=Phase.ENTRY, session=DAY, open_utc=OPEN, close_utc=CLOSE, at_utc=NOW - 9 * SECOND),
    risk.KillLowered(level=KillLevel.RUNNING, kill_epoch=3, reason="", by=""),
    session.AccountChecked(port=PAPER_PORT, account_class=AccountClass.PAPER, account_matches=True),
    broker.AccountRead(
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
    *(
        market.SpotsChanged(spots=tuple(replace(spot, at_utc=NOW - n * MINUTE) for spot in (SPOT, QQQ_SPOT)))
        for n in range(6, 0, -1)
    ),
    market.SpotsChanged(spots=(SPOT, QQQ_SPOT, VIX_SPOT)),
    *(market.HoursRead(ticker=ticker, session=DAY, hours=((OPEN, CLOSE),)) for ticker in ("SPX", "QQQ")),
)
