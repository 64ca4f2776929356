"""Chain files that were tampered with or arrived damaged: each is refused in a sentence, and only for itself."""

from __future__ import annotations

import gzip
import json
import os
import queue
import tempfile
import threading
from datetime import date, time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.instants import MINUTE, SECOND, at_exchange, to_datetime
from domain.options.chain_bounds import why_implausible
from domain.options.chain_files import NoChain, underlying_of
from domain.options.chain_rows import CATEGORIES, classic_profiles
from domain.options.gamma import ChainRefusal
from domain.options.profile import Profile
from domain.units import Utc
from gateways.bucket_port import PortSetup
from gateways.chain import sources
from gateways.chain.hub_port import ChainHubPort
from gateways.chain.sources import ChainNow, FolderSource
from messages import market
from messages.base import Message
from tests.testkit.chains import AT, as_cboe_json, chain, ends_at, small_csv

OPEN_AT = at_exchange(date(2026, 11, 20), time(10, 0))


def cboe(at_utc: Utc = AT, day: str = "220107", **changed: Any) -> dict[str, Any]:
    """Return a Cboe JSON as an object, some of its `data` (or of its first contract, `first_`) changed."""
    rows = [{"strike": 4_600.0 + 50 * n, "is_call": is_call} for n in range(6) for is_call in (True, False)]
    told: dict[str, Any] = json.loads(as_cboe_json(chain(rows, spot=4_677.0), day))
    told["timestamp"] = to_datetime(at_utc).strftime("%Y-%m-%d %H:%M:%S")
    for name, value in changed.items():
        if name.startswith("first_"):
            told["data"]["options"][0][name.removeprefix("first_")] = value
        else:
            told["data"][name] = value
    return told


def read(tmp_path: Path, told: dict[str, Any] | str | bytes, ticker: str = "SPX", at_utc: Utc = AT) -> str | ChainNow:
    data = told if isinstance(told, bytes) else (told if isinstance(told, str) else json.dumps(told)).encode()
    (tmp_path / f"{ticker}.json").write_bytes(data)
    found = FolderSource(tmp_path, age_max_ns=20 * MINUTE).read(ticker, at_utc)
    return found.why if isinstance(found, NoChain) else found


@pytest.mark.parametrize("symbol", ["SPX", "^SPX", "_SPX", "^spx", ""])
def test_a_file_names_its_ticker_in_any_of_the_forms_that_are_in_use(tmp_path: Path, symbol: str) -> None:
    assert isinstance(read(tmp_path, cboe(symbol=symbol)), ChainNow)


@pytest.mark.parametrize(
    ("name", "underlying"), [("SPXW", "SPX"), ("_VIX", "VIX"), ("NDXP", "NDX"), ("BRK.B", "BRKB"), ("AAPL1", "AAPL")]
)
def test_an_option_class_belongs_to_its_underlying(name: str, underlying: str) -> None:
    assert underlying_of(name) == underlying


def test_a_chain_of_another_ticker_is_refused(tmp_path: Path) -> None:
    why = read(tmp_path, cboe(), ticker="SPY")
    assert why == "SPY.json: it is a chain of SPX, not of SPY; give SPY its own file."
    (tmp_path / "QQQ.csv").write_text(small_csv(), "utf-8")
    found = FolderSource(tmp_path, 20 * MINUTE).read("QQQ", AT)
    assert isinstance(found, NoChain) and "not of QQQ" in found.why


