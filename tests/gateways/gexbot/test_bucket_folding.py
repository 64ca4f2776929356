"""What a bucket holds after its frames came in whatever number and order."""

from __future__ import annotations

import base64
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.instants import BUCKET_NS, SECOND, bucket_of
from domain.options.profile import SCALARS, Profile
from gateways.gexbot import codec, folding, schema
from gateways.gexbot.codec import Refusal, Refused, SpotPrice
from gateways.gexbot.folding import BucketFolder
from tests.testkit.hub_fakes import OPEN_UTC, make_profile

ZERO, GAMMA = "classic_gex_zero", "state_gamma_zero"
KEYS = (("AAPL", ZERO), ("QQQ", ZERO), ("SPX", ZERO), ("SPX", GAMMA), ("VIX", ZERO))


def folder(keys: tuple[tuple[str, str], ...] = KEYS) -> BucketFolder:
    return BucketFolder("classic", keys)


def put(
    into: BucketFolder,
    at_s: int = 0,
    *,
    ticker: str = "SPX",
    category: str = ZERO,
    mark: int = 1,
    sequence: int = 1,
    received_s: int | None = None,
    spot: int = 600_000,
) -> Refused | None:
    at_utc = OPEN_UTC + at_s * SECOND
    frame = codec.encode_frame(make_profile(ticker, category, at_utc, mark=mark, spot=spot))
    received_utc = OPEN_UTC + (at_s if received_s is None else received_s) * SECOND
    return into.fold(f"{ticker}_{category}", frame, received_utc, sequence)


def put_spot(into: BucketFolder, at_s: int, spot: int, ticker: str = "SPX") -> Refused | None:
    at_utc = OPEN_UTC + at_s * SECOND
    return into.fold(f"{ticker}_spot", codec.encode_frame(SpotPrice(ticker, at_utc, spot)), at_utc, 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 119)), max_size=30))
def test_each_bucket_holds_the_newest_frame_of_each_key_and_their_count(
    frames: list[tuple[tuple[str, str], int]],
) -> None:
    into = folder()
    expected: dict[tuple[int, tuple[str, str]], list[int]] = defaultdict(list)
    newest: dict[tuple[str, str], int] = {}
    backwards = 0
    for mark, (key, at_s) in enumerate(frames, start=1):
        refused = put(into, at_s, ticker=key[0], category=key[1], mark=mark, received_s=119)
        if at_s < newest.get(key, -1):
            backwards += 1
            assert refused is not None
            assert refused.code is Refusal.TIME_BACKWARDS
            continue
        assert refused is None
        newest[key] = at_s
        expected[bucket_of(OPEN_UTC + at_s * SECOND), key].append(mark)
    refused_n = 0
    for n in range(4):
        bucket_utc = OPEN_UTC + n * BUCKET_NS
        sealed = into.seal(bucket_utc)
        held = {(r.profile.ticker, r.profile.category): r for r in sealed.rows.rows}
        wanted = {key: marks for (utc, key), marks in expected.items() if utc == bucket_utc}
        assert {k: (r.frames, r.profile.scalars[0]) for k, r in held.items()} == {
            k: (len(marks), marks[-1]) for k, marks in wanted.items()
        }
        assert set(sealed.absent) == set(KEYS) - set(wanted)
        assert sealed.accepted == sum(len(marks) for marks in wanted.values())
        refused_n += dict(sealed.refused).get("time_backwards", 0)
        assert sealed.late_n == 0
    assert refused_n == backwards


def test_rows_come_in_the_order_in_which_tickers_are_decoded() -> None:
    into = folder()
    for ticker, category in KEYS:
        put(into, ticker=ticker, category=category)
    tickers = [row.profile.ticker for row in into.seal(OPEN_UTC).rows.rows]
    assert tickers == ["SPX", "SPX", "QQQ", "VIX", "AAPL"]


