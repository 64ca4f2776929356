"""Where a desk stands: status, pipeline, account, prices, actors, alarms, from what the supervisor has pushed."""

from __future__ import annotations

from domain.alarm import Severity
from domain.desks import DeskKind
from domain.instants import BUCKET_NS, SECOND
from domain.notices.alarm_words import alarm_text, part_text, plain_text
from domain.reports.trades import results_cents
from domain.risk.kill import KillLevel
from domain.session.modes import ALLOWS_ENTRIES, ALLOWS_EXITS
from domain.session.phases import Phase
from messages import operator
from storage.queries import Found
from web import models
from web.ledgers import usd
from web.times import iso, iso_of
from web.view import View

BUCKET_S = BUCKET_NS // SECOND
SPOTS_EVERY_S = 1
# Name, what its sign of life is, and how many seconds two of them are apart.
_INGEST = ("ingest", "reading", BUCKET_S)
_SIGNAL = ("signal", "reading", BUCKET_S)
_EXECUTION = ("execution", "spots", SPOTS_EVERY_S)
_STAGES = (_INGEST, _SIGNAL, _EXECUTION)
_OF_THE_SESSION = frozenset({"gateway", "read_back"})  # alarms that a session fully live again has put right
_OF_A_HUB = frozenset({"silent", "breaker"})
OLD_NS = 60 * SECOND  # a price that is older is said to be
LATE_AFTER = 3  # of a stage's own pauses without a sign
_TRADES = frozenset({Phase.OPEN, Phase.ENTRY, Phase.LATE, Phase.PANIC, Phase.FLATTEN})


def status(view: View) -> models.Status:
    """Return where the desk stands."""
    kill, ledgers = view.kill, view.ledgers
    level = None if kill is None else int(kill["level"])
    phase, mode = view.phase, view.mode
    is_open = phase is not None and phase.phase is Phase.ENTRY and mode is not None and mode.mode in ALLOWS_ENTRIES
    is_locked = ledgers.day is not None and ledgers.day["locked_why"] is not None
    shown, known = view.session, ledgers.is_read
    is_heard = view.ended is None and not view.is_unheard
    return models.Status(
        is_trading=(
            is_heard and is_open and level == KillLevel.RUNNING and not is_locked and view.latched is None
        ),
        is_connected=is_heard and mode is not None and mode.mode in ALLOWS_EXITS,
        open_positions=sum(row["state"] == "OPEN" for row in ledgers.held) if known else None,
        trades_today=len(results_cents(ledgers.today())) if known else None,
        mode=None if mode is None else mode.mode.value, kill_level=level,
        kill_epoch=None if kill is None else kill["kill_epoch"], kill_reason=_kill_words(kill),
        phase=None if phase is None else phase.phase.value, session=None if shown is None else shown.isoformat(),
        at=iso(view.now_utc or None), desk=view.settings.desk, desks=list(view.desk_names),
        kind=view.kind.value, trading_mode=view.settings.trading_mode,
        profile=view.settings.profile, run_n=view.run_n, tickers=list(view.settings.tickers), hubs=dict(view.hubs),
        allows_actions=view.settings.web.allows_actions and view.ended is None, troubles=troubles(view),
        ended=view.ended, is_finished=view.is_finished,
    )  # fmt: skip


def troubles(view: View) -> list[str]:
    """Return in sentences what is wrong with what the page shows, or with the desk."""
    found = [view.silence, view.ledgers.trouble, view.market_trouble, view.money_trouble, view.page_trouble]
    latched, ended = view.latched, view.process.get("ended")
    if not view.ledgers.is_read and view.ledgers.trouble is None:
        found.append("The ledgers are not read yet: what is held is not known.")
    if latched:
        found.append(f"Entries are latched off until the supervisor is started again: {plain_text(latched)}.")
    if ended:
        found.append(f"The supervisor is ending: {ended}.")
    if view.process.get("trace_failed"):
        found.append(f"The trace cannot be written: {view.process['trace_failed']}.")
    return [text for text in found if text]


