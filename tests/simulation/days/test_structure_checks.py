"""The judge of structures: whose a short is where one was bought back by hand and its contract was sold anew."""

from __future__ import annotations

from typing import Any, Final

from domain.instruments import OrderType, Side
from domain.units import Cents, Qty, Utc
from simulation.broker.orders import IBStatus, Order
from simulation.broker.portfolio import Position
from simulation.broker.working import Working
from simulation.days.structure_checks import StructureChecks, Watched

COVER: Final = 1
SHORT: Final = 2


class Book:
    """An exchange and its scene in one: what was traded fills at once, by hand or for a structure."""

    def __init__(self) -> None:
        self.exchange: Any = self
        self.came_back: dict[str, Utc] = {}
        self.broken: list[str] = []
        self._orders: dict[int, Working] = {}

    def breaks(self, what: str) -> None:
        self.broken.append(what)

    def open_orders(self) -> list[Any]:
        return []

    def position(self, con_id: int) -> Position:
        orders = [w.order for w in self._orders.values() if w.order.con_id == con_id]
        return Position(con_id, Qty(sum(order.qty * order.side.sign for order in orders)), 0, Cents(0))

    def trade(self, order_ref: str, con_id: int, qty: int) -> None:
        number, side = len(self._orders), Side.BUY if qty > 0 else Side.SELL
        order = Order(
            con_id=con_id, side=side, qty=Qty(abs(qty)), type=OrderType.MARKET, client_id=1, order_id=number,
            order_ref=order_ref,
        )  # fmt: skip
        self._orders[number] = Working(order, IBStatus.FILLED, Utc(0), [], Utc(0), filled_qty=Qty(abs(qty)))


def checks_of(book: Any, names: tuple[str, ...]) -> StructureChecks:
    """Return the judge of structures of one pair each, all of the same contracts."""
    checks = StructureChecks(book)
    for name in names:
        cover, short = f"ZH-paper-{name}C", f"ZH-paper-{name}S"
        checks._known[name] = Watched(f"structure:paper:{name}", 1, cover, COVER, short, SHORT, (cover, short))
    return checks


def open_spread(book: Book, name: str, qty: int) -> None:
    book.trade(f"ZH-paper-{name}C-e", COVER, qty)
    book.trade(f"ZH-paper-{name}S-e", SHORT, -qty)


def test_a_contract_that_is_sold_anew_is_no_short_of_the_structure_whose_own_was_bought_back_by_hand() -> None:
    book = Book()
    checks = checks_of(book, ("A", "B"))
    open_spread(book, "A", 2)
    book.trade("", SHORT, 1)  # by hand
    book.trade("ZH-paper-AS-x1", SHORT, 1)
    book.trade("ZH-paper-AC-x1", COVER, -2)
    open_spread(book, "B", 2)
    checks.look_at_book()
    assert book.broken == []


def test_a_short_whose_cover_is_gone_is_seen_though_a_later_structure_is_short_of_the_same_contract() -> None:
    book = Book()
    checks = checks_of(book, ("A", "B"))
    open_spread(book, "A", 2)
    book.trade("ZH-paper-AC-x1", COVER, -2)
    open_spread(book, "B", 2)
    checks.look_at_book()
    assert book.broken == ["A: 2 short and 0 on sale, the cover is 0 and 0 of it for sale"]


def test_a_later_structure_whose_cover_is_gone_is_seen_though_an_older_ones_short_was_bought_back_by_hand() -> None:
    book = Book()
    checks = checks_of(book, ("A", "B"))
    open_spread(book, "A", 2)
    book.trade("", SHORT, 2)
    book.trade("ZH-paper-AC-x1", COVER, -2)
    open_spread(book, "B", 2)
    book.trade("ZH-paper-BC-x1", COVER, -1)
    checks.look_at_book()
    assert book.broken == ["B: 2 short and 0 on sale, the cover is 1 and 0 of it for sale"]
