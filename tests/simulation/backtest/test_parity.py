"""What ran beside its backtest: every difference is named, with a cause only where the records show one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
from msgspec.structs import replace

from domain.instruments import OrderType, Side
from domain.units import Cents, Qty, Ticks, Utc
from simulation.backtest.model import FillModel
from simulation.backtest.parity import Difference, Item, Records, What, compare
from simulation.backtest.ports import DamagedBucket
from simulation.backtest.recorded import RecordedDay
from simulation.backtest.recorded_fills import Fill, Filled, RecordedFillsExchange, fills_of
from simulation.broker.events import Execution
from simulation.broker.orders import Order
from storage.queries import LedgerReader
from tests.testkit.recorded_days import CALL, SESSION, at, column, market_of

BUCKET = at(600)
RECORDED = RecordedDay(SESSION, (CALL,), {CALL.con_id: column([(0, 100, 110), (700, 100, 110)])}, {})
WHOLE = Records({("SPX", BUCKET): ()}, RECORDED, at(20_000))


def item(what: What, key: str, says: str, seconds: float = 700, **given: Any) -> Item:
    return Item(
        what=what, key=key, ticker=given.pop("ticker", "SPX"), at_utc=at(seconds), says=says, bucket_utc=BUCKET, **given
    )


def differences(then: Sequence[Item], here: Sequence[Item], records: Records = WHOLE) -> tuple[Difference, ...]:
    return compare(SESSION, then, here, records).differences


def refused(code: str, key: str = "A", **given: Any) -> Item:
    return item(What.GATE, key, f"refused: {code}", code=code, **given)


def damaged(*seconds: float, tickers: tuple[str, ...] = ("SPX",)) -> tuple[DamagedBucket, ...]:
    return tuple(DamagedBucket(Utc(at(s)), tickers, f"that of second {s:g}") for s in seconds)


ALERT = item(What.ALERT, "A", "up")
SPREAD = item(What.ALERT, "S", "up", ticker="SPX-SPY")
PASSED = item(What.GATE, "A", "passed")
ORDER = item(What.ORDER, "O", "BUY 1 at 1.10", con_id=CALL.con_id)


def test_what_is_the_same_is_counted_and_is_no_difference() -> None:
    parity = compare(SESSION, [ALERT, PASSED, ORDER], [ORDER, PASSED, ALERT], WHOLE)
    assert (parity.differences, parity.same) == ((), {"alert": 1, "gate": 1, "order": 1, "fill": 0})


def test_a_difference_that_the_records_do_not_show_the_cause_of_is_unexplained() -> None:
    for then, here in (([ALERT], []), ([], [ALERT]), ([PASSED], [refused("naked_short")]), ([ORDER], [])):
        parity = compare(SESSION, then, here, WHOLE)
        assert len(parity.unexplained) == 1, (then, here)
    assert differences([ORDER], [replace(ORDER, says="BUY 2 at 1.10")])[0].cause is None  # the quote is of that instant


@pytest.mark.parametrize(
    ("then", "here", "records", "cause"),
    [
        ([ALERT], [], replace(WHOLE, readings={}), "no reading of the bucket"),
        ([], [ALERT], replace(WHOLE, readings={("SPX", BUCKET): ("orderflow",)}), "lacked orderflow"),
        ([ALERT], [], replace(WHOLE, damaged=damaged(570, 600, 630)), "buckets are damaged: that of second 600"),
        ([ALERT], [], replace(WHOLE, damaged=damaged(630)), None),
        ([ALERT], [], replace(WHOLE, damaged=damaged(570, tickers=("QQQ",))), None),
        ([SPREAD], [], replace(WHOLE, damaged=damaged(570)), "quotes are on record as samples"),
        ([SPREAD], [], replace(WHOLE, damaged=damaged(570), is_heard=True), None),
        ([ALERT], [replace(ALERT, is_shadow=True, says="up, a shadow")], replace(WHOLE, promoted_utc=(at(5),)),
         "promotions were changed"),
        ([refused("kill_switch_l1")], [PASSED], WHOLE, "not repeated here: The kill level is 1"),
        ([refused("shadow_signal")], [PASSED], replace(WHOLE, promoted_utc=(at(5),)), "promotions were changed"),
        ([refused("ticker_limit")], [PASSED], replace(WHOLE, foreign=2), "2 executions that the desk did not order"),
        ([PASSED], [refused("spread_too_wide")], WHOLE, "quotes are on record as samples"),
        ([ORDER], [replace(ORDER, says="BUY 1 at 1.20", at_utc=at(703))], WHOLE, None),
        ([replace(ORDER, at_utc=at(702.5))], [replace(ORDER, says="BUY 1 at 1.20")], WHOLE, "was 2.5 s old"),
        ([ORDER], [replace(ORDER, says="BUY 1", con_id=9)], replace(WHOLE, recorded=RecordedDay(SESSION, (), {}, {})),
         "no quote of the contract is on record"),
        ([], [ORDER], replace(WHOLE, last_utc=at(650)), "after the end of the recording"),
    ],
)  # fmt: skip
def test_a_cause_is_named(then: list[Item], here: list[Item], records: Records, cause: str | None) -> None:
    (found,) = differences(then, here, records)
    assert (found.cause is None) if cause is None else cause in (found.cause or "")


HEARD = replace(WHOLE, is_heard=True)  # the call ticked at second 700


def test_where_the_same_was_heard_a_quote_that_lies_between_then_and_here_is_the_cause_and_samples_are_none() -> None:
    later, raised = replace(ORDER, at_utc=at(700.2)), "BUY 1 at 1.20"
    (found,) = differences([later], [replace(ORDER, says=raised, at_utc=at(699.9))], HEARD)
    assert "300 ms earlier here" in (found.cause or "")
    (found,) = differences([later], [replace(ORDER, says=raised, at_utc=at(700.1))], HEARD)
    assert found.cause is None  # no quote in these 100 ms
    gates = [replace(PASSED, at_utc=at(700.2))], [refused("spread_too_wide", seconds=699.9)]
    assert "300 ms earlier here" in (differences(*gates, HEARD)[0].cause or "")
    assert differences([PASSED], [refused("spread_too_wide")], HEARD)[0].cause is None


def test_a_change_of_an_order_that_was_not_made_here_had_seen_a_quote_that_comes_too_late_here() -> None:
    then = replace(ORDER, at_utc=at(696), changed_utc=(at(696), at(700.03)))
    here = replace(ORDER, at_utc=at(695.99), changed_utc=(at(695.99),), says="BUY 1 at 1.00")
    (found,) = differences([then], [here], HEARD)
    assert "10 ms earlier here" in (found.cause or "")
    (found,) = differences([replace(then, changed_utc=(at(696), at(705)))], [here], HEARD)
    assert found.cause is None


def test_what_depends_on_an_earlier_difference_follows_from_it_and_never_from_a_later_one() -> None:
    first = refused("spread_too_wide", "A", seconds=700)
    after = refused("max_positions", "B", seconds=800, ticker="QQQ")
    passed = [replace(one, says="passed", code=None) for one in (first, after)]
    found = differences([first, after], passed)
    assert [one.cause for one in found] == [
        "quotes are on record as samples: the gate looked at others", "follows from the gate A",
    ]  # fmt: skip
    before = replace(after, at_utc=at(600))
    found = differences([first, before], [passed[0], replace(passed[1], at_utc=at(600))])
    assert found[0].cause is None


def test_a_kind_of_refusal_that_does_not_depend_on_trades_follows_from_no_other_ticker() -> None:
    first, other = refused("spread_too_wide"), refused("wrong_right", "B", seconds=800, ticker="QQQ")
    found = differences([first, other], [replace(one, says="passed", code=None) for one in (first, other)])
    assert found[1].cause is None


# -- the recorded fills -------------------------------------------------------------------------


def fills(recorded: dict[str, Filled], sent: Order, seconds: range) -> list[tuple[int, int, int]]:
    """Return (second, quantity, price) of the fills of an order that is sent at the first second."""
    market = market_of([(0, 100, 110)])
    exchange = RecordedFillsExchange(market, Cents(10**9), FillModel(), recorded)
    market.step(at(seconds[0]))
    events, found = exchange.place(sent, at(seconds[0])), list[tuple[int, int, int]]()
    for second in seconds:
        market.step(at(second))
        events += exchange.step(at(second))
        found += [(second, e.qty, e.price_ticks) for e in events if isinstance(e, Execution)]
        events = []
    return found


def order(ref: str = "O", qty: int = 3, side: Side = Side.BUY) -> Order:
    return Order(
        con_id=CALL.con_id, side=side, qty=Qty(qty), type=OrderType.LIMIT, client_id=11, order_id=1,
        limit_ticks=Ticks(150 if side is Side.BUY else 50), order_ref=ref,
    )  # fmt: skip


def filled(*told: tuple[float, int, int], con_id: int = CALL.con_id) -> Filled:
    return Filled(con_id, Side.BUY, tuple(Fill(Utc(at(s)), Qty(qty), Ticks(price)) for s, qty, price in told))


class OneOrder:
    """A ledger of one order with these executions: when the broker says that they were, and when they were recorded."""

    def __init__(self, *executions: tuple[float, float]) -> None:
        self._executions = [
            {"at_utc": at(told), "recorded_utc": at(recorded), "qty": 1, "price_ticks": 107}
            for told, recorded in executions
        ]

    def attempts(self, _: object) -> list[dict[str, Any]]:
        return [{"intent_id": "I"}]

    def orders_of(self, _: str) -> list[str]:
        return ["O"]

    def order(self, ref: str) -> dict[str, Any]:
        return {"order_ref": ref, "con_id": CALL.con_id, "side": "BUY", "executions": self._executions}


def test_a_fill_told_in_whole_seconds_was_when_it_was_recorded_unless_it_was_read_back_later() -> None:
    ledger = OneOrder((700, 700.4), (701, 760), (702.3, 702.3))
    found = fills_of(cast(LedgerReader, ledger), SESSION)["O"].fills
    assert [fill.at_utc for fill in found] == [at(700.4), at(701), at(702.3)]


def test_an_order_on_record_fills_as_it_did_then_and_never_before_it_is_sent() -> None:
    recorded = {"O": filled((3.2, 1, 107), (5, 2, 104))}
    assert fills(recorded, order(), range(9)) == [(4, 1, 107), (5, 2, 104)]
    assert fills(recorded, order(), range(7, 12)) == [(8, 1, 107), (8, 2, 104)]
    assert fills(recorded, order(qty=2), range(9)) == [(4, 1, 107), (5, 1, 104)]
    assert fills({"O": filled()}, order(), range(9)) == []  # it was not filled then


def test_an_order_that_is_not_on_record_or_is_another_one_fills_by_the_model() -> None:
    by_model = [(1, 3, 110)]
    assert fills({}, order(), range(9)) == by_model
    assert fills({"O": filled((3, 3, 50), con_id=8)}, order(), range(9)) == by_model
    assert fills({"O": filled((3, 3, 50))}, order(side=Side.SELL), range(9)) == [(1, 3, 100)]
