"""The feed's wire format: what goes round, and what is refused with which code."""

from __future__ import annotations

import base64

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.instants import SECOND
from domain.options.profile import PRIORS, SCALARS, VALUE_COLUMNS, Profile, Shape, shape_of
from gateways.gexbot import codec, columns, schema
from gateways.gexbot.codec import Group, Refusal, Refused, SpotPrice
from tests.testkit.hub_fakes import make_profile

AT_S = 1_795_000_000
CATEGORIES = ("classic_gex_zero", "state_gex_20261120", "state_charm_one", "orderflow_orderflow")
INT32 = st.integers(-(2**31) + 1, 2**31 - 1)
UINT31 = st.integers(0, 2**31 - 1)


def scalars_of(shape: Shape) -> st.SearchStrategy[tuple[int, ...]]:
    signed = ("sum_", "delta_", "max_")
    unsigned_orderflow = SCALARS[Shape.ORDERFLOW][: schema.UNSIGNED_ORDERFLOW_N]
    fields = []
    for name in SCALARS[shape]:
        if shape is Shape.ORDERFLOW:
            fields.append(UINT31 if name in unsigned_orderflow else INT32)
        else:
            fields.append(INT32 if name.startswith(signed) else UINT31)
    return st.tuples(*fields)


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    category = draw(st.sampled_from(CATEGORIES))
    shape = shape_of(category)
    strikes_n = 0 if shape is Shape.ORDERFLOW else draw(st.integers(0, 12))
    columns = [UINT31 if c.endswith("ivol") else INT32 for c in VALUE_COLUMNS[shape]]
    rows = [draw(st.tuples(*columns)) for _ in range(strikes_n)]
    priors = [draw(st.tuples(*[INT32] * PRIORS[shape])) for _ in range(strikes_n)]
    strikes = draw(st.lists(UINT31, min_size=strikes_n, max_size=strikes_n, unique=True))
    return Profile(
        draw(st.sampled_from(("SPX", "ES_SPX", "BRK.B"))),
        category,
        draw(st.integers(1, 4_000_000_000)) * SECOND,
        draw(UINT31),
        draw(scalars_of(shape)),
        np.array(sorted(strikes), dtype=np.int32),
        np.array(rows, dtype=np.int32).reshape(strikes_n, len(columns)),
        np.array(priors, dtype=np.int32).reshape(strikes_n, PRIORS[shape]),
    )


def gex(ticker: str = "SPX", at_s: int = AT_S, strikes: tuple[int, ...] = (599_000,)) -> Profile:
    n = len(strikes)
    return Profile(
        ticker,
        "classic_gex_zero",
        at_s * SECOND,
        600_000,
        tuple(range(1, 21)),
        np.array(strikes, dtype=np.int32),
        np.arange(2 * n, dtype=np.int32).reshape(n, 2),
        np.arange(5 * n, dtype=np.int32).reshape(n, 5),
    )


def refused(result: object) -> Refusal:
    assert isinstance(result, Refused), result
    assert result.sentence
    return result.code


def compress(payload: bytes, *, content_size: bool = False) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=content_size).compress(payload)


@settings(max_examples=150, deadline=None)
@given(profiles())
def test_a_profile_comes_back_from_the_wire_as_it_was(profile: Profile) -> None:
    frame = codec.encode_frame(profile)
    back = codec.decode_frame(f"{profile.ticker}_{profile.category}", frame)
    assert isinstance(back, Profile)
    assert back.digest() == profile.digest()
    packed = codec.unpack(frame)
    assert isinstance(packed, codec.Packed)
    assert codec.peek_timestamp(packed) == profile.source_utc


@given(st.integers(1, 4_000_000_000), st.integers(1, 2**31 - 1))
def test_a_spot_comes_back_from_the_wire_as_it_was(seconds: int, spot: int) -> None:
    item = SpotPrice("ES_SPX", seconds * SECOND, spot)
    assert codec.decode_frame("blue_ES_SPX_spot", codec.encode_frame(item)) == item


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["proto.gex", "proto.greek", "proto.spot"]))
def test_any_bytes_as_payload_are_a_value_and_never_an_exception(raw: bytes, url: str) -> None:
    category = {"proto.gex": "classic_gex_zero", "proto.greek": "state_gamma_one"}.get(url, "spot")
    for compressed in (raw, compress(raw)):
        result = codec.decode_frame(f"SPX_{category}", codec.wrap(url, compressed))
        assert isinstance(result, Refused)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_flipped_byte_is_decoded_or_refused_and_never_raises(data: st.DataObject) -> None:
    raw = bytearray(base64.b64decode(codec.encode_frame(gex())))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    frame = base64.b64encode(bytes(raw)).decode()
    assert isinstance(codec.decode_frame("SPX_classic_gex_zero", frame), Profile | Refused)


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("SPX_classic_gex_full", Group("SPX", "classic_gex_full")),
        ("ES_SPX_state_gex_zero", Group("ES_SPX", "state_gex_zero")),
        ("red_NQ_NDX_state_vanna_one", Group("NQ_NDX", "state_vanna_one")),
        ("blue_SPX_orderflow_orderflow", Group("SPX", "orderflow_orderflow")),
        ("SPX_state_gamma_20261120", Group("SPX", "state_gamma_20261120")),
        ("ES_SPX_spot", Group("ES_SPX", "spot")),
        ("green_SPX_spot", None),
        ("SPX_classic_gex", None),
        ("SPX_state_theta_zero", None),
        ("classic_gex_zero", None),
        ("SPX_spot\n", None),
        ("", None),
    ],
)
def test_group_names_are_read_without_splitting_tickers(name: str, group: Group | None) -> None:
    assert codec.parse_group(name) == group