def test_a_file_that_contradicts_itself_about_its_ticker_is_refused(tmp_path: Path) -> None:
    assert "says it is of SPY, but its contracts are of SPX" in str(read(tmp_path, cboe(symbol="SPY")))
    assert "contracts of QQQ and SPX" in str(read(tmp_path, cboe(first_option="QQQ220107C00400000")))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"current_price": 4_677_000_000.0}, "4,677,000,000.00 is no spot of SPX"),
        ({"current_price": 0.001}, "0.00 is no spot of SPX"),
        ({"current_price": "inf"}, "is no spot of SPX"),
        ({"current_price": 46_770.0}, "lies far outside its strikes"),
        ({"current_price": 10**400}, "does not say"),
        ({"first_open_interest": 1e12}, "an open interest of 1e+12"),
        ({"first_volume": 2e9}, "a volume of 2,000,000,000.00"),
        ({"first_iv": 1_000.0}, "a volatility of 1,000.00"),
        ({"first_open_interest": "inf"}, "an open interest of inf"),
        ({"first_option": "SPXW220107C99999999", "first_bid": 1e30}, "a bid of 1e+30"),
    ],
)
def test_a_number_that_none_can_be_refuses_the_file_in_a_sentence(
    tmp_path: Path, changed: dict[str, Any], told: str
) -> None:
    why = read(tmp_path, cboe(**changed))
    assert isinstance(why, str) and told in why


def test_a_number_of_four_hundred_digits_costs_its_row_alone(tmp_path: Path) -> None:
    found = read(tmp_path, cboe(first_open_interest=10**400))
    assert isinstance(found, ChainNow) and found.quotes.unreadable_n == 1


def test_a_spot_that_leapt_is_believed_once_a_later_file_says_the_same(tmp_path: Path) -> None:
    source = FolderSource(tmp_path, 20 * MINUTE)

    def put(spot: float, minute: int) -> ChainNow | NoChain:
        told = cboe(Utc(AT + minute * MINUTE), current_price=spot)
        path = tmp_path / "SPX.json"
        path.write_text(json.dumps(told), "utf-8")
        os.utime(path, (2_000_000_000 + minute, 2_000_000_000 + minute))
        return source.read("SPX", Utc(AT + minute * MINUTE))

    assert isinstance(put(4_677.0, 0), ChainNow)
    leapt = put(5_900.0, 1)
    assert isinstance(leapt, NoChain) and "more than 15% from the one before" in leapt.why
    assert isinstance(source.read("SPX", Utc(AT + 2 * MINUTE)), NoChain)  # the same file confirms nothing
    assert isinstance(put(4_680.0, 3), ChainNow)
    assert isinstance(put(5_900.0, 4), NoChain)
    assert isinstance(put(5_905.0, 6), ChainNow)


def test_a_file_beyond_forty_megabytes_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sources.FILE_BYTES_MAX <= 40 * 1024 * 1024
    monkeypatch.setattr(sources, "FILE_BYTES_MAX", 1024 * 1024)
    bomb = b'{"data":' + b" " * (1024 * 1024 + 1)
    for data in (bomb, gzip.compress(bomb)):
        assert read(tmp_path, data) == "SPX.json: it is larger than any chain (over 1 MB)."


def test_a_csv_of_one_endless_cell_or_with_nul_bytes_is_refused(tmp_path: Path) -> None:
    for data in ('"' + "x" * 300_000, "\0" * 50, 'Calls,Strike,Puts\n"' + "y" * 300_000):
        assert isinstance(read(tmp_path, data), str)


def test_instants_and_expiries_out_of_all_years_are_none(tmp_path: Path) -> None:
    assert "does not say when" in str(read(tmp_path, cboe() | {"timestamp": "9999-12-31 23:59:59"}))
    text = small_csv().replace("Fri Jan 07 2022", "Fri Dec 31 9999", 1)
    found = read(tmp_path, text)
    assert isinstance(found, ChainNow)
    assert found.quotes.expiry_utc[0] == ends_at("SPXW", "2022-01-07")  # as the contract's own symbol says


def test_numbers_that_overflow_on_their_way_give_no_profile_instead_of_other_numbers() -> None:
    quotes = chain([{"strike": 90_000_000.0, "oi": 10.0, "iv": 1.0}], spot=90_000_000.0)
    for category, found in classic_profiles("X", quotes, 90_000_000.0, AT).items():
        assert isinstance(found, ChainRefusal), category


