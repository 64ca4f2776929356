"""The hard stop at C-5: what the actors left open is closed by a way that needs none of them, and the process ends."""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.ibkr.state import IBKRState
from commands import hard_stop
from commands.folder import DataFolder
from commands.hard_stop import HardStop
from config.tree import Gateway
from domain.instants import MINUTE, SECOND
from domain.instruments import Side
from domain.orders.table import OrderStatus
from domain.units import Qty, Utc
from gateways.direct import DirectError, Outcome
from messages import broker, operator
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import start_run
from tests.testkit import ledger_asks as ask
from tests.testkit.gateway_world import CLOSE, NOON
from tests.testkit.ibkr_world import EPOCH, gateway, orders_port, place, settings_for
from tests.testkit.supervisor_child import eventually
from tests.testkit.tastytrade_world import SECRET, dialled, rest_broker
from tests.testkit.tastytrade_world import place as place_there

CON_ID = 7
FLAT = "[hard_stop] Flat by the direct flatten; the ledger learns of it with the next start."


class FakeRuntime:
    """Hears why the process should end."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.has_ended = threading.Event()

    def end(self, why: str) -> None:
        self.ended.append(why)
        self.has_ended.set()

    fail = end


class FakeSupervisor:
    """A supervisor whose actors no longer do anything; `view` is what its order session knows."""

    def __init__(self, view: IBKRState | None, memory: dict[int, Qty]) -> None:
        self.runtime = FakeRuntime()
        self.console: queue.SimpleQueue[operator.Announce] = queue.SimpleQueue()
        self.view = view
        self.memory = memory
        self.closed: list[bool] = []

    def session_view(self, desk: str = "") -> IBKRState | None:
        return self.view

    def held_in_memory(self, desk: str = "") -> dict[int, Qty]:
        return self.memory

    def close(self, *, are_entries_withdrawn: bool = False) -> bool:
        self.closed.append(are_entries_withdrawn)
        return True

    def lines(self) -> list[str]:
        found = []
        while not self.console.empty():
            found.append(self.console.get().text)
        return found


class FakeClock:
    """Stands where a test puts it."""

    def __init__(self, at_utc: Utc) -> None:
        self.at_utc = at_utc

    def now_utc(self) -> Utc:
        return self.at_utc


class World:
    """A hard stop whose direct flatten is a fake that answers as told."""

    def __init__(self, root: Path, foreign_allowed: tuple[int | str, ...] = ()) -> None:
        self.folder = DataFolder(root)
        self.folder.make()
        self.running = FakeSupervisor(None, {})
        self.clock = FakeClock(CLOSE - 5 * MINUTE)
        self.flattened: list[dict[int, Qty]] = []
        self.answer: Callable[[], Outcome] = lambda: Outcome({CON_ID: Qty(2)}, {}, ())
        running: Any = self.running
        clock: Any = self.clock
        settings = settings_for(4002)
        allowing = dataclasses.replace(settings.broker, foreign_allowed=foreign_allowed)
        settings = settings.model_copy(update={"broker": allowing})
        self.stop = HardStop(running, settings, self.folder, clock, (), self.flatten)

    def flatten(self, held: dict[int, Qty], say: Callable[[str], None]) -> Outcome:
        self.flattened.append(held)
        say("selling")
        return self.answer()

    def keep(self, *messages: Any) -> None:
        start_run(self.folder.ledgers, ("paper",), ask.T0)
        ledger = DeskLedger(self.folder.ledgers, "paper", run_n=1)
        ledger.open()
        for message in messages:
            ledger.apply(message, ask.T0)
        ledger.close()

    def act(self) -> list[str]:
        """Look, act where there is something to do, and return what people were told."""
        self.stop.start()
        assert self.running.runtime.has_ended.wait(60)
        self.stop.close()
        return self.running.lines()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.stop.close()


def knows(*positions: tuple[int, int], con_ids: tuple[int, ...] = (CON_ID,)) -> IBKRState:
    return IBKRState(positions=tuple((con_id, Qty(qty)) for con_id, qty in positions), con_ids=con_ids)


def test_what_the_broker_still_holds_of_ours_is_flattened_and_the_process_ends(world: World) -> None:
    world.running.view = knows((CON_ID, 2), (99, 500))
    lines = world.act()
    assert world.flattened == [{CON_ID: 2}]
    assert world.running.closed == [True], "nobody else may sell beside it"
    assert "NOT FLAT 5 min before the close (2 of contract 7)" in lines[0]
    assert lines[-1] == FLAT
    assert len(world.running.runtime.ended) == 1
    assert world.folder.kill_file.read_text().strip() == "1"


def test_what_a_structure_sold_to_open_is_flattened_too_and_a_strangers_short_is_not(world: World) -> None:
    world.running.memory = {CON_ID: Qty(-10)}
    world.running.view = knows((CON_ID, -10), (8, -3), con_ids=(CON_ID, 8))
    world.act()
    assert world.flattened == [{CON_ID: -10}]


@pytest.mark.parametrize(
    ("ours", "broker_qty", "closed"), [(2, 5, 2), (5, 2, 2), (-2, -5, -2), (2, -3, 2), (-2, 3, -2)]
)
def test_no_more_is_closed_than_is_ours_nor_than_the_broker_holds(
    world: World, ours: int, broker_qty: int, closed: int
) -> None:
    world.running.memory = {CON_ID: Qty(ours), 8: Qty(1)}
    world.running.view = knows((CON_ID, broker_qty), (8, 1), con_ids=(CON_ID, 8))
    world.act()
    assert world.flattened == [{CON_ID: closed, 8: 1}]


@pytest.mark.parametrize("at", [CLOSE - 5 * MINUTE - SECOND, CLOSE, CLOSE + MINUTE])
def test_before_c_minus_5_and_from_the_close_on_nothing_is_done(world: World, at: int) -> None:
    world.running.view = knows((CON_ID, 2))
    world.clock.at_utc = Utc(at)
    assert not world.stop.is_due(Utc(at))


def test_a_broker_that_holds_nothing_of_ours_is_left_alone_whatever_the_ledger_believes(world: World) -> None:
    world.keep(ask.reserve(CON_ID), ask.execution(CON_ID))
    world.running.view = knows((99, 500))
    assert world.stop.what_may_be_held() == {}


def test_a_position_of_an_earlier_run_is_known_by_the_ledger(world: World) -> None:
    world.keep(ask.reserve(CON_ID), ask.execution(CON_ID))
    world.running.view = knows((CON_ID, 2), con_ids=())
    assert world.stop.what_may_be_held() == {CON_ID: 2}


def test_without_an_order_session_the_ledger_and_the_positions_memory_count(world: World) -> None:
    world.keep(ask.reserve(CON_ID), ask.execution(CON_ID), ask.reserve(8))
    world.running.memory = {CON_ID: Qty(1), 9: Qty(4)}
    assert world.stop.what_may_be_held() == {CON_ID: 2, 8: 2, 9: 4}


def test_a_ledger_that_cannot_be_read_leaves_the_memory_and_says_so(world: World) -> None:
    world.keep(ask.reserve(CON_ID), ask.execution(CON_ID))
    (world.folder.ledgers / "paper.db").write_bytes(b"no ledger" * 1000)
    world.running.memory = {CON_ID: Qty(2)}
    assert world.stop.what_may_be_held() == {CON_ID: 2}
    assert "cannot be asked" in world.running.lines()[0]


def test_what_a_ledger_that_can_be_asked_does_not_own_is_not_sold_though_the_session_follows_it(world: World) -> None:
    world.keep(ask.reserve(8), ask.execution(8))
    world.running.view = knows((CON_ID, 2), (8, 2), con_ids=(CON_ID, 8))
    assert world.stop.what_may_be_held() == {8: 2}


def test_a_holding_that_may_stay_is_not_sold_where_no_ledger_can_be_asked(tmp_path: Path) -> None:
    allowing = World(tmp_path, foreign_allowed=(CON_ID, "SPY"))
    allowing.running.view = knows((CON_ID, 2), (8, 2), con_ids=(CON_ID, 8))
    assert allowing.stop.what_may_be_held() == {8: 2}
    allowing.running.memory = {CON_ID: Qty(2)}
    assert allowing.stop.what_may_be_held() == {CON_ID: 2, 8: 2}, "what a position of ours holds is ours"


def test_a_flatten_that_failed_is_tried_again_until_it_is_flat(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hard_stop, "RETRY_EVERY_S", 0.0)
    world.running.view = knows((CON_ID, 2))

    def answer() -> Outcome:
        if len(world.flattened) == 1:
            raise DirectError("no gateway answers")
        return Outcome({}, {CON_ID: Qty(2)} if len(world.flattened) == 2 else {}, ())

    world.answer = answer
    lines = world.act()
    assert world.flattened == 3 * [{CON_ID: 2}]
    again = "Close it by the broker's own screen; it is tried again in 0 s."
    assert [line for line in lines if "tried again" in line] == [
        f"[hard_stop] The direct flatten failed: no gateway answers. {again}",
        f"Direct flatten: STILL NOT FLAT: 2 of contract 7. {again}",
    ]
    assert lines[-1] == FLAT
    assert world.stop.is_flat


def test_the_first_of_two_hard_stops_that_is_flat_does_not_end_the_retries_of_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hard_stop, "RETRY_EVERY_S", 0.0)
    monkeypatch.setattr(hard_stop, "LOOK_EVERY_S", 0.01)
    first, second = World(tmp_path / "first"), World(tmp_path / "second")
    second.running = first.running
    second.stop._running = first.stop._running
    first.stop.beside, second.stop.beside = (second.stop,), (first.stop,)
    first.running.view = knows((CON_ID, 2))
    is_first_flat, may_second = threading.Event(), threading.Event()

    def answer_first() -> Outcome:
        is_first_flat.set()
        return Outcome({}, {}, ())

    def answer_second() -> Outcome:
        is_first_flat.wait(60)
        if not may_second.is_set():
            return Outcome({}, {CON_ID: Qty(2)}, ())
        return Outcome({}, {}, ())

    first.answer, second.answer = answer_first, answer_second
    second.stop.start()
    first.stop.start()
    assert is_first_flat.wait(60)
    eventually(lambda: len(second.flattened) >= 20 or first.running.runtime.ended)  # it goes on beside one that is flat
    assert (first.running.runtime.ended, first.stop.is_flat, second.stop.is_flat) == ([], True, False)
    may_second.set()
    assert first.running.runtime.has_ended.wait(60)
    for one in (first, second):
        one.stop.close(may_finish=True)
    assert second.stop.is_flat


def test_what_a_hard_stop_has_begun_it_may_finish_though_the_process_is_to_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hard_stop, "RETRY_EVERY_S", 0.0)
    has_begun, may_end = threading.Event(), threading.Event()
    world.running.view = knows((CON_ID, 2))

    def answer() -> Outcome:
        has_begun.set()
        may_end.wait(60)
        return Outcome({}, {CON_ID: Qty(2)} if len(world.flattened) < 3 else {}, ())

    world.answer = answer
    world.stop.start()
    assert has_begun.wait(60)
    closing = threading.Thread(target=lambda: world.stop.close(may_finish=True))
    closing.start()
    may_end.set()
    closing.join(60)
    assert (world.stop.is_flat, len(world.flattened)) == (True, 3)


@pytest.mark.parametrize("is_error", [True, False])
def test_what_could_not_be_closed_is_a_page_that_says_what_is_left(world: World, is_error: bool) -> None:
    world.running.view = knows((CON_ID, 2))

    def answer() -> Outcome:
        world.clock.at_utc = CLOSE
        if is_error:
            raise DirectError("no gateway answers")
        return Outcome({}, {CON_ID: Qty(2)}, ())

    world.answer = answer
    last = world.act()[-1]
    assert ("no gateway answers" if is_error else "STILL NOT FLAT: 2 of contract 7.") in last
    assert last.endswith("by the broker's own screen NOW.")
    assert len(world.running.runtime.ended) == 1


def test_a_bug_in_the_hard_stop_ends_the_process_and_is_not_swallowed(world: World) -> None:
    world.running.view = knows((CON_ID, 2))

    def broken() -> Outcome:
        raise RuntimeError("bug")

    world.answer = broken
    world.act()
    assert "the hard stop failed: RuntimeError: bug" in world.running.runtime.ended


@pytest.mark.parametrize("knows_ledger", [True, False])
def test_at_the_rest_broker_what_is_left_open_is_sold_also_where_the_ledger_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, knows_ledger: bool
) -> None:
    monkeypatch.setenv("ZEROHOUR_TASTYTRADE_SECRET", SECRET[0])
    monkeypatch.setenv("ZEROHOUR_TASTYTRADE_TOKEN", SECRET[1])
    with rest_broker() as there:
        with dialled(there) as (port, mailbox):
            port.post(place_there(there))
            mailbox.wait(broker.OrderStatusReported, lambda f: f.status is OrderStatus.FILLED)
            port.post(broker.ReadBack(session_epoch=EPOCH, read_n=1))
            read = mailbox.wait(broker.BrokerRead)
        contract = there.call
        settings = settings_for(4002)
        day = dataclasses.replace(settings.day, verify_flat_again_ms=(CLOSE - NOON) // 10**6 + 60_000)  # due at noon
        address = dataclasses.replace(
            settings.broker.tastytrade, rest_url=there.server.rest_url, stream_url="ws://127.0.0.1:9"
        )
        at_rest = dataclasses.replace(settings.broker, orders="tastytrade", tastytrade=address)
        view = knows((contract.con_id, 2), con_ids=(contract.con_id,))
        folder = DataFolder(tmp_path)
        folder.make()
        if knows_ledger:
            start_run(folder.ledgers, ("paper",), ask.T0)
            ledger = DeskLedger(folder.ledgers, "paper", run_n=1)
            ledger.open()
            ledger.apply(ask.reserve(1, legs=(ask.leg(1, contract=contract),)), ask.T0)
            ledger.close()
        else:
            view = msgspec.structs.replace(view, read=read)
        supervisor: Any = FakeSupervisor(view, {contract.con_id: Qty(2)})
        clock: Any = there.clock
        stop = HardStop(supervisor, settings.model_copy(update={"day": day, "broker": at_rest}), folder, clock, ())
        stop.start()
        assert supervisor.runtime.has_ended.wait(60)
        stop.close()
        assert there.do(lambda: there.exchange.position(contract.con_id).qty) == 0
        assert supervisor.lines()[-1] == FLAT


def test_against_a_gateway_what_a_broken_position_left_open_is_sold_and_its_order_cancelled(tmp_path: Path) -> None:
    with gateway() as at_broker:
        with orders_port(at_broker) as (port, mailbox):  # the desk's own session, which then ends
            port.post(place(at_broker, qty=2))
            mailbox.wait(broker.OrderStatusReported, lambda f: f.status is OrderStatus.FILLED)
            port.post(place(at_broker, "ZH-paper-a-x1", side=Side.SELL, limit_ticks=900, is_exit=True))
            mailbox.wait(broker.OrderStatusReported, lambda f: f.order_ref == "ZH-paper-a-x1" and f.perm_id > 0)
        con_id = at_broker.call.con_id
        settings = settings_for(at_broker.port)
        day = dataclasses.replace(settings.day, verify_flat_again_ms=(CLOSE - NOON) // 10**6 + 60_000)  # due at noon
        supervisor: Any = FakeSupervisor(knows((con_id, 2), con_ids=(con_id,)), {con_id: Qty(2)})
        folder = DataFolder(tmp_path)
        folder.make()
        clock: Any = at_broker.clock
        stop = HardStop(
            supervisor, settings.model_copy(update={"day": day}), folder, clock, (Gateway("127.0.0.1", at_broker.port),)
        )
        stop.start()
        assert supervisor.runtime.has_ended.wait(60)
        stop.close()
        assert at_broker.do(lambda: at_broker.exchange.position(con_id).qty) == 0
        assert at_broker.do(at_broker.exchange.open_orders) == []
        assert supervisor.lines()[-1] == FLAT
