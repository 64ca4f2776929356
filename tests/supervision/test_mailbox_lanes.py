"""The two lanes of a mailbox."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.instruments import Quote, Spot
from messages import market
from supervision.mailbox import Mail, Mailbox
from tests.testkit.narrow import known


def mail(message: object, n: int = 0) -> Mail:
    return Mail(message, b"", "x", str(n), 0, n)


def spots(ticker: str) -> market.SpotsChanged:
    return market.SpotsChanged(spots=(Spot(ticker=ticker, **SPOT),))


SPOT = {name: 0 for name in Spot.__struct_fields__ if name != "ticker"}


def seal(n: int) -> market.SealBucket:
    return market.SealBucket(bucket_utc=n)


def test_critical_mail_keeps_its_order_and_goes_first() -> None:
    box = Mailbox()
    assert box.put(mail(spots("SPX")))
    for n in range(3):
        assert box.put(mail(seal(n)))
    taken = [known(box.take()).message for _ in range(4)]
    assert taken[:3] == [seal(0), seal(1), seal(2)]
    assert isinstance(taken[3], market.SpotsChanged)
    assert box.take() is None


def test_newest_of_a_slot_takes_the_place_of_the_older_and_asks_for_no_wake_up() -> None:
    box = Mailbox()
    older, newer = mail(spots("SPX"), 1), mail(spots("SPX"), 2)
    assert box.put(older) is True
    assert box.put(newer) is False
    assert box.put(mail(spots("SPY"), 3)) is True
    assert box.depth() == 2 and box.conflated == 1
    assert box.take() is newer


def test_under_load_the_market_lane_is_served_by_ticker_and_quotes_of_what_is_held_go_first() -> None:
    box = Mailbox()
    quote = market.QuoteChanged(con_id=1, quote=Quote(**dict.fromkeys(Quote.__struct_fields__, 0)), spot=None)
    for n in range(3):
        for ticker in ("NVDA", "VIX", "IWM", "QQQ", "SPY", "AAPL", "SPX"):
            box.put(mail(spots(ticker), n))
    box.put(mail(quote))
    assert (box.depth(), box.conflated) == (8, 14)
    assert known(box.take()).message is quote
    taken = [known(box.take()) for _ in range(7)]
    assert [m.message.slot() for m in taken] == [
        f"spots:{ticker}" for ticker in ("SPX", "SPY", "QQQ", "IWM", "VIX", "NVDA", "AAPL")
    ]
    assert {m.sent_utc for m in taken} == {2}, "the newest of each"


def test_returned_mail_comes_before_all_other() -> None:
    box = Mailbox()
    box.put(mail(seal(1)))
    box.put(mail(seal(2)))
    box.put_back(known(box.take()))
    assert [known(box.take()).message for _ in range(2)] == [seal(1), seal(2)]


def test_oldest_is_the_next_critical_mail() -> None:
    box = Mailbox()
    assert box.oldest_utc() is None
    box.put(mail(seal(1), 7))
    assert box.oldest_utc() == 7


@given(st.lists(st.one_of(st.just("take"), st.integers(0, 3), st.sampled_from(["SPY", "QQQ"])), max_size=60))
def test_nothing_critical_is_lost_or_reordered_and_each_slot_gives_its_newest(steps: list[str | int]) -> None:
    box = Mailbox()
    critical: list[Mail] = []
    slots: dict[str, Mail] = {}
    for n, step in enumerate(steps):
        if step == "take":
            expected = critical.pop(0) if critical else slots.pop(max(slots)) if slots else None
            assert box.take() is expected
        elif isinstance(step, int):
            critical.append(mail(seal(step), n))
            box.put(critical[-1])
        else:
            put = mail(spots(step), n)
            assert box.put(put) is (step not in slots)
            slots[step] = put
        assert box.depth() == len(critical) + len(slots)
