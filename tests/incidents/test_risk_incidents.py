"""What must never happen again at the desk's gates, each from the story to the end, and any order of replies."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.instants import BUCKET_NS
from domain.risk.entry_stages import Stage
from domain.risk.reject import RejectCode
from messages import market, orders
from tests.testkit.desk_talk import Talk
from tests.testkit.desk_world import BUCKET, CALL, NOW, QQQ_CALL, QQQ_SPOT, SPOT, name_of, quote, signal

QQQ = {"source": "advisor", "strategy": "advisor", "ticker": "QQQ", "alert_id": name_of(BUCKET, "QQQ", "advisor")}


def test_two_fast_signals_on_one_contract_reserve_once():
    """The second of two sources on the same contract is stopped before the ledger, and by the ledger if not before."""
    talk = Talk().morning().hear(signal(), signal(alert_id="b", signal_id="b", source="advisor", strategy="advisor"))
    talk.offer().fresh().reserve()
    assert len(talk.all(orders.ReserveEntry)) == 1
    assert talk.code == "ticker_limit"
    assert len(talk.all(orders.OpenPosition, "position:paper:812")) == 1


def test_the_ledger_decides_when_two_desks_of_thought_want_one_contract():
    """Whatever the read model thinks: EntryRefused opens nothing and leaves nothing pending."""
    talk = Talk().morning().hear(signal()).offer().fresh()
    talk.hear(orders.EntryRefused(intent_id=talk.asked_intent, code=RejectCode.DUPLICATE_POSITION))
    talk.reserve()
    assert talk.code == "duplicate_position"
    assert not talk.all(orders.OpenPosition)
    assert talk.state.view.holdings == ()


def test_a_signal_told_twice_is_one_attempt_and_one_row():
    talk = Talk().morning().hear(signal(), signal())
    assert len(talk.all(market.ContractsWanted)) == 1
    talk.offer().hear(signal()).fresh().hear(signal()).reserve()
    assert not talk.all(orders.EntryDenied)
    talk.hear(signal())  # the row stands now; the cooldown speaks first, and after it the watermark
    assert talk.code == "cooldown"
    denied = Talk().morning().hear(signal(is_shadow=True), signal())
    assert [d.code.value for d in denied.all(orders.EntryDenied, "web")] == ["shadow_signal", "duplicate_alert"]


def test_an_older_bucket_after_a_newer_one_is_a_duplicate():
    talk = Talk().morning().hear(signal(is_shadow=True), signal(BUCKET - BUCKET_NS))
    assert talk.code == "duplicate_alert"


def test_a_late_reply_after_the_denial_moves_nothing():
    talk = Talk().morning().hear(signal())
    late = market.ContractsOffered(
        request_id=talk.last(market.ContractsWanted).request_id, quotes=((CALL, quote()),), spot=SPOT
    )
    talk.wait(500)
    before = talk.state
    talk.told.clear()
    talk.hear(late, late)
    assert (talk.state, talk.told) == (before, [])


def test_an_answer_to_the_first_attempt_is_no_answer_to_the_second():
    talk = Talk().morning().hear(signal(alert_id="a"), signal(alert_id="b"))
    first = talk.last(market.ContractsWanted).request_id
    talk.wait(500)
    assert talk.last(market.ContractsWanted).request_id != first
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
    rows: dict[str, int] = field(default_factory=dict)

    def see(self, told: list[tuple[str, object]]) -> None:
        for _, m in told:
            match m:
                case orders.ReserveEntry():
                    assert set(self.asked) <= self.ended, "two reservations in flight"
                    assert m.intent_id not in self.asked, "reserved twice"
                    self.asked.append(m.intent_id)
                case orders.ReleaseReservation():
                    self.ended.add(m.intent_id)
                case orders.OpenPosition():
                    assert m.intent_id in self.reserved, "opened without a reservation"
                    assert m.intent_id not in self.ended, "opened after the end"
                    self.opened.append(m.intent_id)
                    self.ended.add(m.intent_id)
                case orders.RecordDenial():
                    self.rows[m.alert_id] = self.rows.get(m.alert_id, 0) + 1


# "go" is the reply that the stage waits for (or a new signal), so that deep stages are reached often.
MOVES = st.lists(
    st.sampled_from(
        ["signal", "shadow", "qqq", "stale offer", "none", "reserve", "refuse", "old"] + ["wait"] * 2 + ["go"] * 9
    ),
    min_size=8,
    max_size=60,
)
GO = {
    Stage.AWAITS_CONTRACTS: "offer",
    Stage.AWAITS_QUOTE: "quote",
    Stage.AWAITS_FRESH_QUOTE: "quote",
    Stage.AWAITS_RESERVATION: "reserve",
}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(MOVES, st.randoms(use_true_random=False))
def test_whatever_the_order_of_replies_one_reservation_is_in_flight_and_nothing_opens_without_it(moves, random):
    talk, ledger, heard = Talk().morning(), Ledger(), []
    for n, step in enumerate(moves):
        attempt = talk.state.attempt
        move = step if step != "go" else "signal" if attempt is None else GO[attempt.stage]
        replies = reply_to(talk, ledger, move, n)
        if move == "old" and heard:
            replies = [random.choice(heard)]  # late, repeated, or both
        heard += replies
        talk.told.clear()
        if move == "wait":
            talk.wait(random.choice([1, 240, 500, 1_500]))
        for message in replies:
            if isinstance(message, orders.EntryReserved):
                ledger.reserved.add(message.intent_id)
            if isinstance(message, orders.EntryRefused):
                ledger.ended.add(message.intent_id)
            talk.hear(message)
        ledger.see(talk.told)
    assert len(ledger.opened) == len(set(ledger.opened))
    talk.wait(10_000)
    assert talk.state.attempt is None
    assert talk.state.queue == ()
    assert not talk.timers, "a timer outlived its attempt"


def reply_to(talk: Talk, ledger: Ledger, move: str, n: int) -> list[object]:
    """Give what the other side would say for this move, to the request in flight (or to one long gone)."""
    attempt = talk.state.attempt
    request = attempt.request_id if attempt is not None else "none"
    is_qqq = attempt is not None and attempt.intent.ticker == "QQQ"
    contract, spot = (QQQ_CALL, QQQ_SPOT) if is_qqq else (CALL, SPOT)
    given = quote(900, 100, 104, talk.now) if is_qqq else quote(at=talk.now)
    asked = ledger.asked[-1] if ledger.asked else "none"
    match move:
        case "signal":
            return [signal(alert_id=f"a{n}", signal_id=f"a{n}")]
        case "shadow":
            return [signal(alert_id=f"s{n}", is_shadow=True)]
        case "qqq":
            return [signal(**{**QQQ, "alert_id": f"q{n}"})]
        case "offer":
            return [market.ContractsOffered(request_id=request, quotes=((contract, given),), spot=spot)]
        case "stale offer":
            old = quote(contract.con_id, 100, 104, NOW - BUCKET_NS)
            return [market.ContractsOffered(request_id=request, quotes=((contract, old),), spot=spot)]
        case "quote":
            return [market.QuoteRead(request_id=request, contract=contract, quote=given, spot=spot)]
        case "none":
            return [market.QuoteUnavailable(request_id=request, con_id=contract.con_id, why="no tick")]
        case "reserve":
            return [orders.EntryReserved(intent_id=asked)]
        case "refuse":
            return [orders.EntryRefused(intent_id=asked, code=RejectCode.DUPLICATE_POSITION)]
    return []
