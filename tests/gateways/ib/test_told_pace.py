"""When the news of a line may be told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateways.ib.told_pace import MOVES_AT_ONCE, ToldPace

BATCH_S = 0.125  # sums of it are exact
# Each: how long after the one before, s; whether the price has moved; whether it is told at once along with others.
NEWS = st.lists(st.tuples(st.floats(0.0, 0.3), st.booleans(), st.booleans()), max_size=60)


def test_a_price_that_moves_right_after_its_line_was_told_goes_out_at_once() -> None:
    pace = ToldPace()
    pace.tell(1_000.0, BATCH_S, is_moved=True)
    assert pace.due_s(BATCH_S, is_moved=True) <= 1_000.0


def test_news_that_move_no_price_wait_for_their_batch() -> None:
    pace = ToldPace()
    pace.tell(1_000.0, BATCH_S, is_moved=True)
    assert pace.due_s(BATCH_S, is_moved=False) == 1_000.0 + BATCH_S


def test_a_price_that_moves_on_and_on_falls_back_to_the_pace_and_gets_its_credit_back_in_a_quiet_time() -> None:
    pace = ToldPace()
    for _ in range(MOVES_AT_ONCE):
        assert pace.due_s(BATCH_S, is_moved=True) <= 1_000.0
        pace.tell(1_000.0, BATCH_S, is_moved=True)
    assert pace.due_s(BATCH_S, is_moved=True) > 1_000.0 + BATCH_S / 2
    quiet_s = 1_000.0 + MOVES_AT_ONCE * BATCH_S
    for _ in range(MOVES_AT_ONCE):
        assert pace.due_s(BATCH_S, is_moved=True) <= quiet_s
        pace.tell(quiet_s, BATCH_S, is_moved=True)


@given(news=NEWS)
def test_nothing_waits_longer_than_a_batch_and_moves_keep_the_pace_but_for_the_credit(
    news: list[tuple[float, bool, bool]],
) -> None:
    pace, now_s = ToldPace(), 1_000.0
    moves_s: list[float] = []
    for after_s, is_moved, is_taken_along in news:
        now_s += after_s
        due_s = now_s if is_taken_along else max(now_s, pace.due_s(BATCH_S, is_moved=is_moved))
        assert due_s <= now_s + BATCH_S + 1e-9
        pace.tell(due_s, BATCH_S, is_moved=is_moved)
        now_s = due_s
        if is_moved and not is_taken_along:
            moves_s.append(due_s)
    for n, began_s in enumerate(moves_s):
        within = [at_s for at_s in moves_s[n:] if at_s <= began_s + 1.0]
        assert len(within) <= MOVES_AT_ONCE + 1.0 / BATCH_S + 1
