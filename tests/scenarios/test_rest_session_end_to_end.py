"""The broker session's actor with the REST broker's port on real sockets: what it makes of what only that one does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from domain.instants import MINUTE
from domain.instruments import OrderType
from domain.orders.request import OrderChange
from domain.session.modes import Mode
from messages import broker, orders
from messages.base import Message
from simulation.tastytrade.faults import Request, Trouble
from tests.scenarios.test_session_end_to_end import ENTRY, OWNER, QUICK, Desk
from tests.testkit.tastytrade_world import make_port, rest_broker


class RestDesk(Desk):
    """The same desk, whose orders go to the REST broker."""

    def port_of(self, world: Any) -> broker.BrokerPort:
        return make_port(world, self, **QUICK)

    def tell(self, _to: str, message: Message) -> None:
        self.mail.put(message)

    def held(self) -> int:
        """Return what the broker holds."""
        held: int = self.world.do(lambda: self.world.exchange.position(self.world.call.con_id).qty)
        return held

    def modify(self, limit_ticks: int) -> None:
        change = OrderChange(
            order_ref=ENTRY, qty=2, order_type=OrderType.LIMIT, limit_ticks=limit_ticks, is_exit=False,
            deadline_utc=self.world.clock.now_utc() + MINUTE,
        )  # fmt: skip
        self.mail.put(orders.ModifyOrder(change=change, reply_to=OWNER, permit=self.permit()))


@contextmanager
def desk() -> Iterator[RestDesk]:
    with rest_broker() as world, closing(RestDesk(world)) as it:
        yield it


def test_from_dial_to_live_to_a_round_trip_that_the_broker_agrees_with() -> None:
    with desk() as d:
        d.makes_a_round_trip()


def test_a_fill_during_an_outage_of_the_stream_counts_once_and_the_desk_comes_back_live() -> None:
    with desk() as d:
        d.live()
        d.submit(limit_ticks=450)
        d.until(lambda: d.of(orders.OrderAcknowledged))
        d.world.run(d.world.server.drop_streams())
        d.until(lambda: d.state.mode is Mode.DEGRADED)
        d.world.do(lambda: d.world.market.set(d.world.market.call, 440, 450))
        d.live()
        d.until(d.is_closed_and_recorded)
        assert (d.recorded_n, d.held()) == (1, 2)
        assert [c.filled_qty_total for c in d.of(orders.OrderClosed)] == [2]


def test_an_entry_whose_answer_never_came_is_found_by_asking_and_never_sent_again() -> None:
    with desk() as d:
        d.live()
        d.world.faults.troubles.append(Trouble(Request.PLACE, is_cut=True, is_done=True))
        d.world.faults.is_silent = True
        d.submit()
        d.until(d.is_closed_and_recorded)
        assert (sum(d.executions.values()), d.held()) == (2, 2)
        assert d.world.asked("POST", "/orders") == 1


def test_an_entry_that_never_arrived_is_given_up_after_its_wait() -> None:
    with desk() as d:
        d.live()
        d.world.faults.troubles.append(Trouble(Request.PLACE, is_cut=True))
        d.submit()
        d.until(lambda: d.of(broker.OrderSent))
        d.until(lambda: not d.state.table.under_way)
        assert (d.executions, d.held()) == ({}, 0)
        assert d.world.asked("POST", "/orders") == 1


def test_a_change_that_meets_a_fill_closes_the_order_filled_once() -> None:
    with desk() as d:
        d.live()
        d.world.faults.replace_s = 3_600.0
        d.submit(limit_ticks=450)
        d.until(lambda: d.of(orders.OrderAcknowledged))
        d.modify(460)
        d.until(lambda: len(d.world.server.desk.placed) == 2)
        d.world.do(lambda: d.world.market.set(d.world.market.call, 440, 450))
        d.until(d.is_closed_and_recorded)
        assert [(c.cause, c.filled_qty_total) for c in d.of(orders.OrderClosed)] == [("filled", 2)]
        assert (sum(d.executions.values()), d.held()) == (2, 2)


def test_a_changed_order_keeps_its_one_id_and_fills_at_the_new_price() -> None:
    with desk() as d:
        d.live()
        d.submit(limit_ticks=450)
        d.until(lambda: d.of(orders.OrderAcknowledged))
        d.modify(510)
        d.until(d.is_closed_and_recorded)
        (order,) = d.state.table
        assert (order.perm_id, order.filled_qty, order.trouble) == (1, 2, None)
        assert [c.filled_qty_total for c in d.of(orders.OrderClosed)] == [2]
