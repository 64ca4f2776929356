"""The desk's gates against a real ledger file: what is durable, what a restart remembers, what a tombstone stops."""

from __future__ import annotations

import pytest

from domain.instants import BUCKET_NS, SECOND
from messages import lifecycle, orders, risk
from storage.desk_ledger import DeskLedger
from tests.testkit.desk_talk import Talk
from tests.testkit.desk_world import BUCKET, DAY, NAV, SETTINGS, name_of, signal

TO_RISK = (orders.EntryReserved, orders.EntryRefused, risk.DayLocked, risk.StartNavRecorded)


class Desk(Talk):
    """A talk whose ledger is a real one; `is_silent` loses its answers, not its writes."""

    def __init__(self, ledger: DeskLedger) -> None:
        self.ledger, self.is_silent, self.written = ledger, False, 0
        asked = lifecycle.ReadState(name="risk:paper", reply_to="supervisor", session=DAY)
        (read,) = ledger.apply(asked, 0)
        super().__init__(SETTINGS, read.restored)

    def write(self) -> list[object]:
        """Carry what was told to the ledger since into the file; its answers are heard, or lost."""
        facts = []
        todo, self.written = self.told[self.written :], len(self.told)
        for to, message in todo:
            if to == "desk_ledger":
                facts += self.ledger.apply(message, self.now)
        if not self.is_silent:
            self.hear(*(f for f in facts if isinstance(f, TO_RISK)))
        return facts

    def morning(self) -> Desk:
        super().morning()
        self.written = 0
        self.ledger.apply(risk.RecordStartNav(session=DAY, nav_cents=NAV, at_utc=self.now), self.now)
        return self


@pytest.fixture
def ledger(tmp_path):
    store = DeskLedger(tmp_path, "paper", 1, is_durable=False)
    store.open()
    yield store
    store.close()


def test_an_entry_is_reserved_once_and_survives_the_desk(ledger):
    desk = Desk(ledger).morning()
    desk.hear(signal()).offer().fresh()
    desk.write()
    assert len(desk.all(orders.OpenPosition)) == 1
    # kill -9 of the actor: the position is pending with an unknown mark, the cooldown runs, the alert is decided.
    again = Desk(ledger).morning()
    assert [(h.intent_id, h.is_pending, h.unrealised_cents) for h in again.state.view.holdings] == [
        (f"{name_of()}/gexwatch/0", True, None)
    ]
    assert again.hear(signal()).code == "cooldown"
    again.now += 30 * SECOND
    assert again.hear(signal(BUCKET + BUCKET_NS)).code == "cooldown"


def test_a_refused_alert_stays_decided_after_a_restart(ledger):
    desk = Desk(ledger).morning().hear(signal(is_shadow=True))
    desk.write()
    assert Desk(ledger).morning().hear(signal()).code == "duplicate_alert"


def test_a_reservation_whose_answer_was_lost_is_taken_back(ledger):
    desk = Desk(ledger).morning()
    desk.is_silent = True
    desk.hear(signal()).offer().fresh()
    assert [type(f) for f in desk.write()] == [orders.EntryReserved]
    desk.wait(250)
    desk.write()
    assert desk.code == "missing_input"
    again = Desk(ledger).morning()
    assert again.state.view.holdings == ()


def test_a_tombstone_that_comes_first_stops_the_reservation(ledger):
    desk = Desk(ledger).morning()
    desk.hear(signal()).offer().fresh()
    late = desk.last(orders.ReserveEntry)
    desk.wait(250)
    release = desk.last(orders.ReleaseReservation)
    assert ledger.apply(release, desk.now) == ()
    (answer,) = ledger.apply(late, desk.now)
    assert isinstance(answer, orders.EntryRefused)
    before = desk.state
    assert desk.hear(answer).state == before


def test_the_ledger_refuses_what_the_read_model_did_not_know(ledger):
    """Two desks of thought on one contract: the second reservation loses at the ledger, before the broker sees it."""
    first, second = Desk(ledger).morning(), Desk(ledger).morning()
    for desk in (first, second):
        desk.hear(signal(alert_id=f"a{id(desk)}", signal_id="s")).offer().fresh()
    first.write()
    second.write()
    assert len(first.all(orders.OpenPosition)) == 1
    assert not second.all(orders.OpenPosition)
    assert second.code in ("ticker_limit", "one_position_only", "duplicate_position")


def test_a_locked_day_stays_locked_and_the_first_start_nav_wins(ledger):
    ledger.apply(risk.LockDay(session=DAY, reason="daily_loss", at_utc=1), 1)
    desk = Desk(ledger).morning()
    assert desk.hear(signal()).code == "day_locked"
    assert desk.state.view.stops.is_hard
    (told,) = ledger.apply(risk.RecordStartNav(session=DAY, nav_cents=1, at_utc=2), 2)
    assert told.nav_cents == NAV
