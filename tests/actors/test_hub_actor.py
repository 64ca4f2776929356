"""A hub: dials what it is given, and closes every bucket exactly once, with rows or with gaps."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from actors.hub import NOT_SEALED, HubActor
from domain.instants import BUCKET_NS, SECOND
from messages import market, operator
from supervision.effects import CancelTimer, SetTimer, Tell
from tests.testkit.signal_histories import SETTINGS, History, clock, profile, rows_of, started, told

HUB = "classic"
NAME = "hub:classic"
BUCKET = clock(10, 0)
DUE = BUCKET + BUCKET_NS + 2 * SECOND
CLOSE_BY = DUE + 2 * SECOND
CATEGORIES = SETTINGS.feed.hubs[HUB]
ORDER = ("SPX", "SPY", "QQQ", "IWM", "NVDA", "TSLA", "AAPL", "META")


def hub() -> History:
    history = History(HubActor(NAME, SETTINGS), clock(9, 0))
    history.hear(started(NAME))
    history.hear(market.HubAddress(hub=HUB, feed_epoch=7, token_until_utc=clock(9, 15)))
    history.hear(market.HubUp(hub=HUB, feed_epoch=7, recovered=False))
    return history


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


def due(history: History) -> Any:
    return history.hear(market.BucketDue(bucket_utc=BUCKET, close_by_utc=CLOSE_BY), DUE)


def test_a_new_address_is_dialled_and_an_old_one_is_not() -> None:
    history = hub()
    effects = history.hear(market.HubAddress(hub=HUB, feed_epoch=8, token_until_utc=clock(9, 20)))
    assert effects == [Tell("port:hub:classic", market.HubDial(feed_epoch=8))]
    for old in (8, 7):
        assert history.hear(market.HubAddress(hub=HUB, feed_epoch=old, token_until_utc=clock(9, 20))) == []


def test_a_drop_is_dialled_again_at_once_then_with_pauses_while_the_token_lives() -> None:
    history = hub()
    assert told(history.hear(down()), market.HubDial, "port:hub:classic") == [market.HubDial(feed_epoch=7)]
    effects = history.hear(down())
    (timer,) = [e for e in effects if isinstance(e, SetTimer)]
    assert timer.at_utc == history.now + 2 * SECOND
    assert history.fire(timer.key, timer.at_utc) == [Tell("port:hub:classic", market.HubDial(feed_epoch=7))]


def test_a_hub_that_came_up_starts_its_pauses_afresh() -> None:
    history = hub()
    history.hear(down())
    history.hear(market.HubUp(hub=HUB, feed_epoch=7, recovered=False))
    assert told(history.hear(down()), market.HubDial)


def test_without_a_reusable_address_it_asks_the_feed() -> None:
    wish = market.AddressWanted(hub=HUB, feed_epoch=7)
    assert told(hub().hear(down(can_reuse=False)), to="feed") == [wish]
    assert told(hub().hear(down(), clock(9, 16)), to="feed") == [wish]  # the token has expired
    history = hub()
    effects = [e for _ in range(5) for e in history.hear(down())]
    assert told(effects, to="feed") == [wish]  # five dials in vain


def test_the_end_of_a_replaced_session_is_no_news() -> None:
    history = hub()
    history.hear(market.HubAddress(hub=HUB, feed_epoch=8, token_until_utc=clock(9, 20)))
    assert history.hear(down(7)) == []


def test_a_restarted_hub_asks_for_the_address_in_force() -> None:
    effects = History(HubActor(NAME, SETTINGS)).hear(started(NAME, 2))
    assert effects == [Tell("feed", market.AddressWanted(hub=HUB, feed_epoch=0))]


def test_a_due_bucket_is_sealed_by_the_port_under_a_deadline() -> None:
    effects = due(hub())
    assert effects == [
        Tell("port:hub:classic", market.SealBucket(bucket_utc=BUCKET)),
        SetTimer(f"close:{BUCKET}", CLOSE_BY),
    ]


def test_rows_go_to_the_readings_before_the_marker_in_the_order_of_priority_and_to_the_warehouse() -> None:
    history = hub()
    due(history)
    effects = history.hear(sealed(ORDER[:7]), DUE + SECOND)
    tells = [(e.to, type(e.message)) for e in effects if isinstance(e, Tell)]
    expected = [(f"reading:{ticker}", kind) for ticker in ORDER[:7] for kind in (market.RowsArrived, market.HubClosed)]
    assert tells == [*expected, ("reading:META", market.HubClosed), ("warehouse", market.StoreBucket)]
    (spx,) = told(effects, market.RowsArrived, "reading:SPX")
    assert {row.profile.ticker for row in spx.rows.rows} == {"SPX"}
    assert len(spx.rows.rows) == len(CATEGORIES)
    (meta,) = told(effects, market.HubClosed, "reading:META")
    assert meta.absent == tuple(("META", c) for c in CATEGORIES)
    (spx_closed,) = told(effects, market.HubClosed, "reading:SPX")
    assert spx_closed.absent == ()
    assert CancelTimer(f"close:{BUCKET}") in effects


def test_a_silent_port_closes_the_bucket_with_everything_absent_and_a_gap() -> None:
    history = hub()
    due(history)
    effects = history.fire(f"close:{BUCKET}", CLOSE_BY)
    assert len(told(effects, market.HubClosed)) == len(ORDER)
    assert not told(effects, market.RowsArrived)
    (store,) = told(effects, market.StoreBucket, "warehouse")
    assert store.rows.rows == ()
    assert store.absent == tuple((t, c) for t in ORDER for c in CATEGORIES)
    assert store.why_absent == NOT_SEALED


def test_an_answer_after_that_is_stored_as_late_and_told_to_no_reading() -> None:
    history = hub()
    due(history)
    history.fire(f"close:{BUCKET}", CLOSE_BY)
    effects = history.hear(sealed(), CLOSE_BY + SECOND)
    (store,) = told(effects)
    assert isinstance(store, market.StoreBucket)
    assert {row.mode for row in store.rows.rows} == {"late"}
    assert store.absent == ()


def test_a_deadline_after_the_answer_does_nothing() -> None:
    history = hub()
    due(history)
    history.hear(sealed(), DUE + SECOND)
    assert history.fire(f"close:{BUCKET}", CLOSE_BY) == []


def test_a_bucket_told_or_answered_twice_is_closed_once() -> None:
    history = hub()
    due(history)
    assert due(history) == []
    history.hear(sealed(), DUE + SECOND)
    assert history.hear(sealed(), DUE + SECOND) == []
    assert due(history) == []


def test_a_restarted_hub_hands_on_the_answer_that_its_predecessor_asked_for() -> None:
    history = History(HubActor(NAME, SETTINGS), DUE)
    history.hear(started(NAME, 2))
    assert len(told(history.hear(sealed()), market.HubClosed)) == len(ORDER)


def test_a_bucket_that_is_not_durable_in_time_raises_an_alarm() -> None:
    history = hub()
    due(history)
    effects = history.hear(sealed(), DUE)
    (timer,) = [e for e in effects if isinstance(e, SetTimer)]
    assert timer.at_utc == DUE + SECOND
    assert told(history.fire(timer.key, timer.at_utc), operator.Alarm, "notifier")
    stored = market.BucketStored(hub=HUB, bucket_utc=BUCKET, content_hash="0")
    assert history.hear(stored) == [CancelTimer(timer.key)]


def test_a_bucket_that_was_not_stored_raises_an_alarm() -> None:
    failure = market.BucketNotStored(hub=HUB, bucket_utc=BUCKET, why="no space left on the device")
    (alarm,) = told(hub().hear(failure), operator.Alarm, "notifier")
    assert "no space left" in alarm.text


def test_a_silent_hub_is_reported_once_and_again_after_it_spoke() -> None:
    history = hub()
    alarms = []
    for n in range(12):
        bucket_utc = BUCKET + n * BUCKET_NS
        tickers = ORDER if n == 6 else ()
        effects = history.hear(sealed(tickers, bucket_utc), bucket_utc + BUCKET_NS + SECOND)
        alarms.append(len(told(effects, operator.Alarm, "notifier")))
    assert alarms == [0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]


def test_rows_of_an_earlier_bucket_are_stored_and_no_reading_gets_them() -> None:
    history = hub()
    due(history)
    earlier = BUCKET - BUCKET_NS
    late = rows_of(HUB, earlier, profile("SPX", CATEGORIES[0], 600_000))
    effects = history.hear(structs.replace(sealed(), late=(late,)), DUE)
    stored = told(effects, market.StoreBucket, "warehouse")
    assert [(m.bucket_utc, m.rows, m.absent) for m in stored][1:] == [(earlier, late, ())]
    assert {m.bucket_utc for m in told(effects, market.RowsArrived)} == {BUCKET}


def test_frames_that_cannot_be_read_are_named_and_the_bucket_goes_on() -> None:
    history = hub()
    due(history)
    counts = market.FrameCounts(accepted=3, refused=(("bomb", 1), ("corrupt", 2)))
    effects = history.hear(structs.replace(sealed(), counts=counts), DUE)
    (alarm,) = told(effects, operator.Alarm, "notifier")
    assert "bomb 1, corrupt 2" in alarm.text
    assert told(effects, market.HubClosed)
