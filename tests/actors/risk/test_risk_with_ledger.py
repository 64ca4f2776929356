"""The desk's gates against a real ledger file: what is durable, what a restart remembers, what a tombstone stops."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from domain.alarm import Severity
from domain.instants import BUCKET_NS, SECOND
from domain.position.cycle import PositionState
from domain.risk.reject import RejectCode
from messages import entries, lifecycle, operator, positions, risk, signals
from messages.base import Message
from storage.desk_ledger import DeskLedger
from storage.promotions import promote
from supervision.effects import Tell
from tests.testkit.desk_talk import DeskTalk
from tests.testkit.desk_world import BUCKET, DAY, INTENT, MORNING, NAV, NOW, SETTINGS, alert, ref, signal
from tests.testkit.narrow import of_class

TO_RISK = (entries.EntryReserved, entries.EntryRefused, risk.DayLocked, risk.StartNavRecorded, lifecycle.StateRead)


class LedgerTalk(DeskTalk):
    """A desk whose ledger is a real one; `is_silent` loses its answers, not its writes."""

    def __init__(self, ledger: DeskLedger) -> None:
        self.ledger, self.is_silent, self.written = ledger, False, 0
        asked = lifecycle.RequestState(name="risk:paper", reply_to="supervisor", session=DAY)
        (read,) = ledger.apply(asked, 0)
        super().__init__(SETTINGS, of_class(lifecycle.StateRead, read).restored)

    def write(self) -> list[Message]:
        """Carry what was told to the ledger since into the file; its answers are heard, or lost."""
        facts: list[Message] = []
        todo, self.written = self.sent.effects[self.written :], len(self.sent.effects)
        for effect in todo:
            if isinstance(effect, Tell) and effect.to == "desk_ledger":
                facts += self.ledger.apply(effect.message, self.now)
        if not self.is_silent:
            self.hear(*(fact for fact in facts if isinstance(fact, TO_RISK)))
        return facts

    def morning(self) -> Self:
        super().morning()
        self.written = 0
        self.ledger.apply(risk.RecordStartNav(session=DAY, nav_cents=NAV, at_utc=self.now), self.now)
        return self


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[DeskLedger]:
    for source in ("gexwatch", "advisor"):
        promote(tmp_path, ("GAMMA_FLIP-1", "OTHER-1"), source, "settings", "test", 1)
    store = DeskLedger(tmp_path, "paper", 1, is_durable=False)
    store.open()
    yield store
    store.close()


def test_an_entry_is_reserved_once_and_survives_the_desk(ledger: DeskLedger) -> None:
    desk = LedgerTalk(ledger).morning()
    desk.hear(signal()).offer().fresh()
    desk.write()
    assert len(desk.told(entries.OpenPosition)) == 1
    # kill -9 of the actor: the position is pending with an unknown mark, the cooldown runs, the alert is decided.
    again = LedgerTalk(ledger).morning()
    assert [(h.ref, h.is_pending, h.unrealised_cents) for h in again.state.view.holdings] == [
        (desk.last(entries.OpenPosition).ref, True, None)
    ]
    assert again.hear(signal()).code is RejectCode.COOLDOWN
    again.now += 30 * SECOND
    assert again.hear(signal(alert(BUCKET + BUCKET_NS))).code is RejectCode.COOLDOWN


def test_desk_that_started_without_the_shared_ledger_opens_when_it_can_be_read(
    ledger: DeskLedger, tmp_path: Path
) -> None:
    shared = tmp_path / "ledger.db"
    whole = shared.read_bytes()
    shared.write_bytes(b"not a ledger" * 500)
    desk = LedgerTalk(ledger)
    (told,) = [alarm for alarm in desk.published(operator.Alarm) if alarm.key == "promotions"]
    assert (told.severity, "ledger.db" in told.text) == (Severity.HIGH, True)
    desk.hear(*MORNING)
    asked = [desk.timers["promotions", ""] - desk.now]
    for _ in range(8):
        desk.fire("promotions")
        desk.write()
        asked.append(desk.timers["promotions", ""] - desk.now)
    assert asked == sorted(asked)
    assert (asked[0], asked[-1]) == (SECOND, 30 * SECOND)
    desk.sent.effects.clear()
    desk.written = 0
    shared.write_bytes(whole)
    desk.hear(signals.PromotionChanged(source="gexwatch", kind="OTHER", version=1, is_promoted=False, by="ann"))
    desk.fire("promotions")
    desk.write()
    (told,) = [alarm for alarm in desk.published(operator.Alarm) if alarm.key == "promotions"]
    assert (told.severity, "3 kinds" in told.text) == (Severity.INFO, True)
    assert ("promotions", "") not in desk.timers
    assert ("gexwatch", "OTHER", 1) not in desk.state.view.promoted  # withdrawn meanwhile
    assert ("gexwatch", "GAMMA_FLIP", 1) in desk.state.view.promoted


def test_a_refused_alert_stays_decided_after_a_restart(ledger: DeskLedger) -> None:
    desk = LedgerTalk(ledger).morning().hear(signal(is_shadow=True))
    desk.write()
    assert LedgerTalk(ledger).morning().hear(signal()).code is RejectCode.DUPLICATE_ALERT


def test_a_reservation_whose_answer_was_lost_is_taken_back(ledger: DeskLedger) -> None:
    desk = LedgerTalk(ledger).morning()
    desk.is_silent = True
    desk.hear(signal()).offer().fresh()
    assert [type(fact) for fact in desk.write()] == [entries.EntryReserved]
    desk.wait(250)
    desk.write()
    assert desk.code is RejectCode.MISSING_INPUT
    again = LedgerTalk(ledger).morning()
    assert again.state.view.holdings == ()


def test_a_tombstone_that_comes_first_stops_the_reservation(ledger: DeskLedger) -> None:
    desk = LedgerTalk(ledger).morning()
    desk.hear(signal()).offer().fresh()
    late = desk.last(entries.ReserveEntry)
    desk.wait(250)
    release = desk.last(entries.ReleaseReservation)
    assert ledger.apply(release, desk.now) == ()
    (told,) = ledger.apply(late, desk.now)
    answer = of_class(entries.EntryRefused, told)
    assert (answer.intent_id, answer.finding.code) == (INTENT, RejectCode.ATTEMPT_INTERRUPTED)
    before = desk.state
    assert desk.hear(answer).state == before


def test_the_ledger_refuses_what_the_read_model_did_not_know(ledger: DeskLedger) -> None:
    """Two desks of thought on one contract: the second reservation loses at the ledger, before the broker sees it."""
    first, second = LedgerTalk(ledger).morning(), LedgerTalk(ledger).morning()
    for desk, kind in ((first, "GAMMA_FLIP"), (second, "OTHER")):
        desk.hear(signal(alert(kind=kind))).offer().fresh()
    first.write()
    second.write()
    assert len(first.told(entries.OpenPosition)) == 1
    assert not second.told(entries.OpenPosition)
    assert second.code is RejectCode.ONE_POSITION_ONLY


def test_a_locked_day_stays_locked_and_the_first_start_nav_wins(ledger: DeskLedger) -> None:
    ledger.apply(risk.LockDay(session=DAY, reason="daily_loss", at_utc=1), 1)
    desk = LedgerTalk(ledger).morning()
    assert desk.hear(signal()).code is RejectCode.DAY_LOCKED
    assert desk.state.view.stops.is_hard
    (told,) = ledger.apply(risk.RecordStartNav(session=DAY, nav_cents=1, at_utc=2), 2)
    assert of_class(risk.StartNavRecorded, told).nav_cents == NAV


def test_the_days_stops_survive_the_desk(ledger: DeskLedger) -> None:
    desk = LedgerTalk(ledger).morning()
    for cents in (60_000, -470_000):
        desk.hear(
            positions.PositionChanged(
                ref=ref(), state=PositionState.OPEN, qty=2, cost_cents=204_000, realised_cents=0, fees_cents=0,
                unrealised_cents=cents, mark_utc=NOW, exit_reason=None, at_utc=NOW,
            )
        )  # fmt: skip
    desk.write()
    stops = desk.state.view.stops
    assert (stops.is_soft, stops.peak_cents > 50_000) == (True, True)
    assert LedgerTalk(ledger).state.view.stops == stops


def test_what_was_amended_starts_no_cooldown_after_a_restart_either(ledger: DeskLedger) -> None:
    """The order was never sent: the running desk and the restarted one must agree on what that means."""
    for code, wanted in ((RejectCode.PERMIT_EXPIRED, RejectCode.DUPLICATE_ALERT), (RejectCode.BROKER_REJECTED, None)):
        desk = LedgerTalk(ledger).morning()
        key = alert(kind="GAMMA_FLIP" if wanted else "OTHER")
        desk.hear(signal(key)).offer().fresh()
        desk.write()
        opened = desk.last(entries.OpenPosition)
        gone = positions.EntryAbandoned(ref=opened.ref, order_ref=opened.order_ref, why="no fill")
        amended = entries.EntryAmended(key=key, intent_id=opened.ref.intent_id, code=code, words="...", at_utc=NOW)
        for told in (amended, gone):
            ledger.apply(told, desk.now)
            desk.hear(told)
        again = LedgerTalk(ledger).morning()
        assert again.state.view.decisions == desk.state.view.decisions
        assert again.hear(signal(key)).code is (wanted or RejectCode.COOLDOWN)


def test_a_promotion_that_a_person_withdrew_is_withdrawn_for_the_desk_that_starts_later(tmp_path: Path) -> None:
    promote(tmp_path, ("GAMMA_FLIP-1",), "gexwatch", "settings", "test", 1)
    promote(tmp_path, (), "gexwatch", "settings", "taken out of the settings", 2)
    store = DeskLedger(tmp_path, "paper", 1, is_durable=False)
    store.open()
    assert LedgerTalk(store).morning().hear(signal()).code is RejectCode.SHADOW_SIGNAL
    store.close()
