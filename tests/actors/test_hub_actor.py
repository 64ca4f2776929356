"""A hub: dials what it is given, and closes every bucket exactly once, with rows or with gaps."""

from __future__ import annotations

import dataclasses

import pytest
from msgspec import structs

from actors.hub import NOT_SEALED, HubActor, HubState, Timer
from domain.alarm import Severity
from domain.instants import BUCKET_NS, SECOND
from domain.units import Utc
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


def down(epoch: int = 7, *, can_reuse: bool = True, has_delivered: bool = False) -> market.HubDown:
    return market.HubDown(
        hub=HUB, feed_epoch=epoch, cause="closed by the service", can_reuse=can_reuse, has_delivered=has_delivered
    )


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


def test_the_loss_of_a_session_that_delivered_is_dialled_again_soon_and_failures_wait_longer_and_longer() -> None:
    probe = hub()
    out = probe.feed(down(has_delivered=True), clock(9, 5))
    assert out.told(market.DialHub, "port:hub:classic") == [market.DialHub(feed_epoch=7)]
    waits = []
    for _ in range(7):
        assert not probe.feed(down()).told(market.DialHub)
        waits.append((probe.timers[Timer.DIAL, "0:7"] - probe.now) // SECOND)
        probe.fire(Timer.DIAL, "0:7")
    assert waits == [2, 4, 8, 16, 300, 300, 300]


def test_a_hub_that_says_connected_and_ends_is_dialled_a_few_times_an_hour_and_told_once() -> None:
    """Success is a session that delivered or lasted, and neither a handshake nor a new address is one."""
    probe = hub()
    dials = alarms = 0
    while probe.now < clock(10, 0):
        epoch = probe.state.sessions[0].feed_epoch
        probe.feed(market.HubUp(hub=HUB, feed_epoch=epoch, recovered=False))
        alarms += len(probe.feed(down(epoch)).published(operator.Alarm))
        (subject,) = (subject for kind, subject in probe.timers if kind == Timer.DIAL)
        out = probe.fire(Timer.DIAL, subject)
        dials += len(out.told(market.DialHub))
        for request in out.told(market.RequestAddress):
            assert request.failures >= 5
            until_utc = Utc(probe.now + 900 * SECOND)
            address = market.UseAddress(hub=HUB, feed_epoch=request.feed_epoch + 1, token_until_utc=until_utc)
            dials += len(probe.feed(address).told(market.DialHub))
    assert 12 <= dials <= 20
    assert alarms == 1


def test_a_session_that_fails_right_after_it_delivered_is_no_licence_to_dial_at_network_speed() -> None:
    probe = hub()
    for _ in range(5):
        before = probe.now
        assert not probe.feed(down(has_delivered=True)).told(market.DialHub)
        assert probe.fire(Timer.DIAL, "0:7").told(market.DialHub)
        assert probe.now - before >= 2 * SECOND


def test_a_session_that_lasted_counts_though_it_delivered_nothing() -> None:
    probe = hub()
    assert probe.feed(down(), clock(9, 2)).told(market.DialHub)


def test_a_dial_of_an_older_epoch_is_not_made() -> None:
    assert hub().feed(fired(Timer.DIAL, "0:6")).effects == []


def test_without_a_reusable_address_it_asks_the_feed_after_the_pause_that_is_due() -> None:
    request = market.RequestAddress(hub=HUB, feed_epoch=7)
    lost = down(can_reuse=False, has_delivered=True)
    assert hub().feed(lost, clock(9, 5)).told(market.RequestAddress, "feed") == [request]
    expired = down(has_delivered=True)
    assert hub().feed(expired, clock(9, 16)).told(market.RequestAddress, "feed") == [request]
    probe = hub()
    assert not probe.feed(down(can_reuse=False)).told(market.RequestAddress)
    (asked,) = probe.fire(Timer.DIAL, "0:7").told(market.RequestAddress, "feed")
    assert asked.failures == 1


def test_each_key_has_a_session_of_its_own() -> None:
    settings = SETTINGS.model_copy(
        update={
            "tickers": tuple(f"T{n}" for n in range(12)),
            "feed": dataclasses.replace(SETTINGS.feed, keys=("KEY_A", "KEY_B")),
        }
    )
    probe = Probe(HubActor(NAME, settings), clock(9, 0))
    probe.start()
    for key_n in (0, 1):
        address = market.UseAddress(hub=HUB, feed_epoch=7, token_until_utc=clock(9, 15), key_n=key_n)
        (dialled,) = probe.feed(address).told(market.DialHub)
        assert dialled.key_n == key_n
    probe.feed(structs.replace(down(), key_n=1))
    assert [session.failures for session in probe.state.sessions] == [0, 1]


def quiet(since_utc: int) -> market.HubQuiet:
    return market.HubQuiet(hub=HUB, since_utc=Utc(since_utc))


def covers(out: Outbox) -> list[bool]:
    return [command.is_wanted for command in out.told(market.CoverHub, "port:hub:classic")]


def test_a_hub_that_is_quiet_in_session_is_covered_until_it_flows_and_both_are_said() -> None:
    probe = hub()
    out = probe.feed(quiet(clock(10, 0)), clock(10, 1))
    assert covers(out) == [True]
    assert "REST stands in" in out.published(operator.Alarm)[0].text
    assert covers(probe.feed(quiet(clock(10, 0)), clock(10, 2))) == []
    out = probe.feed(market.HubFlows(hub=HUB), clock(10, 9))
    assert covers(out) == [False]
    assert "handed back" in out.published(operator.Alarm)[0].text
    assert not [kind for kind, _ in probe.timers if kind == Timer.LEAVE]


def test_silence_out_of_hours_is_no_fault_and_one_that_lasts_into_the_open_is() -> None:
    probe = hub()
    after_ns = SETTINGS.feed.rest.failover_after_ms * 1_000_000
    assert probe.feed(quiet(clock(9, 0)), clock(9, 1)).effects == [
        SetTimer(Timer.COVER, "0", Utc(clock(9, 30) + after_ns))
    ]
    assert covers(probe.fire(Timer.COVER, "0")) == [True]
    assert covers(probe.fire(Timer.LEAVE, "0")) == [False]
    assert probe.now == clock(16, 0)
    assert probe.feed(quiet(clock(16, 0)), clock(16, 1)).effects == []
    again = hub()
    again.feed(quiet(clock(9, 0)), clock(9, 1))
    again.feed(market.HubFlows(hub=HUB), clock(9, 30))
    assert not [kind for kind, _ in again.timers if kind == Timer.COVER]


def test_a_restarted_hub_has_its_port_tell_silence_anew() -> None:
    assert covers(Probe(HubActor(NAME, SETTINGS), clock(10)).start(incarnation=2)) == [False]


def test_a_group_that_is_joined_and_never_delivers_is_named_once_while_the_others_deliver() -> None:
    probe = hub()
    told = []
    for n in range(6):
        bucket_utc = BUCKET + n * BUCKET_NS
        out = probe.feed(sealed(ORDER[:7], bucket_utc), bucket_utc + BUCKET_NS + SECOND)
        told += [alarm.text for alarm in out.published(operator.Alarm)]
    assert len(told) == 1
    assert "META_classic_gex_full" in told[0]
    assert "feed.hubs" in told[0]
    later = [sealed(ORDER, BUCKET + n * BUCKET_NS) for n in (6, 7)]
    (over,) = [alarm for one in later for alarm in probe.feed(one).published(operator.Alarm)]
    assert (over.key, over.severity, over.text) == (
        "hub:classic:group", Severity.INFO, "Hub classic delivers every group again.",
    )  # fmt: skip


def test_a_ticker_that_the_vendor_does_not_know_is_said_once_however_often_rest_is_asked_for_it() -> None:
    probe = hub()
    told = []
    missed = sealed(ORDER[:7])
    for n in range(60):  # the stream falls silent every few minutes, and REST is asked for all that the key carries
        refused = (("rest_404", 3),) if n % 12 == 0 else ()
        counts = market.FrameCounts(accepted=3, refused=refused)
        bucket = structs.replace(missed, bucket_utc=Utc(BUCKET + n * BUCKET_NS), counts=counts)
        told += probe.feed(bucket, Utc(BUCKET + (n + 1) * BUCKET_NS)).published(operator.Alarm)
    assert [alarm.key.rpartition(":")[2] for alarm in told] == ["rest", "group"]
    assert "404: the vendor does not know a ticker or category" in told[0].text
    known = structs.replace(sealed(bucket_utc=BUCKET + 60 * BUCKET_NS), not_polled=missed.absent[:1])
    over = probe.feed(known, Utc(BUCKET + 61 * BUCKET_NS)).published(operator.Alarm)
    assert [(alarm.key.rpartition(":")[2], alarm.severity) for alarm in over] == [
        ("group", Severity.INFO), ("rest", Severity.INFO),
    ]  # fmt: skip


def test_what_was_polled_and_what_nobody_polled_go_to_the_warehouse_with_the_bucket() -> None:
    probe = hub()
    due(probe)
    covered, left = (("SPX", CATEGORIES[0]),), (("META", CATEGORIES[0]),)
    out = probe.feed(structs.replace(sealed(ORDER[:7]), covered=covered, not_polled=left), DUE)
    (store,) = out.told(market.StoreBucket)
    assert (store.covered, store.not_polled) == (covered, left)


def test_a_polling_that_is_refused_blames_the_key_and_not_the_schemas() -> None:
    probe = hub()
    due(probe)
    counts = market.FrameCounts(accepted=3, refused=(("rest_401", 4),))
    (alarm,) = probe.feed(structs.replace(sealed(), counts=counts), DUE).published(operator.Alarm)
    assert "401 4" in alarm.text
    assert "schemas" not in alarm.text


def test_the_end_of_a_replaced_session_is_no_news() -> None:
    probe = hub()
    probe.feed(market.UseAddress(hub=HUB, feed_epoch=8, token_until_utc=clock(9, 20)))
    assert probe.feed(down(7)).effects == []


def test_a_restarted_hub_asks_for_the_address_in_force() -> None:
    out = Probe(HubActor(NAME, SETTINGS), clock(9)).start(incarnation=2)
    assert out.effects[-1] == Tell("feed", market.RequestAddress(hub=HUB, feed_epoch=0))


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


def ticker_sealed(whole: market.BucketSealed, ticker: str) -> market.TickerSealed:
    return market.TickerSealed(hub=HUB, bucket_utc=whole.bucket_utc, ticker=ticker, rows=whole.rows.of(ticker))


def test_a_ticker_that_was_decoded_first_is_handed_on_at_once_and_only_once_and_stored_with_the_others() -> None:
    probe = hub()
    due(probe)
    whole = sealed(ORDER[:7])
    early = [probe.feed(ticker_sealed(whole, ticker), DUE + SECOND) for ticker in ("SPX", "QQQ", "META", "SPX")]
    assert [[(r.ticker, len(r.rows.rows), r.is_all) for r in out.published(market.RowsArrived)] for out in early] == [
        [("SPX", len(CATEGORIES), True)], [("QQQ", len(CATEGORIES), True)], [("META", 0, True)], [],
    ]  # fmt: skip
    assert (Timer.CLOSE, str(BUCKET)) in probe.timers
    out = probe.feed(whole, DUE + SECOND)
    assert [r.ticker for r in out.published(market.RowsArrived)] == ["SPY", "IWM", "NVDA", "TSLA", "AAPL"]
    assert not any(r.is_all for r in out.published(market.RowsArrived))
    (store,) = out.told(market.StoreBucket, "warehouse")
    assert store.rows == whole.rows


def test_a_ticker_of_a_bucket_that_was_given_up_is_handed_on_to_nobody() -> None:
    probe = hub()
    due(probe)
    probe.fire(Timer.CLOSE, str(BUCKET))
    assert probe.feed(ticker_sealed(sealed(), "SPX"), CLOSE_BY + SECOND).effects == []


def test_the_next_bucket_hands_on_the_tickers_that_the_one_before_had_first() -> None:
    probe = hub()
    due(probe)
    probe.feed(ticker_sealed(sealed(), "SPX"), DUE)
    probe.feed(sealed(), DUE)
    later = sealed(bucket_utc=BUCKET + BUCKET_NS)
    assert [r.ticker for r in probe.feed(later, DUE + BUCKET_NS).published(market.RowsArrived)] == [*ORDER]
    assert probe.state.ahead == ()


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


def test_categories_that_were_changed_are_those_that_the_port_takes_and_a_silent_bucket_lacks() -> None:
    probe = hub()
    hubs = SETTINGS.feed.hubs | {HUB: ("classic_gex_zero",)}
    everything = tuple((ticker, "classic_gex_zero") for ticker in ORDER)
    (follow,) = probe.feed(market.MembershipsChanged(hubs=hubs)).told(market.FollowCategories, f"port:{NAME}")
    assert follow.expected == everything
    due(probe)
    closed = probe.fire(Timer.CLOSE, str(BUCKET)).published(market.HubClosed)
    assert [one.absent for one in closed] == [everything]


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
    cancelled, over = probe.feed(stored).effects
    assert cancelled == CancelTimer(Timer.STORED, str(BUCKET))
    assert isinstance(over, Publish)
    assert isinstance(over.event, operator.Alarm)
    assert (over.event.key, over.event.severity) == (f"{NAME}:stored", Severity.INFO)
    assert probe.feed(stored).effects == [CancelTimer(Timer.STORED, str(BUCKET))]


def test_alarm_of_buckets_that_are_not_durable_is_over_with_the_last_of_them_and_never_where_one_was_lost() -> None:
    def told_of(probe: Probe[HubState], bucket_utc: int) -> list[Severity]:
        stored = market.BucketStored(hub=HUB, bucket_utc=Utc(bucket_utc), content_hash="0")
        return [alarm.severity for alarm in probe.feed(stored).published(operator.Alarm)]

    first, second = BUCKET, Utc(BUCKET + BUCKET_NS)
    for is_lost in (False, True):
        probe = hub()
        for bucket_utc in (first, second):
            probe.feed(fired(Timer.STORED, bucket_utc))
        assert told_of(probe, first) == []
        if is_lost:
            probe.feed(market.BucketNotStored(hub=HUB, bucket_utc=first, why="no space left on the device"))
        assert told_of(probe, second) == ([] if is_lost else [Severity.INFO])


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


def test_the_last_bucket_of_a_silence_does_not_call_a_hub_silent_that_delivers_again() -> None:
    probe = hub()
    alarms = []
    for n in range(6):
        bucket_utc = BUCKET + n * BUCKET_NS
        if n == 1:  # frames come again a moment before the bucket is sealed in which none came
            probe.feed(market.HubFlows(hub="classic"), bucket_utc + BUCKET_NS + SECOND // 2)
        out = probe.feed(sealed((), bucket_utc), bucket_utc + BUCKET_NS + SECOND)
        alarms.append(len(out.published(operator.Alarm)))
    assert alarms == [0, 0, 1, 0, 0, 0]  # and when it falls silent again, that is said


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (market.FrameCounts(late=120, lag_ms=40_000), "40 s behind this computer's clock"),
        (market.FrameCounts(refused=(("time_ahead", 120),), lag_ms=-61_000), "61 s ahead of this computer's clock"),
        (market.FrameCounts(accepted=120, lag_ms=-40_000), "40 s ahead of this computer's clock"),
    ],
)
def test_a_clock_that_is_wrong_is_named_and_no_hub_and_no_schema_is_blamed_for_it(
    counts: market.FrameCounts, said: str
) -> None:
    probe = hub()
    for n in range(6):
        bucket_utc = BUCKET + n * BUCKET_NS
        out = probe.feed(structs.replace(sealed((), bucket_utc), counts=counts), bucket_utc + BUCKET_NS + SECOND)
        (alarm,) = out.published(operator.Alarm)
        assert alarm.key == "hub:classic:clock" and said in alarm.text and "doctor" in alarm.text
    late = structs.replace(counts, accepted=5, late=1, refused=(), lag_ms=40_000)
    assert not probe.feed(structs.replace(sealed(bucket_utc=bucket_utc + BUCKET_NS), counts=late)).published(
        operator.Alarm
    ), "a line that is slow, and delivers"


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


