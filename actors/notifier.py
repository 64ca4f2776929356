"""The notifier: turns what happens into lines for people, never in the trading path.

On a crash it forgets which alarms were announced lately and which hubs are up, so that is announced once more.
"""

from __future__ import annotations

from datetime import date
from typing import Final, NamedTuple, assert_never

import msgspec
from msgspec.structs import replace

from config.settings import Settings
from domain.alarm import Severity
from domain.instants import MS, SECOND, exchange_clock, session_of
from domain.instruments import Contract
from domain.position.cycle import NO_FILL, ExitReason
from domain.position.day import DayMark
from domain.risk.kill import NEW_DESK, KillLevel
from domain.session import calendar
from domain.session.modes import Mode
from domain.session.phases import Phase
from domain.signals.alert import AlertKey
from domain.tax.choices import Window, wash_note
from domain.tax.lots import security_of
from domain.tax.rules import TaxRules
from domain.tax.wash import WINDOW
from domain.units import Cents, Utc
from domain.wording import duration_text, measure_text, reasons_text, usd_text
from messages import broker, entries, lifecycle, market, operator, orders, positions, risk, session
from supervision.actor import Actor
from supervision.turn import Turn

SHARED: Final = "shared"  # `notifier:shared` tells what is of no desk, or of all
REPEAT_PAUSE_NS = 30 * SECOND  # between two announcements of one alarm
_URGENCY: Final = {severity: n for n, severity in enumerate(Severity)}

Trade = (
    entries.EntryHandedOver
    | entries.EntryDenied
    | entries.EntryAmended
    | orders.BrokerRefused
    | positions.FillBooked
    | positions.PositionClosed
    | positions.PositionDisputed
    | positions.EntryAbandoned
    | positions.ShortFound
    | positions.DayFlattened
    | positions.HoldingsChecked
)
Inbox = (
    lifecycle.Started
    | operator.Alarm
    | broker.AccountUnreadable
    | session.PhaseChanged
    | session.ModeChanged
    | risk.KillRaised
    | risk.KillLowered
    | risk.DaySettled
    | market.HubUp
    | market.HubDown
    | Trade
)

PHASES: Final = {
    Phase.CLOSED_DAY: "Market closed",
    Phase.PRE: "Before the open",
    Phase.OPEN: "Market open",
    Phase.ENTRY: "Entries allowed",
    Phase.LATE: "No more entries today",
    Phase.PANIC: "Open exits go to market",
    Phase.FLATTEN: "Closing every position at market",
    Phase.CLOSED: "Market closed",
}
KILL_LEVELS: Final = {
    KillLevel.RUNNING: "running",
    KillLevel.NO_ENTRIES: "no entries",
    KillLevel.FLATTEN: "cancel and flatten, no entries",
}


class Announced(msgspec.Struct, frozen=True):
    """When an alarm was announced last and how urgent, and how often it was repeated since.

    `worst` is the most urgent announcement since its fault began; `INFO`: the fault is over, or there was none.
    """

    key: str
    at_utc: Utc
    severity: Severity
    worst: Severity
    repeats: int = 0


class NotifierState(msgspec.Struct):
    """The alarms announced so far, one a key; the sessions of hubs (hub, key number) that people know to be up.

    `down` are those that people know to be down, and since when; `degraded_utc` is since when the order session is not
    fully live again. `losses` are those of this run with live money, for the note on wash sales.
    """

    alarms: tuple[Announced, ...] = ()
    up: tuple[tuple[str, int], ...] = ()
    down: tuple[tuple[tuple[str, int], Utc], ...] = ()
    degraded_utc: Utc | None = None
    losses: tuple[Window, ...] = ()


class Line(NamedTuple):
    """A line for people: what it is about, how urgent it is; `ends` is how urgent the fault was that is over."""

    topic: str
    severity: Severity
    text: str
    ends: Severity | None = None