def test_tickers_decoded_first_change_nothing_of_what_the_bucket_holds() -> None:
    plain, ahead = folder(), folder()
    for into in (plain, ahead):
        for mark, (ticker, category) in enumerate(KEYS, start=1):
            put(into, ticker=ticker, category=category, mark=mark)
    first = {ticker: ahead.seal_ticker(OPEN_UTC, ticker) for ticker in ("VIX", "SPX", "META")}
    sealed = ahead.seal(OPEN_UTC)
    assert sealed == plain.seal(OPEN_UTC)
    for ticker, rows in first.items():
        assert rows == sealed.rows.of(ticker).rows
        assert rows == ahead.seal_ticker(OPEN_UTC, ticker), "asked again behind the seal"
    assert [len(rows) for rows in first.values()] == [1, 2, 0]


def test_a_frame_that_comes_once_its_ticker_was_decoded_is_late() -> None:
    into = folder()
    put(into, 5)
    (row,) = into.seal_ticker(OPEN_UTC, "SPX")
    assert put(into, 29, mark=7) is None
    assert into.seal_ticker(OPEN_UTC, "SPX") == (row,)
    sealed = into.seal(OPEN_UTC)
    assert sealed.rows.rows == (row,)
    assert [late.profile.scalars[0] for late in sealed.late] == [7]


def test_a_row_says_when_its_first_and_last_frames_were_and_how_late_they_came() -> None:
    into = folder()
    put(into, 3)
    put(into, 29, sequence=8, received_s=31)
    (row,) = into.seal(OPEN_UTC).rows.rows
    assert (row.first_utc - OPEN_UTC, row.last_utc - OPEN_UTC) == (3 * SECOND, 29 * SECOND)
    assert (row.latency_ms, row.sequence, row.frames) == (2_000, 8, 2)


def test_a_frame_of_a_sealed_bucket_is_late_and_kept_apart() -> None:
    into = folder()
    put(into, 5)
    into.seal(OPEN_UTC)
    assert put(into, 29, mark=7) is None
    put(into, 30)
    sealed = into.seal(OPEN_UTC + BUCKET_NS)
    assert [row.profile.scalars[0] for row in sealed.rows.rows] == [1]
    assert [(row.profile.scalars[0], row.mode) for row in sealed.late] == [(7, "late")]
    assert (sealed.accepted, sealed.late_n) == (1, 1)
    assert into.seal(OPEN_UTC + 2 * BUCKET_NS).late == ()


def test_a_spot_ten_times_too_high_is_missing_and_counted_and_the_next_one_is_believed() -> None:
    into = folder((("SPX", ZERO),))
    spots, counted = [], []
    for n, spot in enumerate((600_000, 6_000_000, 600_100, 480_000, 480_200)):
        put(into, 30 * n + 15, spot=spot)
        sealed = into.seal(OPEN_UTC + n * BUCKET_NS)
        spots += [row.profile.spot for row in sealed.rows.rows]
        counted.append(dict(sealed.refused).get("implausible", 0))
    assert spots == [600_000, 0, 600_100, 0, 480_200], "a fall of a fifth counts once a second bucket says the same"
    assert counted == [0, 1, 0, 1, 0]


def test_a_clipped_sum_is_counted_and_its_row_is_kept() -> None:
    into = folder((("SPX", ZERO),))
    made = make_profile("SPX", ZERO, OPEN_UTC + 15 * SECOND)
    scalars = {**dict(zip(SCALARS[made.shape], made.scalars, strict=True)), "sum_gex_vol": -2_147_483_647}
    clipped = Profile(
        "SPX", ZERO, made.source_utc, made.spot, tuple(scalars.values()), made.strikes, made.values, made.priors
    )
    into.fold(f"SPX_{ZERO}", codec.encode_frame(clipped), made.source_utc, 1)
    sealed = into.seal(OPEN_UTC)
    assert len(sealed.rows.rows) == 1
    assert dict(sealed.refused) == {"clipped": 1}


