"""A hub: dials what it is given, and closes every bucket exactly once, with rows or with gaps."""

from __future__ import annotations

from msgspec import structs

from actors.hub import NOT_SEALED, HubActor, HubState, Timer
from domain.instants import BUCKET_NS, SECOND
from messages import market, operator
from supervision.effects import CancelTimer, Publish, SetTimer, Tell
from tests.testkit.probe import Outbox, Probe
from tests.testkit.signal_histories import SETTINGS, clock, fired, profile, rows_of

HUB = "classic"
NAME = "hub:classic"
BUCKET = clock(10, 0)
DUE = BUCKET + BUCKET_NS + 2 * SECOND
CLOSE_BY = DUE + 2 * SECOND
CATEGORIES = SETTINGS.feed.hubs[HUB]
ORDER = ("SPX", "SPY", "QQQ", "IWM", "NVDA", "TSLA", "AAPL", "META")


def hub() -> Probe[HubState]:
    probe = Probe(HubActor(NAME, SETTINGS), clock(9, 0))
    probe.start()
    probe.feed(market.UseAddress(hub=HUB, feed_epoch=7, token_until_utc=clock(9, 15)))
    probe.feed(market.HubUp(hub=HUB, feed_epoch=7, recovered=False))
    return probe


def down(epoch: int = 7, *, can_reuse: bool = True) -> market.HubDown:
    return market.HubDown(hub=HUB, feed_epoch=epoch, cause="closed by the service", can_reuse=can_reuse)


def sealed(tickers: tuple[str, ...] = ORDER, bucket_utc: int = BUCKET) -> market.BucketSealed:
    profiles = [profile(t, c, 600_000) for t in tickers for c in CATEGORIES]
    absent = tuple((t, c) for t in ORDER if t not in tickers for c in CATEGORIES)
    return market.BucketSealed(
        hub=HUB,
        bucket_utc=bucket_utc,
        rows=rows_of(HUB, bucket_utc, *profiles),
        absent=absent,
        counts=market.FrameCounts(accepted=len(profiles)),
    )


def due(probe: Probe[HubState]) -> Outbox:
    return probe.feed(market.BucketDue(bucket_utc=BUCKET, close_by_utc=CLOSE_BY), DUE)


def test_a_new_address_is_dialled_and_an_old_one_is_not() -> None:
    probe = hub()
    out = probe.feed(market.UseAddress(hub=HUB, feed_epoch=8, token_until_utc=clock(9, 20)))
    assert out.effects == [Tell("port:hub:classic", market.DialHub(feed_epoch=8))]
    for old in (8, 7):
        assert probe.feed(market.UseAddress(hub=HUB, feed_epoch=old, token_until_utc=clock(9, 20))).effects == []


def test_what_the_port_says_of_the_session_is_published() -> None:
    probe = hub()
    up = market.HubUp(hub=HUB, feed_epoch=7, recovered=True)
    assert probe.feed(up).published(market.HubUp) == [up]
    assert probe.feed(down()).published(market.HubDown) == [down()]


def test_a_drop_is_dialled_again_at_once_then_with_pauses_while_the_token_lives() -> None:
    probe = hub()
    assert probe.feed(down()).told(market.DialHub, "port:hub:classic") == [market.DialHub(feed_epoch=7)]
    assert not probe.feed(down()).told(market.DialHub)
    assert probe.timers[Timer.DIAL, "7"] == probe.now + 2 * SECOND
    assert probe.fire(Timer.DIAL, "7").effects == [Tell("port:hub:classic", market.DialHub(feed_epoch=7))]


def test_a_dial_of_an_older_epoch_is_not_made() -> None:
    assert hub().feed(fired(Timer.DIAL, 6)).effects == []


def test_a_hub_that_came_up_starts_its_pauses_afresh() -> None:
    probe = hub()
    probe.feed(down())
    probe.feed(market.HubUp(hub=HUB, feed_epoch=7, recovered=False))
    assert probe.feed(down()).told(market.DialHub)