class NotifierActor(Actor[NotifierState, Inbox]):
    """Announces in one line what a person would want to know."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        self._closed_dates = settings.day.closed_dates
        self._tax = settings.tax if settings.trading_mode == "live" else None  # other money is no tax matter

    def initial(self) -> NotifierState:
        """Nothing announced."""
        return NotifierState()

    def decide(self, turn: Turn[NotifierState], message: Inbox) -> None:
        """Announce."""
        match message:
            case lifecycle.Started():
                pass  # nothing has happened yet that a person should hear of
            case operator.Alarm():
                on_alarm(turn, message)
            case broker.AccountUnreadable():
                on_alarm(turn, operator.Alarm(
                    key="account", severity=Severity.WARNING, text=message.why, at_utc=turn.now
                ))  # fmt: skip
            case session.PhaseChanged():
                announce(turn, phase_line(message, self._closed_dates))
            case market.HubUp() | market.HubDown():
                on_hub(turn, message)
            case risk.DaySettled():
                announce(turn, Line("day", Severity.INFO, day_text(message)))
            case session.ModeChanged():
                on_mode(turn, message)
            case risk.KillRaised() | risk.KillLowered():
                announce(turn, line_of_level(message))
            case (
                entries.EntryHandedOver()
                | entries.EntryDenied()
                | entries.EntryAmended()
                | orders.BrokerRefused()
                | positions.FillBooked()
                | positions.PositionClosed()
                | positions.PositionDisputed()
                | positions.EntryAbandoned()
                | positions.ShortFound()
                | positions.DayFlattened()
                | positions.HoldingsChecked()
            ):
                announce(turn, line_of_trade(message))
                if self._tax is not None:
                    announce(turn, wash_line(turn, self._tax, message))
            case _:
                assert_never(message)


def announce(turn: Turn[NotifierState], line: Line | None) -> None:
    """Show a line to people; `None` is nothing to say."""
    if line is None:
        return
    turn.tell(
        "port:console",
        operator.Announce(
            topic=line.topic, severity=line.severity, text=named(turn.name, line.text), at_utc=turn.now, ends=line.ends
        ),
    )


def named(name: str, text: str) -> str:
    """Return a line with the desk that it is about, of the notifier of one of several (`notifier:<desk>`).

    The key of an alarm stays in front.
    """
    desk = name.partition(":")[2]
    if not desk or desk == SHARED:
        return text
    head, bracket, rest = text.partition("] ") if text.startswith("[") else ("", "", text)
    return f"{head}{bracket}{desk}: {rest}"


def on_alarm(turn: Turn[NotifierState], alarm: operator.Alarm) -> None:
    """Announce an alarm; a repeat within the pause is counted, and the count stands in the next announcement.

    What is more urgent than announced is no repeat, nor is the end of a fault (`INFO` under its key).
    """
    last = next((a for a in turn.state.alarms if a.key == alarm.key), None)
    others = tuple(a for a in turn.state.alarms if a.key != alarm.key)
    is_end = alarm.severity is Severity.INFO and last is not None and last.worst is not Severity.INFO
    is_repeat = last is not None and turn.now - last.at_utc < REPEAT_PAUSE_NS and not is_end
    if last is not None and is_repeat and _URGENCY[alarm.severity] <= _URGENCY[last.severity]:
        turn.state.alarms = (*others, replace(last, repeats=last.repeats + 1))
        return
    worst = alarm.severity if last is None or is_end else max(alarm.severity, last.worst, key=_URGENCY.__getitem__)
    turn.state.alarms = (*others, Announced(alarm.key, turn.now, alarm.severity, worst))
    repeats = ""
    if last is not None and last.repeats:
        repeats = f" (and {last.repeats} repeat{'s' * (last.repeats != 1)} before)"
    text = f"[{alarm.key}] {alarm.text}{repeats}"
    announce(turn, Line("alarm", alarm.severity, text, last.worst if last is not None and is_end else None))


def on_hub(turn: Turn[NotifierState], news: market.HubUp | market.HubDown) -> None:
    """Announce a hub that came or went; one whose session a new address replaced was there all the time."""
    state, its = turn.state, (news.hub, news.key_n)
    was_up = its in state.up
    others = tuple(session for session in state.up if session != its)
    since_utc = dict(state.down).get(its)
    match news:
        case market.HubUp():
            state.up, state.down = (*others, its), tuple(row for row in state.down if row[0] != its)
            if not was_up or news.recovered:
                recovered = " (recovered)" if news.recovered else ""
                line = Line("feed", Severity.INFO, f"Hub {news.hub} connected{recovered}")
                announce(turn, over(line, since_utc, turn.now))
        case market.HubDown():
            state.up = others
            state.down = state.down if since_utc is not None else (*state.down, (its, turn.now))
            text = f"Hub {news.hub} disconnected: {news.cause}. Retrying"
            announce(turn, Line("feed", Severity.WARNING, text))
        case _:
            assert_never(news)


def on_mode(turn: Turn[NotifierState], news: session.ModeChanged) -> None:
    """Announce the order session's mode; after a loss, how long it lasted where it is over."""
    state, since_utc = turn.state, turn.state.degraded_utc
    text = f"Order session: {news.mode.value} ({news.cause})"
    if news.mode is Mode.DEGRADED:
        state.degraded_utc = turn.now if since_utc is None else since_utc
        announce(turn, Line("mode", Severity.WARNING, text))
    elif news.mode is Mode.FULLY_LIVE:
        state.degraded_utc = None
        announce(turn, over(Line("mode", Severity.INFO, text), since_utc, turn.now))
    else:
        announce(turn, Line("mode", Severity.INFO, text))