# -- anything at all ----------------------------------------------------------------------------

ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.just(10**400), st.floats(), st.text(max_size=8),
    st.sampled_from(["inf", "-inf", "nan", "1e999", "1,2,3", "\ud800", "9" * 500]), st.lists(st.none(), max_size=2),
)  # fmt: skip
FIELDS = st.sampled_from(
    ["current_price", "symbol", "first_option", "first_iv", "first_open_interest", "first_volume", "first_bid"]
)


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """Return a chain file after an accident: fields replaced, bytes flipped, cut, doubled or put in."""
    if draw(st.booleans()):
        told = cboe(**draw(st.dictionaries(FIELDS, ODD, max_size=3)))
        data = json.dumps(told, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    else:
        data = small_csv().encode()
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        until = min(len(data), at + draw(st.integers(0, 40)))
        data = (
            data[:at] + draw(st.binary(max_size=12)) + draw(st.sampled_from([b"", data[at:until] * 2])) + data[until:]
        )
    return gzip.compress(data)[: draw(st.integers(1, 4_000))] if draw(st.integers(0, 5)) == 0 else data


@given(data=mangled())
@settings(max_examples=150, deadline=None)
@pytest.mark.filterwarnings("error")
def test_no_file_whatever_it_holds_raises_or_gives_a_number_that_is_none(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "SPX.json").write_bytes(data)
        found = FolderSource(Path(folder), age_max_ns=20 * MINUTE).read("SPX", AT)
    if isinstance(found, NoChain):
        assert found.why
        return
    assert why_implausible(found.quotes, "SPX") is None
    for computed in classic_profiles("SPX", found.quotes, found.spot, AT).values():
        if isinstance(computed, tuple):
            profile, gamma = computed
            assert np.isfinite([gamma.net, gamma.vanna, gamma.charm, gamma.spot]).all()
            assert np.isfinite(gamma.levels).all()
            assert (profile.strikes > 0).all()
            assert abs(profile.spot / 100.0 - found.spot) <= 0.01


# -- one bad file among good ones ---------------------------------------------------------------


class TwoOfThree:
    """A source of which one ticker refuses and one raises."""

    comes_later = False

    def read(self, ticker: str, at_utc: Utc) -> ChainNow | NoChain:
        if ticker == "QQQ":
            return NoChain("QQQ.csv: it is empty.")
        if ticker == "SPY":
            raise OverflowError("int too large to convert to float")
        rows = [{"strike": 4_600.0 + 50 * n, "is_call": is_call} for n in range(6) for is_call in (True, False)]
        quotes = chain(rows, spot=4_677.0, minutes=(OPEN_AT - AT) / MINUTE + 300)
        return ChainNow(quotes, 4_677.0)


class NotingPort(ChainHubPort):
    """A port that says when it has kept something."""

    def __init__(self, setup: PortSetup) -> None:
        super().__init__(setup, TwoOfThree())
        self.has_kept = threading.Event()

    def keep(self, profile: Profile, *, is_cover: bool = False) -> None:
        super().keep(profile, is_cover=is_cover)
        self.has_kept.set()


def test_a_file_that_fails_silences_its_own_ticker_and_the_bucket_says_why() -> None:
    told: queue.Queue[Message] = queue.Queue()
    pairs = tuple((ticker, category) for ticker in ("SPY", "QQQ", "SPX") for category in CATEGORIES)
    now = Utc(OPEN_AT + 22 * SECOND)
    port = NotingPort(PortSetup("chain", pairs, lambda _, message: told.put(message), lambda: now))
    port.start()
    try:
        port.post(market.DialHub(feed_epoch=1))
        assert isinstance(told.get(timeout=60), market.HubUp)
        assert port.has_kept.wait(60)
        port.post(market.SealBucket(bucket_utc=OPEN_AT))
        sealed = told.get(timeout=60)
    finally:
        port.close()
    assert isinstance(sealed, market.BucketSealed)
    assert {row.profile.ticker for row in sealed.rows.rows} == {"SPX"}
    assert ["SPY" in sealed.notes[0], "OverflowError" in sealed.notes[0]] == [True, True]
    assert sealed.notes[1:] == ("QQQ.csv: it is empty.",)