def pipeline(view: View) -> list[models.Stage]:
    """Return the three stages from the feed to the broker, each with its state and its last sign of life.

    A finished day has none: nothing flows, and nothing should.
    """
    if view.is_finished:
        return []
    if view.ended is not None:
        return [_stage(view, *stage, "down", "no supervisor", "") for stage in _STAGES]
    if view.is_unheard:
        return [_stage(view, *stage, "down", "the supervisor does not answer", "") for stage in _STAGES]
    is_on = view.phase is not None and view.phase.phase in _TRADES
    return [_ingest(view, is_on=is_on), _signal(view, is_on=is_on), _execution(view, is_on=is_on)]


def _ingest(view: View, *, is_on: bool) -> models.Stage:
    down = sorted(hub for hub, is_up in view.hubs.items() if not is_up)
    late = _late(view, "reading", BUCKET_S) if is_on else None
    why: str | None
    if not view.hubs or len(down) == len(view.hubs):
        state, why = "down", "no hub is connected"
    elif down or late:
        state, why = "degraded", f"{', '.join(down)} is down" if down else late
    else:
        state, why = "operational", None
    up = len(view.hubs) - len(down)
    return _stage(view, *_INGEST, state, why, f"{up} of {len(view.hubs)} hubs")


def _signal(view: View, *, is_on: bool) -> models.Stage:
    missing = sorted(ticker for ticker, reading in view.readings.items() if reading.missing)
    down = _down(view, ("lane:", "reading:"))
    late = _late(view, "reading", BUCKET_S) if is_on else None
    why: str | None
    if down:
        state, why = "down", f"not running: {', '.join(down)}"
    elif late or missing:
        state, why = "degraded", late or f"{', '.join(missing)}: not every category came"
    else:
        state, why = "operational", None
    n = len(view.ledgers.alerts)
    return _stage(view, *_SIGNAL, state, why, f"{n} alert{'' if n == 1 else 's'}")


def _execution(view: View, *, is_on: bool) -> models.Stage:
    mode = None if view.mode is None else view.mode.mode
    down = _down(view, ("risk:", "ibkr:", "ledger", "position:", "kill"))
    why: str | None
    if mode is None or mode not in ALLOWS_EXITS or down:
        words = "not known" if mode is None else mode.value.replace("_", " ").lower()
        state, why = "down", f"not running: {', '.join(down)}" if down else f"order session: {words}"
    elif mode not in ALLOWS_ENTRIES:
        state, why = "degraded", "warm-up: exits only"
    else:
        why = _late(view, "spots", SPOTS_EVERY_S * 10) if is_on else None
        state = "degraded" if why else "operational"
    n = len(view.ledgers.executions)
    return _stage(view, *_EXECUTION, state, why, f"{n} fill{'' if n == 1 else 's'}")


def _stage(
    view: View, name: str, sign: str, every_s: int, state: str, why: str | None, detail: str
) -> models.Stage:  # fmt: skip
    return models.Stage(
        name=name, state=state, why=why, last=iso(view.heard_utc.get(sign)), every_s=every_s, detail=detail
    )


def _late(view: View, sign: str, every_s: int) -> str | None:
    """Return since when a sign of life is overdue, in words; `None` where it is not."""
    at_utc = view.heard_utc.get(sign)
    if at_utc is None:
        return "no sign of it yet"
    silent_s = (view.now_utc - at_utc) // SECOND
    return f"silent for {silent_s} s" if silent_s > LATE_AFTER * every_s else None


def _down(view: View, beginnings: tuple[str, ...]) -> list[str]:
    """Return what of the desk does not run, in a trader's words."""
    names = [row["name"] for row in view.actor_rows if row["name"].startswith(beginnings) and not row["is_up"]]
    others = {desk for desk in view.desk_names if desk != view.settings.desk}
    return [part_text(name) for name in names if name.split(":")[1:2] not in ([other] for other in others)]


def account(view: View) -> models.Account:
    """Return the account."""
    money, port = view.money, view.port
    account_class = None if port is None else port.account_class.value
    if account_class is not None and view.is_one_of_several and view.kind is DeskKind.SIM:
        account_class = view.kind.value  # beside one of the broker's paper accounts it is not to be taken for one
    if money is None:
        return models.Account(account_id=view.account_id, account_class=account_class, why_unknown=view.money_trouble)
    return models.Account(
        account_id=view.account_id, net_liquidation=usd(money.nav_cents), total_cash=usd(money.cash_cents),
        available_funds=usd(money.available_cents), buying_power=usd(money.buying_power_cents),
        day_trades_remaining=money.day_trades_remaining, account_class=account_class, at=iso(money.read_utc),
    )  # fmt: skip