def over(line: Line, since_utc: Utc | None, now: Utc) -> Line:
    """Return the line of what is well again, with how long it was not; `None`: it was all the time."""
    if since_utc is None:
        return line
    lasted = duration_text((now - since_utc) / MS)
    return line._replace(text=f"{line.text}, after {lasted}", ends=Severity.WARNING)


def wash_line(turn: Turn[NotifierState], rules: TaxRules, message: Trade) -> Line | None:
    """Remember a loss, and return the note on an entry that puts losses off; a note, never a gate."""
    today = session_of(turn.now)
    match message:
        case positions.PositionClosed() if not message.is_correction and message.realised_cents < 0:
            loss = Window(security_of(message.ref.contract), today, today + WINDOW, Cents(-message.realised_cents))
            turn.state.losses = (*(known for known in turn.state.losses if known.until >= today), loss)
        case entries.EntryHandedOver():
            note = wash_note(turn.state.losses, security_of(message.leg.contract), today, rules)
            return None if note is None else Line("entry", Severity.INFO, note)
        case _:
            pass
    return None


# -- lines --------------------------------------------------------------------------------------


def line_of_level(message: risk.KillRaised | risk.KillLowered) -> Line | None:
    """Return the line of a change of the kill level."""
    match message:
        case risk.KillRaised():
            remedy = "" if message.reason == NEW_DESK else ". Find the cause before you resume"
            return Line("kill", Severity.HIGH, kill_text(message).rstrip(".") + remedy)
        case risk.KillLowered():
            # without a reason the level is as it always was: nobody lowered it
            return Line("kill", Severity.WARNING, kill_text(message)) if message.reason else None
        case _:
            assert_never(message)


def line_of_trade(message: Trade) -> Line | None:
    """Return the line of an attempt, an order or a position."""
    match message:
        case entries.EntryHandedOver():
            return Line("entry", Severity.INFO, approved_text(message))
        case entries.EntryDenied():
            return Line("reject", Severity.INFO, refused_text(message))
        case entries.EntryAmended():
            text = f"Came to nothing: {signal_text(message.key)}: {message.code.value} ({message.words})"
            return Line("reject", Severity.WARNING, text)
        case orders.BrokerRefused():
            what = "exit" if message.is_exit else "entry"
            text = f"The broker refused {what} {message.order_ref}: {message.vendor_code} {message.text}"
            return Line("reject", Severity.HIGH if message.is_exit else Severity.WARNING, text)
        case positions.FillBooked():
            return Line("entry" if message.is_entry else "exit", Severity.INFO, fill_text(message))
        case positions.PositionClosed() if message.is_correction:
            return None  # a late fee of what was announced already
        case positions.PositionClosed():
            return Line("exit", Severity.INFO, closed_text(message))
        case positions.PositionDisputed():
            text = f"Check the position in contract {message.con_id} at the broker: {message.why}"
            return Line("alarm", Severity.HIGH, text)
        case positions.EntryAbandoned():
            text = f"Entry of {short(message.ref.contract)} ended without a fill"
            if message.why != NO_FILL:
                text += f": {message.why}"
            return Line("entry", Severity.INFO, text)
        case positions.ShortFound():
            if message.qty >= 0:
                return None
            text = f"Short at the broker: {message.qty} of contract {message.con_id}"
            return Line("alarm", Severity.HIGH, text)
        case positions.DayFlattened():
            return Line("day", Severity.INFO, "Flat: nothing is held or pending")
        case positions.HoldingsChecked():
            return holdings_line(message)
        case _:
            assert_never(message)


