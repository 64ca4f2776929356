"""The two state machines of the order session, the vendor's codes, and the pause between dials."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.instants import SECOND
from domain.instruments import Side
from domain.orders import table
from domain.orders.table import CodeMeaning, Order, OrderEvent, OrderStatus, Stage
from domain.session.modes import (
    ALLOWS_ENTRIES,
    ALLOWS_EXITS,
    IGNORED,
    TRANSITIONS,
    Event,
    Mode,
    first_epoch,
    gateway_of,
    redial_utc,
)
from gateways.ib.codes import MEANINGS, STATUSES, meaning_of, status_of
from tests.testkit.ibkr_world import rules

ORDER = Order(
    order_ref="ZH-paper-a-e", con_id=7, owner="position:paper:7", side=Side.BUY, is_exit=False, qty=3, handed_utc=0
)


@pytest.mark.parametrize(("mode", "event"), list(itertools.product(Mode, Event)))
def test_every_pair_of_mode_and_event_is_decided_exactly_once(mode: Mode, event: Event) -> None:
    assert ((mode, event) in TRANSITIONS) != ((mode, event) in IGNORED)


@given(st.lists(st.sampled_from(Event)))
def test_entries_are_allowed_only_after_reconciling_and_a_whole_warm_up_since_the_last_loss(
    events: list[Event],
) -> None:
    mode = Mode.DATA_ONLY
    since_loss: list[Event] = []
    for event in events:
        was = mode
        mode = TRANSITIONS.get((mode, event), mode)
        lost = event is Event.LOST or (event is Event.RESTORED and was is Mode.FULLY_LIVE)
        since_loss = [] if lost else [*since_loss, event]
        if mode in ALLOWS_ENTRIES:
            assert Event.RECONCILED in since_loss
            assert Event.STABLE in since_loss[since_loss.index(Event.RECONCILED) :]
    assert ALLOWS_ENTRIES < ALLOWS_EXITS


@pytest.mark.parametrize(("stage", "event"), list(itertools.product(Stage, OrderEvent)))
def test_every_pair_of_order_stage_and_event_is_decided_exactly_once(stage: Stage, event: OrderEvent) -> None:
    assert ((stage, event) in table.TRANSITIONS) != ((stage, event) in table.IGNORED)


@given(st.lists(st.sampled_from([e for e in OrderEvent if e not in (OrderEvent.FOUND_WORKING, OrderEvent.NOT_FOUND)])))
def test_no_hint_ends_a_doubt_but_the_end_itself(events: list[OrderEvent]) -> None:
    order = msgspec.structs.replace(ORDER, stage=Stage.IN_DOUBT)
    for event in events:
        order = table.moved(order, event)
        if event is OrderEvent.ENDED:
            break
        assert order.stage is Stage.IN_DOUBT


def test_doubt_remembers_which_read_back_may_clear_it() -> None:
    order = table.doubted(msgspec.structs.replace(ORDER, stage=Stage.WORKING), 4, (104, "cannot modify a filled order"))
    assert (order.stage, order.doubt_n, order.trouble) == (Stage.IN_DOUBT, 4, (104, "cannot modify a filled order"))
    again = table.doubted(order, 6, None)
    assert (again.doubt_n, again.trouble) == (6, order.trouble)  # a later doubt needs a later read-back
    assert table.doubted(msgspec.structs.replace(ORDER, stage=Stage.ENDED), 4).stage is Stage.ENDED


def test_executions_count_once_and_a_correction_replaces_its_revision() -> None:
    order = table.executed(table.executed(ORDER, "a", 1, 2), "a", 1, 2)
    assert order.filled_qty == 2
    order = table.executed(order, "b", 1, 1)
    assert order.filled_qty == 3
    order = table.executed(order, "a", 2, 1)
    assert order.filled_qty == 2
    assert table.executed(order, "a", 1, 2) == order


def test_table_finds_the_exit_under_way_and_what_is_on_sale() -> None:
    exit_order = msgspec.structs.replace(
        ORDER, order_ref="ZH-paper-a-x1", side=Side.SELL, is_exit=True, stage=Stage.WORKING, executions=(("a", 1, 1),)
    )
    orders = table.put(table.put((), ORDER), exit_order)
    assert table.working_exit(orders, 7) == exit_order
    assert table.selling_qty(orders, 7) == 2
    ended = table.put(orders, msgspec.structs.replace(exit_order, stage=Stage.ENDED))
    assert len(ended) == 2
    assert table.working_exit(ended, 7) is None
    assert table.selling_qty(ended, 7) == 0


@pytest.mark.parametrize("code", [104, 105, 161, 10147, 10148, 31337, 0, -1])
def test_codes_of_an_order_that_may_live_mean_ask_never_cancelled(code: int) -> None:
    assert meaning_of(code) is CodeMeaning.ORDER_UNKNOWN


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (10349, CodeMeaning.INFORMATIONAL),
        (399, CodeMeaning.INFORMATIONAL),
        (110, CodeMeaning.ORDER_REFUSED),
        (201, CodeMeaning.ORDER_REJECTED),
        (202, CodeMeaning.ORDER_CANCELLED),
        (1100, CodeMeaning.LINK),
        (2103, CodeMeaning.DATA),
        (101, CodeMeaning.DATA),
    ],
)
def test_known_codes_have_their_meaning(code: int, meaning: CodeMeaning) -> None:
    assert meaning_of(code) is meaning


def test_only_202_says_that_an_order_was_cancelled() -> None:
    assert [code for code, meaning in MEANINGS.items() if meaning is CodeMeaning.ORDER_CANCELLED] == [202]


def test_a_status_that_nobody_knows_is_unknown() -> None:
    assert status_of("Resting") is OrderStatus.UNKNOWN
    assert {status_of(text) for text in STATUSES} == set(OrderStatus) - {OrderStatus.UNKNOWN}


def test_dials_are_fast_at_first_then_slow_and_a_client_id_in_use_has_its_own_pause() -> None:
    limits = rules()
    assert redial_utc(limits, 0, 29 * SECOND, False) == 29 * SECOND + SECOND // 2
    assert redial_utc(limits, 0, 30 * SECOND, False) == 35 * SECOND
    assert redial_utc(limits, 0, SECOND, True) == SECOND + limits.client_id_retry_ms * 1_000_000


def test_next_gateway_is_tried_after_the_failover_time_and_then_the_first_again() -> None:
    limits = rules()
    tried = [gateway_of(limits, 0, at * SECOND, 0, 2) for at in (0, 29, 30, 59, 60)]
    assert tried == [0, 0, 1, 1, 0]
    assert gateway_of(limits, 0, 10**15, 0, 1) == 0


def test_epochs_of_runs_and_incarnations_never_meet() -> None:
    assert first_epoch(3, 1) == 3 << 20
    assert first_epoch(3, 2) - first_epoch(3, 1) > 10_000
    assert first_epoch(4, 1) > first_epoch(3, 60)
