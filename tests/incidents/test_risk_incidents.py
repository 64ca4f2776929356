"""What must never happen again at the desk's gates, each from the story to the end, and any order of replies."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.instants import BUCKET_NS
from domain.risk.attempt import Attempt
from domain.risk.entry_stages import EntryStage
from domain.risk.gates.types import refused
from domain.risk.reject import RejectCode
from messages import entries, market
from messages.base import Message
from tests.testkit.desk_talk import DeskTalk
from tests.testkit.desk_world import (
    BUCKET,
    CALL,
    NOW,
    QQQ_ALERT,
    QQQ_CALL,
    QQQ_SPOT,
    SETTINGS,
    SPOT,
    alert,
    quote,
    signal,
)

DUPLICATE = RejectCode.DUPLICATE_POSITION


def test_two_fast_signals_on_one_contract_reserve_once() -> None:
    """The second of two sources on the same contract is stopped before the ledger, and by the ledger if not before."""
    talk = DeskTalk().morning().hear(signal(), signal(alert(source="advisor")))
    talk.offer().fresh().reserve()
    assert len(talk.told(entries.ReserveEntry)) == 1
    assert talk.code is RejectCode.TICKER_LIMIT
    assert len(talk.told(entries.OpenPosition, "position:paper:812")) == 1


def test_the_ledger_decides_when_two_desks_of_thought_want_one_contract() -> None:
    """Whatever the read model thinks: EntryRefused opens nothing and leaves nothing pending."""
    talk = DeskTalk().morning().hear(signal()).offer().fresh()
    talk.hear(entries.EntryRefused(intent_id=talk.asked_intent, finding=refused(DUPLICATE)))
    talk.reserve()
    assert talk.code is DUPLICATE
    assert not talk.told(entries.OpenPosition)
    assert talk.state.view.holdings == ()


def test_a_signal_told_twice_is_one_attempt_and_one_row() -> None:
    talk = DeskTalk().morning().hear(signal(), signal())
    assert len(talk.told(market.RequestContracts)) == 1
    talk.offer().hear(signal()).fresh().hear(signal()).reserve()
    assert not talk.published(entries.EntryDenied)
    talk.hear(signal())  # the row stands now; the cooldown speaks first, and after it the watermark
    assert talk.code is RejectCode.COOLDOWN
    denied = DeskTalk().morning().hear(signal(is_shadow=True), signal())
    assert [d.code for d in denied.published(entries.EntryDenied)] == [
        RejectCode.SHADOW_SIGNAL,
        RejectCode.DUPLICATE_ALERT,
    ]


def test_an_older_bucket_after_a_newer_one_is_a_duplicate() -> None:
    talk = DeskTalk().morning().hear(signal(is_shadow=True), signal(alert(BUCKET - BUCKET_NS)))
    assert talk.code is RejectCode.DUPLICATE_ALERT


def test_a_late_reply_after_the_denial_moves_nothing() -> None:
    talk = DeskTalk().morning().hear(signal())
    late = market.ContractsOffered(
        request_id=talk.last(market.RequestContracts).request_id, quotes=((CALL, quote()),), spot=SPOT
    )
    talk.wait(1_500)
    before = talk.state
    talk.sent.effects.clear()
    talk.hear(late, late)
    assert (talk.state, talk.names()) == (before, [])


def test_an_answer_to_the_first_attempt_is_no_answer_to_the_second() -> None:
    talk = DeskTalk().morning().hear(signal())
    first = talk.last(market.RequestContracts).request_id
    talk.wait(1_500).hear(signal(alert(kind="OTHER")))
    assert talk.last(market.RequestContracts).request_id != first
    before = talk.state
    talk.hear(market.ContractsOffered(request_id=first, quotes=((CALL, quote()),), spot=SPOT))
    assert talk.state == before


# -- any order of replies -----------------------------------------------------------------------


@dataclass
class Ledger:
    """Counts what the ledger and the positions would have seen, and checks it as it happens."""

    reserved: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    opened: list[str] = field(default_factory=list)
    tickers: dict[str, str] = field(default_factory=dict)

    def see(self, messages: list[Message]) -> None:
        for m in messages:
            match m:
                case entries.ReserveEntry():
                    going = [ask for ask in self.asked if ask not in self.ended]
                    assert len(going) < SETTINGS.entry.positions_max, "more reservations in flight than positions"
                    assert all(self.tickers[ask] != m.intent.ticker for ask in going), "two on one ticker in flight"
                    self.tickers[m.intent.intent_id] = m.intent.ticker
                    assert m.intent.intent_id not in self.asked, "reserved twice"
                    self.asked.append(m.intent.intent_id)
                case entries.ReleaseReservation():
                    self.ended.add(m.intent_id)
                case entries.OpenPosition():
                    assert m.ref.intent_id in self.reserved, "opened without a reservation"
                    assert m.ref.intent_id not in self.ended, "opened after the end"
                    self.opened.append(m.ref.intent_id)
                    self.ended.add(m.ref.intent_id)


# "go" is the reply that the stage waits for (or a new signal), so that deep stages are reached often.
MOVES = st.lists(
    st.sampled_from(
        ["signal", "shadow", "qqq", "stale offer", "none", "reserve", "refuse", "old"] + ["wait"] * 2 + ["go"] * 9
    ),
    min_size=8,
    max_size=60,
)
GO = {
    EntryStage.AWAITS_CONTRACTS: "offer",
    EntryStage.AWAITS_QUOTE: "quote",
    EntryStage.AWAITS_FRESH_QUOTE: "quote",
    EntryStage.AWAITS_RESERVATION: "reserve",
}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(MOVES, st.randoms(use_true_random=False))
def test_whatever_the_order_of_replies_limits_hold_for_what_is_in_flight_and_nothing_opens_without_it(
    moves: list[str], random: Random
) -> None:
    talk, ledger = DeskTalk().morning(), Ledger()
    heard: list[Message] = []
    for n, step in enumerate(moves):
        attempt = random.choice(talk.state.attempts or (None,))
        move = step if step != "go" else "signal" if attempt is None else GO[attempt.stage]
        replies = reply_to(talk, attempt, ledger, move, n)
        if move == "old" and heard:
            replies = [random.choice(heard)]  # late, repeated, or both
        heard += replies
        talk.sent.effects.clear()
        if move == "wait":
            talk.wait(random.choice([1, 240, 500, 1_500]))
        for message in replies:
            if isinstance(message, entries.EntryReserved):
                ledger.reserved.add(message.intent_id)
            if isinstance(message, entries.EntryRefused):
                ledger.ended.add(message.intent_id)
            talk.hear(message)
        ledger.see(talk.sent.messages)
    assert len(ledger.opened) == len(set(ledger.opened))
    talk.wait(10_000)
    assert talk.state.attempts == ()
    assert not talk.timers, "a timer outlived its attempt"


def reply_to(talk: DeskTalk, attempt: Attempt | None, ledger: Ledger, move: str, n: int) -> list[Message]:
    """Return what the other side would say for this move, to the request of an attempt (or to one long gone)."""
    request = attempt.request_id if attempt is not None else "none"
    is_qqq = attempt is not None and attempt.intent.ticker == "QQQ"
    contract, spot = (QQQ_CALL, QQQ_SPOT) if is_qqq else (CALL, SPOT)
    read = quote(900, 100, 104, talk.now) if is_qqq else quote(at=talk.now)
    own = "" if attempt is None else attempt.intent.intent_id
    asked = own if own in ledger.asked else ledger.asked[-1] if ledger.asked else "none"
    match move:
        case "signal":
            return [signal(alert(kind=f"A{n}"))]
        case "shadow":
            return [signal(alert(kind=f"S{n}"), is_shadow=True)]
        case "qqq":
            return [signal(alert(ticker="QQQ", source=QQQ_ALERT.source, kind=f"Q{n}"))]
        case "offer":
            return [market.ContractsOffered(request_id=request, quotes=((contract, read),), spot=spot)]
        case "stale offer":
            old = quote(contract.con_id, 100, 104, NOW - BUCKET_NS)
            return [market.ContractsOffered(request_id=request, quotes=((contract, old),), spot=spot)]
        case "quote":
            return [market.QuoteRead(request_id=request, contract=contract, quote=read, spot=spot)]
        case "none":
            return [market.QuoteUnavailable(request_id=request, con_id=contract.con_id, why="no tick")]
        case "reserve":
            return [entries.EntryReserved(intent_id=asked)]
        case "refuse":
            return [entries.EntryRefused(intent_id=asked, finding=refused(DUPLICATE))]
    return []