def test_without_a_reusable_address_it_asks_the_feed() -> None:
    request = market.RequestAddress(hub=HUB, feed_epoch=7)
    assert hub().feed(down(can_reuse=False)).told(market.RequestAddress, "feed") == [request]
    assert hub().feed(down(), clock(9, 16)).told(market.RequestAddress, "feed") == [request]  # the token has expired
    probe = hub()
    for _ in range(5):
        probe.feed(down())
    assert probe.sent.told(market.RequestAddress, "feed") == [request]  # five dials in vain


def test_the_end_of_a_replaced_session_is_no_news() -> None:
    probe = hub()
    probe.feed(market.UseAddress(hub=HUB, feed_epoch=8, token_until_utc=clock(9, 20)))
    assert probe.feed(down(7)).effects == []


def test_a_restarted_hub_asks_for_the_address_in_force() -> None:
    out = Probe(HubActor(NAME, SETTINGS), clock(9)).start(incarnation=2)
    assert out.effects == [Tell("feed", market.RequestAddress(hub=HUB, feed_epoch=0))]


def test_a_due_bucket_is_sealed_by_the_port_under_a_deadline() -> None:
    assert due(hub()).effects == [
        Tell("port:hub:classic", market.SealBucket(bucket_utc=BUCKET)),
        SetTimer(Timer.CLOSE, str(BUCKET), CLOSE_BY),
    ]


def test_rows_go_to_the_readings_before_the_marker_in_the_order_of_priority_and_to_the_warehouse() -> None:
    probe = hub()
    due(probe)
    out = probe.feed(sealed(ORDER[:7]), DUE + SECOND)
    assert [type(message) for message in out.messages] == [
        *(market.RowsArrived,) * 7, market.HubClosed, market.StoreBucket,
    ]  # fmt: skip
    rows = out.published(market.RowsArrived)
    assert tuple(r.ticker for r in rows) == ORDER[:7]
    assert {row.profile.ticker for row in rows[0].rows.rows} == {"SPX"}
    assert len(rows[0].rows.rows) == len(CATEGORIES)
    (closed,) = out.published(market.HubClosed)
    assert closed.absent == tuple(("META", c) for c in CATEGORIES)
    assert out.recipients(market.StoreBucket) == ["warehouse"]
    assert CancelTimer(Timer.CLOSE, str(BUCKET)) in out.effects


def test_a_silent_port_closes_the_bucket_with_everything_absent_and_a_gap() -> None:
    probe = hub()
    due(probe)
    out = probe.fire(Timer.CLOSE, str(BUCKET))
    everything = tuple((t, c) for t in ORDER for c in CATEGORIES)
    assert [closed.absent for closed in out.published(market.HubClosed)] == [everything]
    assert not out.published(market.RowsArrived)
    (store,) = out.told(market.StoreBucket, "warehouse")
    assert store.rows.rows == ()
    assert store.absent == everything
    assert store.why_absent == NOT_SEALED


def test_an_answer_after_that_is_stored_as_late_and_told_to_no_reading() -> None:
    probe = hub()
    due(probe)
    probe.fire(Timer.CLOSE, str(BUCKET))
    (store,) = probe.feed(sealed(), CLOSE_BY + SECOND).messages
    assert isinstance(store, market.StoreBucket)
    assert {row.mode for row in store.rows.rows} == {"late"}
    assert store.absent == ()


def test_rows_of_every_bucket_that_was_given_up_are_stored_however_late_and_with_what_rode_along() -> None:
    probe = hub()
    buckets = [BUCKET + n * BUCKET_NS for n in range(20)]
    for bucket_utc in buckets:
        probe.feed(market.BucketDue(bucket_utc=bucket_utc, close_by_utc=bucket_utc + BUCKET_NS))
        probe.fire(Timer.CLOSE, str(bucket_utc))
    earlier = rows_of(HUB, BUCKET - BUCKET_NS, profile("SPX", CATEGORIES[0], 600_000))
    stored: list[market.StoreBucket] = []
    for bucket_utc in buckets:
        out = probe.feed(structs.replace(sealed(ORDER, bucket_utc), late=(earlier,)), CLOSE_BY + 20 * BUCKET_NS)
        assert not out.published(market.HubClosed)
        stored += out.told(market.StoreBucket, "warehouse")
    assert [m.bucket_utc for m in stored[::2]] == buckets
    assert [m.rows for m in stored[1::2]] == [earlier] * 20


