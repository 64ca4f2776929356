"""The day tape shows what the market shows, and finds what a search second by second would find."""

from __future__ import annotations

from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.instruments import Side
from domain.units import Ticks
from simulation.days.tape import BLOCK_S, Column, TapeMarket
from simulation.market.market import Market

SESSION = date(2026, 11, 20)
TAPE = TapeMarket(3, SESSION, ("SPY",))
PLAIN = Market(3, SESSION, ("SPY",))
NEAR = [c for c in TAPE.contracts("SPY") if c.expiry == SESSION][38:44]
seconds = st.integers(TAPE.path.open_s, TAPE.path.close_s - 1)


def test_a_tape_shows_the_quotes_and_prices_of_its_market() -> None:
    for second in range(TAPE.path.open_s, TAPE.path.close_s + 30, 1_499):
        at_utc = TAPE.instant_of(second)
        TAPE.step(at_utc)
        PLAIN.step(at_utc)
        assert TAPE.spot("SPY") == PLAIN.spot("SPY")
        assert TAPE.spot_column("SPY")[second] == PLAIN.spot("SPY").price_ticks
        for contract in NEAR:
            mine, plain = TAPE.quote(contract.con_id), PLAIN.quote(contract.con_id)
            assert (mine.bid_ticks, mine.ask_ticks, mine.bid_size, mine.ask_size, mine.at_utc) == (
                plain.bid_ticks, plain.ask_ticks, plain.bid_size, plain.ask_size, plain.at_utc,
            )  # fmt: skip
            assert mine.greeks is not None
            assert plain.greeks is not None
            assert abs(mine.greeks.delta - plain.greeks.delta) < 1e-12


def test_a_quote_is_the_same_to_the_last_bit_whether_its_whole_day_was_made_or_a_part_of_it() -> None:
    parts, open_s, close_s = TapeMarket(3, SESSION, ("SPY",)), TAPE.path.open_s, TAPE.path.close_s
    for row, contract in list(enumerate(TAPE.contracts("SPY")))[::19]:
        whole, board = TAPE.column(contract.con_id), parts._board_of[contract.con_id]
        for second in (open_s, open_s + 5 * BLOCK_S + 7, close_s, open_s + 1):  # the third makes the whole day
            for shown in (TAPE, parts):
                shown.rewind()
                shown.step(shown.instant_of(second))
            assert parts.quote(contract.con_id) == TAPE.quote(contract.con_id)
            assert (contract.con_id in board._columns) == (second in (close_s, open_s + 1))
        for first_s in (0, 4 * BLOCK_S + 5, close_s - 20):
            part = board._made(row, first_s, min(first_s + BLOCK_S, close_s + 1))
            for name in Column._fields:
                made, all_day = getattr(part, name), getattr(whole, name)
                assert made.tobytes() == all_day[first_s : first_s + len(made)].tobytes()


@settings(max_examples=60, deadline=None)
@given(from_s=seconds, side=st.sampled_from(Side), away=st.integers(-30, 30), n=st.integers(0, len(NEAR) - 1))
def test_a_crossing_is_the_first_second_at_which_the_order_could_trade(
    from_s: int, side: Side, away: int, n: int
) -> None:
    con_id = NEAR[n].con_id
    column = TAPE.column(con_id)
    limit = Ticks(max(1, int(column.bid[from_s]) + away))
    found = TAPE.crossing(con_id, side, limit, from_s)
    last = TAPE.path.close_s if found is None else found - 1
    for second in range(from_s, last + 1):
        bid, ask = int(column.bid[second]), int(column.ask[second])
        assert not (0 < ask <= limit if side is Side.BUY else bid >= limit)
    if found is not None:
        bid, ask = int(column.bid[found]), int(column.ask[found])
        assert 0 < ask <= limit if side is Side.BUY else bid >= limit


def test_a_market_order_without_a_bid_waits_for_one() -> None:
    con_id = NEAR[0].con_id
    column = TAPE.column(con_id)
    found = TAPE.crossing(con_id, Side.SELL, None, TAPE.path.open_s)
    assert found is not None
    assert column.bid[found] > 0