def test_group_that_nobody_asked_for_is_said_once_then_counted_and_over_when_it_has_been_gone_for_a_while() -> None:
    probe = hub()
    told: list[tuple[int, str, Severity]] = []
    stored: list[tuple[tuple[str, int], ...]] = []
    unknown, corrupt, unanswered = ("unknown_group", 30), ("corrupt", 1), ("rest_404", 2)
    refused = {0: (unknown,), 1: (unknown,), 2: (unknown, unanswered), 3: (corrupt, unknown), 10: (unknown, unanswered)}
    for n in range(31):
        bucket_utc = Utc(BUCKET + n * BUCKET_NS)
        counts = market.FrameCounts(accepted=3, refused=refused.get(n, ()))
        out = probe.feed(structs.replace(sealed(bucket_utc=bucket_utc), counts=counts), Utc(bucket_utc + BUCKET_NS))
        told += [(n, alarm.key.rpartition(":")[2], alarm.severity) for alarm in out.published(operator.Alarm)]
        stored += [store.counts.refused for store in out.told(market.StoreBucket, "warehouse")]
    assert told == [
        (0, "refused", Severity.WARNING), (2, "rest", Severity.WARNING), (3, "refused", Severity.WARNING),
        (20, "rest", Severity.INFO), (20, "refused", Severity.INFO),
    ]  # fmt: skip
    assert [stored[n] for n in refused] == list(refused.values())
    again = structs.replace(
        sealed(bucket_utc=Utc(bucket_utc + BUCKET_NS)), counts=market.FrameCounts(refused=(unknown,))
    )
    assert [alarm.severity for alarm in probe.feed(again).published(operator.Alarm)] == [Severity.WARNING]


def test_why_rows_are_absent_is_told_to_people_in_the_ports_own_sentences() -> None:
    probe = hub()
    due(probe)
    notes = tuple(f"{ticker}.csv: it is empty." for ticker in ("SPX", "SPY", "QQQ", "IWM"))
    out = probe.feed(structs.replace(sealed(), notes=notes))
    (alarm,) = [alarm for alarm in out.published(operator.Alarm) if alarm.key == "hub:classic:notes"]
    assert alarm.text == "SPX.csv: it is empty. SPY.csv: it is empty. QQQ.csv: it is empty. And 1 more."
