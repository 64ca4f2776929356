"""Chain files of the exchange's site, in every form of header, date and number that was met."""

from __future__ import annotations

import numpy as np
import pytest

from domain.instants import to_datetime
from domain.options.chain_files import NoChain, chain_in
from domain.options.chain_gamma import ChainQuotes
from tests.testkit.chains import AT, TITLES, as_cboe_json, chain, ends_at, small_csv


def read(text: str) -> ChainQuotes:
    found = chain_in(text.encode())
    assert isinstance(found, ChainQuotes), found
    return found


@pytest.mark.parametrize(
    ("stamp", "utc"),
    [
        ("January 9, 2022, 3:11 AM EST", "2022-01-09 08:11"),
        ("9 June 2023, 1:40 PM EDT", "2023-06-09 17:40"),
        ("9 June 2023 at 13:40 EDT", "2023-06-09 17:40"),
        ("August 29, 2026 at 3:19 PM EDT", "2026-08-29 19:19"),
        ("Jul 17 2026 @ 15:45 ET", "2026-07-17 19:45"),
        ("December 1, 2023, 12:05 PM EST", "2023-12-01 17:05"),
        ("December 1, 2023, 12:05 AM EST", "2023-12-01 05:05"),
    ],
)
def test_the_instant_is_read_in_every_form_of_date(stamp: str, utc: str) -> None:
    at_utc = read(small_csv(stamp)).at_utc
    assert at_utc is not None
    assert to_datetime(at_utc).strftime("%Y-%m-%d %H:%M") == utc


def test_the_columns_of_both_sides_are_read() -> None:
    quotes = read(small_csv())
    assert (quotes.symbol, quotes.spot, quotes.at_utc, len(quotes.strikes)) == ("SPX", 4677.03, AT, 48)
    at = int(np.flatnonzero((quotes.strikes == 4700.0) & quotes.is_call)[0])
    put = int(np.flatnonzero((quotes.strikes == 4700.0) & ~quotes.is_call)[0])
    assert (quotes.open_interest[at], quotes.open_interest[put]) == (900.0, 100.0)
    assert (quotes.bid[at], quotes.ask[at], quotes.iv[at]) == (1.0, 1.2, 0.2)
    assert quotes.expiry_utc[at] == ends_at("SPXW", "2022-01-07")
    assert quotes.roots[at] == "SPXW"


def test_marks_line_ends_blank_lines_trailing_commas_and_thousands_change_nothing() -> None:
    plain = small_csv()
    lines = plain.replace("Last: 4677.03", 'x","Last: 4,677.03').replace("S&P", '"S&P').replace(",900,", ',"900",')
    rough = "\ufeff\r\n" + "\r\n\r\n".join(f"{line},," if "SPXW" in line else line for line in lines.splitlines())
    one, other = read(plain), read(rough)
    assert other.spot == one.spot
    for column in ("strikes", "is_call", "expiry_utc", "open_interest", "volume", "iv", "bid", "ask"):
        np.testing.assert_array_equal(getattr(one, column), getattr(other, column))
    thousand = read(plain.replace(",900,4", ',"1,900",4'))
    assert 1_900.0 in thousand.open_interest


def test_a_chain_of_older_titles_without_symbols_and_with_percent_is_the_same_chain() -> None:
    text = (
        "SPY (SPDR S&P 500 ETF Trust),601.23,+1.10\n"
        '"Jul 17 2026 @ 15:45 ET,Last: 601.23,Change: +1.10"\n'
        "Expiration Date,Calls,Last Sale,Net,Bid,Ask,Vol,IV,Delta,Gamma,Open Int,Strike,"
        "Puts,Last Sale,Net,Bid,Ask,Vol,IV,Delta,Gamma,Open Int\n"
        "2026-08-21,SPY C600,12.1,0.5,12.0,12.2,150,18,0.55,0.012,4000,600,SPY P600,10,0,10.1,10.3,220,20,-0.4,0,6500\n"
        "08/21/2026,SPY C610,7.0,0.2,6.9,7.1,90,17,0.40,0.011,3000,610,SPY P610,15,0,15,15.2,60,21,-0.60,0.01,1500\n"
    )
    quotes = read(text)
    assert (quotes.symbol, quotes.spot) == ("SPY", 601.23)
    assert quotes.iv.tolist() == [0.18, 0.20, 0.17, 0.21]
    assert quotes.open_interest.tolist() == [4000.0, 6500.0, 3000.0, 1500.0]
    assert set(quotes.expiry_utc.tolist()) == {ends_at("SPY", "2026-08-21")}


def test_a_line_that_is_no_row_is_counted_and_costs_no_other() -> None:
    quotes = read(
        small_csv() + "garbage,,,,,,,,,,,,\nFri Jan 07 2022,SPXW220107C04900000,0,0,x,1,0,0.2,0,0,1,4900,,,,,,,,,\n"
    )
    assert len(quotes.strikes) == 48 + 1
    assert quotes.unreadable_n == 3


def test_json_says_what_csv_says() -> None:
    told = chain([{"strike": 4700.0, "oi": 900.0}, {"strike": 4600.0, "is_call": False, "iv": 0.25}], spot=4677.03)
    quotes = read(as_cboe_json(told, "220107"))
    assert (quotes.symbol, quotes.spot, quotes.at_utc) == ("SPX", 4677.03, AT)
    assert quotes.strikes.tolist() == [4700.0, 4600.0]
    assert quotes.is_call.tolist() == [True, False]
    assert quotes.open_interest.tolist() == [900.0, 10.0]
    assert np.isnan(quotes.bid).all()


@pytest.mark.parametrize(
    ("root", "day", "clock"),
    [
        ("SPXW", "2022-01-21", "16:00"), ("SPX", "2022-01-21", "09:30"), ("SPX", "2022-01-07", "16:00"),
        ("SPX", "2022-04-14", "09:30"), ("VIX", "2022-01-19", "09:30"), ("SPY", "2022-11-25", "13:00"),
    ],
)  # fmt: skip
def test_contracts_end_at_the_close_or_at_the_opening_that_settles_them(root: str, day: str, clock: str) -> None:
    from domain.instants import NEW_YORK  # noqa: PLC0415 - for this one line

    assert to_datetime(ends_at(root, day)).astimezone(NEW_YORK).strftime("%Y-%m-%d %H:%M") == f"{day} {clock}"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xef\xbb\xbf \r\n", b"{", b'{"data": {}}', b'{"data": {"options": 3}}', b"a,b,c\n1,2,3\n",
        b"\x00\xff\x00",
        TITLES.replace("Expiration Date", "x").replace("Calls", "Calls ").encode() + b"\n1,2\n", b"[" * 5_000,
    ],
)  # fmt: skip
def test_what_is_no_chain_is_refused_in_one_sentence(data: bytes) -> None:
    found = chain_in(data)
    if isinstance(found, NoChain):
        assert found.why.endswith(".") and "\n" not in found.why
    else:
        assert len(found.strikes) == 0