def test_the_frame_has_no_content_size_and_a_bare_type_name() -> None:
    frame = schema.AnyFrame.FromString(base64.b64decode(codec.encode_frame(gex())))
    assert frame.type_url == "proto.gex"
    assert zstandard.frame_content_size(frame.value) == -1


def test_unsorted_strikes_come_out_ascending_with_their_values() -> None:
    wire = gex(strikes=(603_000, 601_000, 602_000))
    back = codec.decode_frame("SPX_classic_gex_zero", codec.encode_frame(wire))
    assert isinstance(back, Profile)
    assert back.strikes.tolist() == [601_000, 602_000, 603_000]
    assert back.column("gex_vol").tolist() == [2, 4, 0]
    assert back.priors[:, 0].tolist() == [5, 10, 0]


def test_a_strike_without_priors_reads_as_zeros_and_surplus_priors_are_cut() -> None:
    message = schema.Gex(timestamp=AT_S, ticker="SPX", spot=600_000)
    message.strikes.add(strike=1, gex_vol=-7)
    message.strikes.add(strike=2).priors.values.extend([1, 2, 3, 4, 5, 6])
    frame = codec.wrap("proto.gex", compress(message.SerializeToString()))
    back = codec.decode_frame("SPX_classic_gex_zero", frame)
    assert isinstance(back, Profile)
    assert back.priors.tolist() == [[0] * 5, [1, 2, 3, 4, 5]]
    assert back.column("gex_vol").tolist() == [-7, 0]


@pytest.mark.parametrize(
    ("category", "scalar", "column", "is_clipped"),
    [
        ("classic_gex_zero", ("sum_gex_vol", 2_147_483_647), None, True),
        ("classic_gex_zero", ("sum_gex_oi", -2_147_483_647), None, True),
        ("classic_gex_zero", ("sum_gex_vol", 2_147_483_646), None, False),
        ("classic_gex_zero", None, (0, 2_147_483_647), False),  # a hundredth
        ("state_gamma_zero", None, (0, 2_147_483_647), True),
        ("state_gamma_zero", None, (2, 2_147_483_647), False),  # a hundredth
        ("orderflow_orderflow", ("zgr", 2_147_483_647), None, False),  # likewise
    ],
)
def test_a_thousandth_at_the_saturated_bound_is_clipped_and_its_neighbour_is_a_reading(
    category: str, scalar: tuple[str, int] | None, column: tuple[int, int] | None, is_clipped: bool
) -> None:
    made = make_profile("SPX", category)
    scalars, values = dict(zip(SCALARS[made.shape], made.scalars, strict=True)), made.values.copy()
    if scalar is not None:
        scalars[scalar[0]] = scalar[1]
    if column is not None:
        values[1, column[0]] = column[1]
    changed = Profile(
        "SPX", category, made.source_utc, made.spot, tuple(scalars.values()), made.strikes, values, made.priors
    )
    assert codec.has_clipped(changed) is is_clipped


def test_a_bomb_is_refused_with_and_without_an_announced_size() -> None:
    for content_size in (False, True):
        compressed = compress(bytes(64 * 1024 * 1024), content_size=content_size)
        frame = codec.wrap("proto.gex", compressed)
        assert len(frame) < 20_000
        assert refused(codec.decode_frame("SPX_classic_gex_zero", frame)) is Refusal.BOMB
        assert refused(codec.peek_timestamp(codec.Packed("gex", compressed))) is Refusal.BOMB


@pytest.mark.parametrize("bytes_max", [1_000, 64 * 1024, 200_000])
def test_a_payload_of_just_the_cap_is_no_bomb(bytes_max: int) -> None:
    key = Group("SPX", "classic_gex_zero")
    at_cap = codec.Packed("gex", compress(bytes(bytes_max)))
    over = codec.Packed("gex", compress(bytes(bytes_max + 1)))
    assert refused(codec.decode_packed(key, at_cap, bytes_max)) is Refusal.CORRUPT
    assert refused(codec.decode_packed(key, over, bytes_max)) is Refusal.BOMB


def test_a_frame_larger_than_usual_and_below_the_cap_is_decoded() -> None:
    wire = gex(strikes=tuple(range(100_000, 110_000)))
    assert len(codec.encode_payload(wire)[1]) > 100_000
    back = codec.decode_frame("SPX_classic_gex_zero", codec.encode_frame(wire))
    assert isinstance(back, Profile)
    assert back.digest() == wire.digest()