def test_how_far_frames_lie_from_the_clock_is_that_of_the_nearest_one() -> None:
    into = folder()
    put(into, 15, received_s=55)
    put(into, 16, received_s=58)
    put(into, 17, received_s=17 + 3_600)
    assert into.seal(OPEN_UTC).lag_ns == 40 * SECOND, "yesterday's close says nothing of the clock"
    put(into, 118, received_s=57)
    sealed = into.seal(OPEN_UTC + BUCKET_NS)
    assert (sealed.lag_ns, dict(sealed.refused)) == (-61 * SECOND, {"time_ahead": 1})
    assert into.seal(OPEN_UTC + 2 * BUCKET_NS).lag_ns is None


def test_a_frame_of_the_future_hides_no_true_one_and_stands_for_none() -> None:
    into = folder()
    put(into, 5, mark=1)
    put(into, 65, received_s=6, mark=2)
    assert [put(into, at_s, mark=mark) for at_s, mark in ((7, 3), (35, 4), (36, 5))] == [None] * 3
    held = [into.seal(OPEN_UTC + n * BUCKET_NS) for n in range(3)]
    assert [[(row.profile.scalars[0], row.frames) for row in sealed.rows.rows] for sealed in held] == [
        [(3, 2)], [(5, 2)], [],
    ]  # fmt: skip
    assert dict(held[0].refused) == {"time_ahead": 1}


def test_a_frame_of_the_future_in_its_own_bucket_gives_way_to_the_next_true_one() -> None:
    into = folder()
    put(into, 25, received_s=6, mark=2)
    assert put(into, 7, mark=3) is None
    assert [row.profile.scalars[0] for row in into.seal(OPEN_UTC).rows.rows] == [3]


def test_with_a_clock_that_is_slow_frames_keep_their_order() -> None:
    into = folder()
    put(into, 40, received_s=10, mark=1)
    put(into, 44, received_s=14, mark=2)
    refused = put(into, 43, received_s=15, mark=3)
    assert refused is not None
    assert refused.code is Refusal.TIME_BACKWARDS
    assert [row.profile.scalars[0] for row in into.seal(OPEN_UTC + BUCKET_NS).rows.rows] == [2]


def test_a_price_of_the_future_hides_no_true_one() -> None:
    into = folder()
    at_utc = OPEN_UTC + 50 * SECOND
    into.fold("SPX_spot", codec.encode_frame(SpotPrice("SPX", at_utc, 500_000)), OPEN_UTC + 10 * SECOND, 1)
    assert put_spot(into, 11, 600_100) is None
    assert put_spot(into, 40, 600_200) is None
    put(into, 42, spot=0)
    assert [row.profile.spot for row in into.seal(OPEN_UTC + BUCKET_NS).rows.rows] == [600_200]


def test_a_bucket_that_nobody_sealed_comes_out_as_late() -> None:
    into = folder()
    put(into, 5)
    put(into, 35)
    sealed = into.seal(OPEN_UTC + BUCKET_NS)
    assert (len(sealed.rows.rows), len(sealed.late), sealed.late_n) == (1, 1, 1)


def test_sealing_twice_gives_the_same_answer() -> None:
    into = folder()
    put(into)
    assert into.seal(OPEN_UTC) is into.seal(OPEN_UTC)


def test_memory_is_bounded_when_nobody_seals() -> None:
    into = folder()
    buckets = folding.OPEN_BUCKETS_MAX + 5
    for n in range(buckets):
        put(into, 30 * n)
    sealed = into.seal(OPEN_UTC + (buckets - 1) * BUCKET_NS)
    assert sealed.late_n == buckets - 1
    assert len(sealed.rows.rows) == 1


def test_a_frame_from_the_future_is_refused_and_those_after_it_are_not() -> None:
    into = folder()
    refused = put(into, 3_600, received_s=0)
    assert refused is not None
    assert refused.code is Refusal.TIME_AHEAD
    assert put(into, 1) is None


def test_a_group_of_another_hub_is_refused() -> None:
    into = folder()
    for group in ("SPX_classic_gex_full", "TSLA_classic_gex_zero", "nonsense"):
        refused = into.fold(group, codec.encode_frame(make_profile()), OPEN_UTC, 1)
        assert refused is not None
        assert refused.code is Refusal.UNKNOWN_GROUP
    assert dict(into.seal(OPEN_UTC).refused) == {"unknown_group": 3}


