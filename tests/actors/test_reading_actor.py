"""A reading joins a bucket's hubs in any order of arrival and is closed exactly once."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.reading import ReadingActor, ReadingState, Timer
from domain.features import frames
from domain.features.frames import columns, session_columns
from domain.instants import BUCKET_NS, SECOND
from domain.session import calendar
from domain.signals.predicates import seen_in
from domain.signals.registry import INDEX
from domain.signals.snapshot import Snapshot
from messages import market, signals
from messages.base import Message
from messages.envelope import decode, encode
from messages.restored import ReadingRestored
from supervision.effects import CancelTimer, SetTimer
from tests.testkit.probe import Outbox, Probe
from tests.testkit.signal_histories import OPEN, SESSION, SETTINGS, clock, fired, profile, rows_of

HUBS = {hub: tuple(wanted) for hub, wanted in SETTINGS.feed.hubs.items()}
NAME = "reading:SPX"
SPOT_AT = frames.COLUMNS.index("spot")
LEVELS = {
    "classic_gex_zero": {"zero_gamma": 599_000, "major_pos_vol": 602_500},
    "state_gamma_zero": {"major_long_gamma": 601_000},
}


def spot_of(n: int) -> int:
    return 600_000 + 37 * n


def hub_says(hub: str, n: int, silent: frozenset[str] = frozenset()) -> list[Message]:
    """Return what a hub says of the n-th bucket: rows, then the marker."""
    bucket_utc = OPEN + n * BUCKET_NS
    wanted = [c for c in HUBS[hub] if c not in silent]
    profiles = [profile("SPX", c, spot_of(n), **LEVELS.get(c, {})) for c in wanted]
    absent = tuple(("SPX", c) for c in HUBS[hub] if c in silent)
    marker = market.HubClosed(hub=hub, bucket_utc=bucket_utc, absent=absent)
    if not profiles:
        return [marker]
    rows = market.RowsArrived(hub=hub, ticker="SPX", bucket_utc=bucket_utc, rows=rows_of(hub, bucket_utc, *profiles))
    return [rows, marker]


def due(n: int) -> market.BucketDue:
    end_utc = OPEN + (n + 1) * BUCKET_NS
    return market.BucketDue(bucket_utc=OPEN + n * BUCKET_NS, close_by_utc=end_utc + 4 * SECOND)


def reading() -> Probe[ReadingState]:
    probe = Probe(ReadingActor(NAME, SETTINGS), OPEN)
    probe.start()
    return probe


def computed(out: Outbox) -> list[signals.FeaturesComputed]:
    return out.published(signals.FeaturesComputed)


def hear(probe: Probe[ReadingState], messages: list[Message]) -> Outbox:
    return Outbox([effect for message in messages for effect in probe.feed(message).effects])


def close(probe: Probe[ReadingState], n: int) -> Outbox:
    """Let the deadline of the n-th bucket come, whether it is armed or was in the mail already."""
    return probe.feed(fired(Timer.CLOSE, OPEN + n * BUCKET_NS), clock(12))


def whole(n: int) -> list[Message]:
    return [due(n), *(m for hub in HUBS for m in hub_says(hub, n))]


def in_order(buckets: int) -> list[signals.FeaturesComputed]:
    probe = reading()
    return [c for n in range(buckets) for c in computed(hear(probe, whole(n)))]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_order_of_arrival_gives_exactly_one_reading_per_bucket_with_the_same_content(data: st.DataObject) -> None:
    buckets = 3
    queues: list[list[Message]] = [[due(n) for n in range(buckets)]]
    said = {hub: data.draw(st.sampled_from((hub_says, ahead))) for hub in HUBS}
    queues += [[m for n in range(buckets) for m in said[hub](hub, n)] for hub in HUBS]
    probe = reading()
    found: list[signals.FeaturesComputed] = []
    while any(queues):  # order holds per sender, and nowhere else
        sender = data.draw(st.sampled_from([n for n, queue in enumerate(queues) if queue]))
        found += computed(probe.feed(queues[sender].pop(0)))
    assert found == in_order(buckets)
    assert [c.bucket_utc for c in found] == [OPEN + n * BUCKET_NS for n in range(buckets)]
    for n in range(buckets):
        assert close(probe, n).effects == []


def ahead(hub: str, n: int) -> list[Message]:
    """Return what a hub says of the n-th bucket that decoded the ticker first."""
    rows, marker = hub_says(hub, n)
    assert isinstance(rows, market.RowsArrived)
    return [replace(rows, is_all=True), marker]


def test_rows_that_are_all_close_the_bucket_before_the_hubs_markers_and_told_again_count_once() -> None:
    probe = reading()
    probe.feed(due(0))
    says = [ahead(hub, 0) for hub in HUBS]
    early = computed(hear(probe, [message for rows, _ in says[:-1] for message in (rows, rows)]))
    assert not early
    (bucket,) = probe.state.open
    assert len(bucket.rows) == sum(len(HUBS[hub]) for hub in list(HUBS)[:-1])
    (found,) = computed(probe.feed(says[-1][0]))
    assert [found] == in_order(1)
    assert not computed(hear(probe, [marker for _, marker in says]))


@settings(max_examples=60, deadline=None)
@given(st.permutations([*HUBS]), st.integers(0, len(HUBS)))
def test_at_the_deadline_a_bucket_closes_with_what_came_and_late_rows_are_not_used(order: list[str], came: int) -> None:
    probe = reading()
    found = computed(probe.feed(due(0)))
    for hub in order[:came]:
        found += computed(hear(probe, hub_says(hub, 0)))
    found += computed(close(probe, 0))
    for hub in order[came:]:
        found += computed(hear(probe, hub_says(hub, 0)))
    (one,) = found
    assert one.is_complete is (came == len(HUBS))
    missing = {c for hub in order[came:] for c in HUBS[hub]}
    assert set(one.missing) == missing
    assert (one.zero_gamma is None) is ("classic_gex_zero" in missing)
    assert (one.spot is None) is (came == 0)


def test_a_full_bucket_waits_for_an_older_one_that_is_still_open() -> None:
    probe = reading()
    probe.feed(due(0))
    probe.feed(due(1))
    assert not computed(hear(probe, [message for hub in HUBS for message in hub_says(hub, 1)]))
    found = computed(probe.fire(Timer.CLOSE, str(OPEN)))
    assert [c.bucket_utc for c in found] == [OPEN, OPEN + BUCKET_NS]
    assert [c.is_complete for c in found] == [False, True]


def test_a_bucket_that_the_session_never_told_closes_with_the_next_one() -> None:
    probe = reading()
    hear(probe, hub_says("classic", 0))
    probe.feed(due(1))
    found = computed(probe.fire(Timer.CLOSE, str(OPEN + BUCKET_NS)))
    assert [c.bucket_utc for c in found] == [OPEN, OPEN + BUCKET_NS]


def test_the_deadline_is_armed_by_the_session_and_disarmed_by_the_last_marker() -> None:
    probe = reading()
    assert probe.feed(due(0)).effects == [SetTimer(Timer.CLOSE, str(OPEN), due(0).close_by_utc)]
    out = hear(probe, [message for hub in HUBS for message in hub_says(hub, 0)])
    assert out.effects[0] == CancelTimer(Timer.CLOSE, str(OPEN))
    assert len(computed(out)) == 1


def test_silent_categories_are_named_and_what_needs_them_is_missing() -> None:
    probe = reading()
    probe.feed(due(0))
    silent = frozenset({"classic_gex_zero", "state_charm_zero"})
    (one,) = computed(hear(probe, [message for hub in HUBS for message in hub_says(hub, 0, silent)]))
    assert one.is_complete
    assert set(one.missing) == silent
    assert one.spot == spot_of(0)  # from another row
    assert one.zero_gamma is None
    assert one.evidence is not None
    assert one.evidence.features[INDEX["loc_zero_gamma_bps"]] is None
    assert one.evidence.features[INDEX["loc_long_gamma_bps"]] is not None


def test_what_a_whole_bucket_holds_follows_the_categories_that_were_changed() -> None:
    probe = reading()
    wanted = {hub: categories[:1] for hub, categories in SETTINGS.feed.by_hub.items()}
    probe.feed(market.MembershipsChanged(hubs=wanted))
    probe.feed(due(0))
    (read,) = probe.advance(due(0).close_by_utc).published(signals.FeaturesComputed)
    assert read.missing == tuple(category for categories in wanted.values() for category in categories)


def test_every_reading_has_73_features_five_forces_and_a_number() -> None:
    found = in_order(4)
    told = [c.evidence for c in found if c.evidence is not None]
    assert [len(evidence.features) for evidence in told] == [73] * 4
    assert [f.name for f in told[0].forces] == ["gamma", "charm", "vanna", "flow", "structure"]
    assert [c.reading_n for c in found] == [1, 2, 3, 4]


def test_a_marker_of_every_ticker_closes_the_one_that_had_no_rows() -> None:
    probe = reading()
    probe.feed(due(0))
    markers: list[Message] = [market.HubClosed(hub=hub, bucket_utc=OPEN, absent=(("META", "x"),)) for hub in HUBS]
    (one,) = computed(hear(probe, markers))
    assert one.is_complete
    assert one.spot is None


def test_the_window_keeps_240_readings_and_starts_afresh_with_a_session() -> None:
    probe = reading()
    for n in range(250):
        hear(probe, whole(n))
    assert probe.state.window.values.shape == (len(frames.COLUMNS), 240)
    assert probe.state.window.values[SPOT_AT].tolist() == [spot_of(n) for n in range(10, 250)]
    assert probe.state.reading_n == 250
    (first,) = computed(hear(probe, whole(3 * 24 * 120)))  # on Monday
    assert first.reading_n == 1
    assert np.flatnonzero(~np.isnan(probe.state.window.values[SPOT_AT])).tolist() == [239]


def test_a_reading_that_restarts_goes_on_as_if_it_had_never_ended() -> None:
    whole_day = in_order(70)
    before = whole_day[:65]
    snapshots = tuple(found.snapshot for found in before if found.snapshot is not None)
    assert len(snapshots) == 65
    probe = Probe(ReadingActor(NAME, SETTINGS), OPEN)
    probe.start(ReadingRestored(session=SESSION, reading_n=65, window=snapshots))
    after = [c for n in range(60, 70) for c in computed(hear(probe, whole(n)))]
    assert after == whole_day[65:]
    assert after[-1].evidence is not None
    assert after[-1].evidence.features[INDEX["price_realised_vol_30m"]] is not None


def test_the_evidence_of_a_reading_is_that_of_its_session_in_columns() -> None:
    probe = reading()
    found = [c for n in range(45) for c in computed(hear(probe, whole(n) if n not in (20, 21) else []))]
    day = calendar.day(SESSION)
    assert day is not None
    snapshots = [c.snapshot for c in found if c.snapshot is not None]
    seen = seen_in(columns([session_columns(snapshots, day)], [day]))
    for c in found:
        at = (c.bucket_utc - day.open_utc) // BUCKET_NS
        wanted = [None if np.isnan(value) else value for value in seen.features[:, 0, at].tolist()]
        assert c.evidence is not None
        assert [*c.evidence.features] == wanted
    assert found[-1].evidence is not None
    assert found[-1].evidence.features[INDEX["chg_net_5m"]] is not None
    assert found[20].evidence is not None
    assert found[20].evidence.features[INDEX["chg_net_1m"]] is None  # nothing was told of the two buckets before


def test_features_and_forces_are_told_once_and_read_back_as_they_were() -> None:
    newest = in_order(70)[-1]
    assert newest.evidence is not None
    assert sum(value is not None for value in newest.evidence.features) > 20
    raw = encode(newest)
    assert raw.count(b'"features":') == raw.count(b'"forces":') == raw.count(b'"alignment":') == 1
    assert decode(raw) == newest


def test_a_restored_window_is_void_in_the_next_session() -> None:
    probe = Probe(ReadingActor(NAME, SETTINGS), OPEN)
    yesterday = SESSION - timedelta(days=1)
    known = Snapshot(OPEN - 86_400 * SECOND, 1_000)
    probe.start(ReadingRestored(session=yesterday, reading_n=780, window=(known,)))
    (first,) = computed(hear(probe, whole(0)))
    assert first.snapshot is not None
    assert first.reading_n == 1
    assert np.array_equal(probe.state.window.values, frames.window_of([first.snapshot]).values, equal_nan=True)