def test_each_fault_of_a_frame_has_its_code() -> None:
    good = codec.encode_frame(gex())
    raw = base64.b64decode(good)
    cut = base64.b64encode(raw[: len(raw) // 2]).decode()
    payload = schema.AnyFrame.FromString(raw).value
    zero = "SPX_classic_gex_zero"
    cases = {
        (zero, "not base64 !"): Refusal.CORRUPT,
        (zero, "bläh"): Refusal.CORRUPT,
        (zero, cut): Refusal.CORRUPT,
        (zero, codec.wrap("proto.gex", payload[:-5])): Refusal.CORRUPT,
        (zero, codec.wrap("proto.candles", payload)): Refusal.UNKNOWN_TYPE,
        (zero, ""): Refusal.UNKNOWN_TYPE,
        ("SPX_tarot_zero", good): Refusal.UNKNOWN_GROUP,
        ("SPX_state_gamma_zero", good): Refusal.WRONG_TYPE,
        ("SPY_classic_gex_zero", good): Refusal.WRONG_TYPE,
    }
    for (group, frame), code in cases.items():
        assert refused(codec.decode_frame(group, frame)) is code, (group, frame[:20])


def test_prices_beyond_31_bits_and_a_missing_timestamp_are_corrupt() -> None:
    for fields in (
        {"timestamp": AT_S, "spot": 2**31},
        {"timestamp": AT_S, "zero_gamma": 2**32 - 1},
        {"timestamp": 0},
        {"timestamp": -5},
        {"timestamp": 2**62},
    ):
        message = schema.Gex(ticker="SPX", **fields)
        frame = codec.wrap("proto.gex", compress(message.SerializeToString()))
        assert refused(codec.decode_frame("SPX_classic_gex_zero", frame)) is Refusal.CORRUPT
    strike = schema.Gex(timestamp=AT_S, ticker="SPX")
    strike.strikes.add(strike=2**31)
    frame = codec.wrap("proto.gex", compress(strike.SerializeToString()))
    assert refused(codec.decode_frame("SPX_classic_gex_zero", frame)) is Refusal.CORRUPT


def test_the_timestamp_is_found_when_fields_come_in_another_order() -> None:
    ticker = schema.Gex(ticker="SPX").SerializeToString()
    stamp = schema.Gex(timestamp=AT_S).SerializeToString()
    packed = codec.Packed("gex", compress(ticker + stamp))
    assert codec.peek_timestamp(packed) == AT_S * SECOND


def test_optional_fields_know_absence_from_zero() -> None:
    assert not schema.Gex().HasField("min_dte")
    assert schema.Gex.FromString(schema.Gex(min_dte=0).SerializeToString()).HasField("min_dte")


def test_repeated_numbers_are_packed() -> None:
    message = schema.OptionProfile()
    message.contracts.add(priors=[1, 2, 3])
    assert message.SerializeToString() == bytes([0x52, 5, 0x2A, 3, 2, 4, 6])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_columns_say_what_protobuf_says_of_any_bytes_that_it_accepts(data: st.DataObject) -> None:
    """The column decoder may give up, but what it gives is what parsing one by one gives."""
    priors = data.draw(st.lists(st.lists(INT32, min_size=5, max_size=5), min_size=1, max_size=4))
    small = st.one_of(st.just(0), INT32)
    elements = [
        schema.Strike(
            strike=data.draw(UINT31), gex_vol=data.draw(small), gex_oi=data.draw(small), priors={"values": five}
        ).SerializeToString()
        for five in priors
    ]
    if data.draw(st.booleans()):
        n = data.draw(st.integers(0, len(elements) - 1))
        spoilt = bytearray(elements[n])
        spoilt[data.draw(st.integers(0, len(spoilt) - 1))] ^= data.draw(st.integers(1, 255))
        elements[n] = bytes(spoilt[: data.draw(st.integers(0, len(spoilt)))])
    try:
        table = columns.table_of(elements, columns.STRIKE)
    except ValueError:
        assert any(schema.Strike.FromString(e).strike >= 2**31 for e in elements)
        return
    if table is not None:
        parsed = [schema.Strike.FromString(e) for e in elements]
        assert table.tolist() == [[s.strike, s.gex_vol, s.gex_oi, *s.priors.values] for s in parsed]


def test_an_element_cut_after_a_tag_is_left_to_protobuf() -> None:
    whole = schema.Strike(strike=8, gex_vol=8, gex_oi=8, priors={"values": [8] * 5}).SerializeToString()
    for cut in range(1, len(whole)):
        assert columns.table_of([whole, whole[:cut]], columns.STRIKE) is None
        assert columns.table_of([whole[:cut]], columns.STRIKE) is None


def test_canonical_elements_are_taken_as_columns_with_and_without_zeros() -> None:
    greek = schema.MiniContract(strike=7, exposure=-9, priors=[0, -1, 300]).SerializeToString()
    full = schema.MiniContract(strike=8, call_ivol=1, put_ivol=2, exposure=3, priors=[4, 5, 6]).SerializeToString()
    table = columns.table_of([greek, full], columns.MINI_CONTRACT)
    assert table is not None
    assert table.tolist() == [[7, 0, 0, -9, 0, -1, 300], [8, 1, 2, 3, 4, 5, 6]]