def test_the_price_of_an_index_without_rows_is_no_fault() -> None:
    into = folder((("SPX", ZERO),))
    assert put_spot(into, 0, 1_800, ticker="VIX") is None
    sealed = into.seal(OPEN_UTC)
    assert (sealed.refused, sealed.accepted) == ((), 0)


def test_a_payload_of_another_type_than_its_group_never_displaces_a_good_frame() -> None:
    into = folder()
    put(into)
    refused = into.fold("SPX_classic_gex_zero", codec.encode_frame(make_profile(category=GAMMA)), OPEN_UTC, 2)
    assert refused is not None
    assert refused.code is Refusal.WRONG_TYPE
    assert len(into.seal(OPEN_UTC).rows.rows) == 1


def test_when_the_newest_frame_does_not_decode_the_one_before_is_taken() -> None:
    into = folder()
    put(into, 1, mark=5)
    foreign = codec.encode_frame(make_profile("SPY", ZERO, OPEN_UTC + 2 * SECOND))
    assert into.fold("SPX_classic_gex_zero", foreign, OPEN_UTC + 2 * SECOND, 2) is None
    sealed = into.seal(OPEN_UTC)
    assert [row.profile.scalars[0] for row in sealed.rows.rows] == [5]
    assert dict(sealed.refused) == {"wrong_type": 1}


def test_the_spot_nearest_in_time_fills_a_row_without_one_and_no_other() -> None:
    into = folder()
    put_spot(into, 2, 500_002)
    put(into, 10, spot=0)
    put(into, 10, category=GAMMA, spot=511_111)
    put(into, 10, ticker="QQQ", spot=0)
    put_spot(into, 11, 500_011)
    put_spot(into, 20, 500_020)
    spots = {(r.profile.ticker, r.profile.category): r.profile.spot for r in into.seal(OPEN_UTC).rows.rows}
    assert spots == {("SPX", ZERO): 500_011, ("SPX", GAMMA): 511_111, ("QQQ", ZERO): 0}


def test_a_spot_too_far_in_time_fills_nothing() -> None:
    into = folder()
    put_spot(into, 0, 500_000)
    put(into, 31, spot=0)
    assert into.seal(OPEN_UTC + BUCKET_NS).rows.rows[0].profile.spot == 0


def test_a_corrupt_spot_is_refused_and_counted() -> None:
    into = folder()
    data = base64.b64decode(codec.encode_frame(SpotPrice("SPX", OPEN_UTC, 5)))
    frame = schema.AnyFrame.FromString(data)
    cut = codec.wrap(frame.type_url, frame.value[:-3])
    refused = into.fold("SPX_spot", cut, OPEN_UTC, 1)
    assert refused is not None
    assert refused.code is Refusal.CORRUPT


def test_the_content_hash_follows_the_values() -> None:
    hashes = set()
    for mark in (1, 2, 1):
        into = folder()
        put(into, mark=mark)
        hashes.add(into.seal(OPEN_UTC).rows.content_hash)
    assert len(hashes) == 2


def test_bucket_is_whole_once_each_expected_key_has_a_frame_of_its_end() -> None:
    keys = (("SPX", "classic_gex_zero"), ("QQQ", "classic_gex_zero"))
    folder = BucketFolder("classic", keys, whole_from_ns=20 * SECOND)
    seen = []
    for ticker, after_s in (("SPX", 1), ("QQQ", 2), ("SPX", 20), ("SPX", 21), ("QQQ", 19), ("QQQ", 25)):
        at_utc = OPEN_UTC + after_s * SECOND
        frame = codec.encode_frame(make_profile(ticker, "classic_gex_zero", at_utc))
        assert folder.fold(f"{ticker}_classic_gex_zero", frame, at_utc, 0) is None
        seen.append(folder.whole_utc)
    assert seen == [0, 0, 0, 0, 0, OPEN_UTC]