def holdings_line(checked: positions.HoldingsChecked) -> Line | None:
    """Return the line of a look at the broker's book; that it holds something, each position says for its own."""
    when = "at the close" if checked.mark is DayMark.CLOSE else "10 min before the close"
    if not checked.is_known:
        return Line("day", Severity.HIGH, f"Whether the broker holds nothing {when} is not known: it cannot be read")
    if checked.positions:
        return None
    return Line("day", Severity.INFO, f"The broker's book is empty {when}")


def phase_line(changed: session.PhaseChanged, closed_dates: tuple[date, ...]) -> Line:
    """Return the line of a phase, on a date without trading with the reason."""
    text = PHASES[changed.phase]
    if changed.phase is Phase.CLOSED_DAY:
        text += f" ({calendar.closure_of(changed.session, closed_dates)})"
    return Line("phase", Severity.INFO, text)


def kill_text(changed: risk.KillRaised | risk.KillLowered) -> str:
    """Return the kill level in force, who set it and why."""
    level = f"{changed.level.value} ({KILL_LEVELS[changed.level]})"
    if isinstance(changed, risk.KillLowered):
        return f"Kill level {level}, lowered by {changed.by}: {changed.reason}"
    stands = " stands since before this start" if changed.is_restored else ""
    return f"Kill level {level}{stands}, raised by {changed.by}: {changed.reason}"


def approved_text(handed_over: entries.EntryHandedOver) -> str:
    """Return what was approved, as `Approved: BUY 1 SPXW 5890P @ 18.80`, with what led to it."""
    leg = handed_over.leg
    order = f"{leg.side.value} {leg.qty} {short(leg.contract)} @ {leg.limit_ticks / 100:.2f}"
    return f"Approved: {order} ({signal_text(handed_over.key)}, {leg.order_ref})"


def refused_text(denied: entries.EntryDenied) -> str:
    """Return which signal was refused, and the code with what was measured."""
    finding = denied.verdict.finding
    measure = measure_text(finding.measured, finding.limit, finding.unit, finding.looked_at)
    return f"Refused: {signal_text(denied.key)}: {denied.code.value}{f' ({measure})' if measure else ''}"


def fill_text(fill: positions.FillBooked) -> str:
    """Return what was bought or sold and at which price, as `Filled: BUY 1 SPXW 5890P @ 18.80 (1 held)`.

    What was sold to open is held below 0.
    """
    price = "at an unknown price" if fill.price_ticks is None else f"@ {fill.price_ticks / 100:.2f}"
    held = fill.ref.side.sign * fill.held_qty
    return f"Filled: {fill.side.value} {fill.qty} {short(fill.ref.contract)} {price} ({held} held)"


def closed_text(closed: positions.PositionClosed) -> str:
    """Return what was closed (below 0: sold to open), why (of each part), and its result net of fees."""
    first = (ExitReason.TAKE_PROFIT,) if closed.took_part else ()
    why = reasons_text(reason.value for reason in (*first, closed.reason or closed.end))
    sign = "+" if closed.realised_cents >= 0 else ""
    qty = closed.ref.side.sign * closed.opened_qty
    return f"Closed {qty} {short(closed.ref.contract)} ({why}): {sign}{usd_text(closed.realised_cents)} net"


def day_text(settled: risk.DaySettled) -> str:
    """Return the day in one line: result, trades, largest fall."""
    day = settled.summary
    if not day.trades:
        return f"Day {settled.session}: no trades"
    sign = "+" if day.realised_cents >= 0 else ""
    return (
        f"Day {settled.session}: {sign}{usd_text(day.realised_cents)} net of {usd_text(day.fees_cents)} fees,"
        f" {day.trades} trade{'s' * (day.trades != 1)} ({day.wins} won, {day.losses} lost),"
        f" largest fall {usd_text(day.drawdown_cents)}"
    )


def signal_text(key: AlertKey) -> str:
    """Return an alert for people, as `GAMMA_FLIP SPX 09:46:00` (New York's clock at the start of its bucket)."""
    return f"{key.kind} {key.ticker} {exchange_clock(key.bucket_utc)}"


def short(contract: Contract) -> str:
    """Return a contract of today without its date, as `SPXW 5890P`."""
    return f"{contract.trading_class} {contract.strike_ticks / 100:g}{contract.right.value}"