def market(view: View) -> models.Market:
    """Return the prices of the underlyings: the broker's, or the newest reading's where the broker's are old."""
    seen = {t: (r.bucket_utc + BUCKET_NS, r.spot / 100) for t, r in view.readings.items() if r.spot is not None}
    for ticker, spot in view.spots.items():
        if ticker not in seen or spot.at_utc + OLD_NS >= seen[ticker][0]:
            seen[ticker] = spot.at_utc, spot.price_ticks / 100
    prices = {ticker: price for ticker, (_, price) in sorted(seen.items())}
    old = {
        ticker: (view.now_utc - at_utc) // SECOND
        for ticker, (at_utc, _) in sorted(seen.items())
        if view.now_utc - at_utc > OLD_NS
    }
    spy, spx = prices.get("SPY"), prices.get("SPX")
    return models.Market(
        spy_price=spy, spx_price=spx, ratio=round(spx / spy, 4) if spx and spy else None,
        prices=prices, old_s=old, at=iso(view.now_utc or None),
    )  # fmt: skip


def actors(view: View) -> models.Actors:
    """Return the tree of actors as the supervisor told it last."""
    rows = [
        models.ActorRow(
            name=row["name"], is_up=row["is_up"], mail=row["depth"],
            p99_ms=None if row["p99_us"] is None else round(row["p99_us"] / 1000, 1), restarts=row["restarts"],
        )
        for row in view.actor_rows
    ]  # fmt: skip
    return models.Actors(
        rows=rows, conflated=sum(row["conflated"] for row in view.actor_rows),
        rss_mb=view.process.get("rss_mb"), uptime_s=view.process.get("uptime_s"),
        latched=view.process.get("latched"), ended=view.process.get("ended") or view.ended, why_unknown=view.silence,
    )  # fmt: skip


def reading(view: View, ticker: str) -> models.Reading | None:
    """Return the newest reading of a ticker; `None` before the first."""
    found = view.readings.get(ticker)
    if found is None:
        return None
    seen = found.evidence or found  # all features, where the reading tells them
    forces = [models.Force(name=f.name, score=f.score, confidence=f.confidence) for f in seen.forces]
    return models.Reading(
        ticker=ticker, at=iso_of(found.bucket_utc), spot=usd(found.spot), zero_gamma=usd(found.zero_gamma),
        alignment=seen.alignment, missing=list(found.missing), forces=forces,
    )  # fmt: skip


def alarm_lines(*views: View) -> list[models.AlarmLine]:
    """Return the newest alarm of each key of these desks, newest first."""
    found = [(view, desk, alarm) for view in views for desk, alarm in view.alarms]
    if len(views) > 1:  # of one they stand in the order in which they came
        found.sort(key=lambda known: known[2].at_utc, reverse=True)
    return [_alarm_line(view, desk, alarm) for view, desk, alarm in found]


def _alarm_line(view: View, desk: str, alarm: operator.Alarm) -> models.AlarmLine:
    is_over = _is_over(view, alarm)
    said_as = Severity.INFO if is_over else alarm.severity  # of what has passed nothing is to be done
    return models.AlarmLine(
        at=iso_of(alarm.at_utc), key=alarm.key, severity=alarm.severity.value,
        text=alarm_text(alarm.key, said_as, alarm.text), is_over=is_over, desk=desk or None,
    )  # fmt: skip


def _is_over(view: View, alarm: operator.Alarm) -> bool:
    """Return whether what an alarm said has passed: a session that stands again, a hub that delivers again."""
    if alarm.key in _OF_THE_SESSION:
        mode = view.mode
        return mode is not None and mode.mode in ALLOWS_ENTRIES and mode.at_utc > alarm.at_utc
    hub, _, what = alarm.key.rpartition(":")
    return what in _OF_A_HUB and any(
        other.key == f"{hub}:cover" and other.severity is Severity.INFO and other.at_utc >= alarm.at_utc
        for _, other in view.alarms
    )


def _kill_words(kill: Found | None) -> str | None:
    if kill is None or not kill["reason"]:
        return None
    return f"{plain_text(kill['reason'])} ({part_text(kill['by'])})"