def test_a_deadline_after_the_answer_does_nothing() -> None:
    probe = hub()
    due(probe)
    probe.feed(sealed(), DUE + SECOND)
    assert probe.feed(fired(Timer.CLOSE, BUCKET), CLOSE_BY).effects == []


def test_a_bucket_told_or_answered_twice_is_closed_once() -> None:
    probe = hub()
    due(probe)
    assert due(probe).effects == []
    probe.feed(sealed(), DUE + SECOND)
    again = probe.feed(sealed(), DUE + SECOND)
    assert [type(message) for message in again.messages] == [market.StoreBucket], "the warehouse keeps it once"
    assert due(probe).effects == []


def test_a_restarted_hub_hands_on_the_answer_that_its_predecessor_asked_for() -> None:
    probe = Probe(HubActor(NAME, SETTINGS), DUE)
    probe.start(incarnation=2)
    assert len(probe.feed(sealed()).published(market.HubClosed)) == 1


def test_a_bucket_that_is_not_durable_in_time_raises_an_alarm() -> None:
    probe = hub()
    due(probe)
    probe.feed(sealed(), DUE)
    assert probe.timers == {(Timer.STORED, str(BUCKET)): DUE + SECOND}
    assert probe.fire(Timer.STORED, str(BUCKET)).published(operator.Alarm)
    stored = market.BucketStored(hub=HUB, bucket_utc=BUCKET, content_hash="0")
    assert probe.feed(stored).effects == [CancelTimer(Timer.STORED, str(BUCKET))]


def test_a_bucket_that_was_not_stored_raises_an_alarm() -> None:
    failure = market.BucketNotStored(hub=HUB, bucket_utc=BUCKET, why="no space left on the device")
    cancelled, alarm = hub().feed(failure).effects
    assert cancelled == CancelTimer(Timer.STORED, str(BUCKET))
    assert isinstance(alarm, Publish)
    assert isinstance(alarm.event, operator.Alarm)
    assert "no space left" in alarm.event.text


def test_a_silent_hub_is_reported_once_and_again_after_it_spoke() -> None:
    probe = hub()
    alarms = []
    for n in range(12):
        bucket_utc = BUCKET + n * BUCKET_NS
        tickers = ORDER if n == 6 else ()
        out = probe.feed(sealed(tickers, bucket_utc), bucket_utc + BUCKET_NS + SECOND)
        alarms.append(len(out.published(operator.Alarm)))
    assert alarms == [0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]


def test_rows_of_an_earlier_bucket_are_stored_and_no_reading_gets_them() -> None:
    probe = hub()
    due(probe)
    earlier = BUCKET - BUCKET_NS
    late = rows_of(HUB, earlier, profile("SPX", CATEGORIES[0], 600_000))
    out = probe.feed(structs.replace(sealed(), late=(late,)), DUE)
    stored = out.told(market.StoreBucket, "warehouse")
    assert [(m.bucket_utc, m.rows, m.absent) for m in stored][1:] == [(earlier, late, ())]
    assert {m.bucket_utc for m in out.published(market.RowsArrived)} == {BUCKET}


def test_frames_that_cannot_be_read_are_named_and_the_bucket_goes_on() -> None:
    probe = hub()
    due(probe)
    counts = market.FrameCounts(accepted=3, refused=(("bomb", 1), ("corrupt", 2)))
    out = probe.feed(structs.replace(sealed(), counts=counts), DUE)
    (alarm,) = out.published(operator.Alarm)
    assert "bomb 1, corrupt 2" in alarm.text
    assert out.published(market.HubClosed)
