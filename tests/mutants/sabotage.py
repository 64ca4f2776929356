"""Each guard of the desk taken out once: `python -m tests.mutants.sabotage NAME` runs the named test without it.

The text of one module is changed as it is imported; nothing on disk is touched.
"""

from __future__ import annotations

import sys
from typing import Final

import msgspec
import pytest

from tests.mutants.rooms import ROOT
from tests.mutants.session import ChangedModule, quiet_hypothesis


class Sabotage(msgspec.Struct, frozen=True):
    """What is taken out: in `file`, the text `was` (found once) becomes `becomes`; `test` notices it."""

    name: str
    file: str
    was: str
    becomes: str
    test: str


NOT_FOUND: Final = 9
_POSITION: Final = "tests/actors/position"
_REST = "tests/gateways/tastytrade/test_orders_port.py"
_IBKR: Final = "tests/actors/ibkr"

TABLE: Final = (
    Sabotage(
        "exits disabled",
        "actors/position/exit_order.py",
        "    if not _can_send(state) or _is_pause(turn):\n        return\n",
        "    return\n",
        f"{_POSITION}/test_position_day.py::"
        "test_the_flatten_time_comes_by_the_positions_own_timer_though_session_never_says_a_word",
    ),
    Sabotage(
        "the filled check on Cancelled",
        "domain/orders/live_order.py",
        "    return filled_qty >= order.ended_qty if order.is_ended_sure else filled_qty == order.ended_qty\n",
        "    return True\n",
        "tests/domain/orders/test_live_order.py::test_an_order_ends_only_when_its_fills_are_recorded",
    ),
    Sabotage(
        "the read-back behind a cancelled exit",
        "actors/ibkr/facts.py",
        "        case OrderStatus.CANCELLED if _is_end_in_question(order, fact):\n",
        "        case OrderStatus.CANCELLED if False:\n",
        f"{_IBKR}/test_ibkr_faults.py::"
        "test_cancelled_exit_that_turns_out_filled_is_told_with_its_fills_and_nothing_is_sold_twice",
    ),
    Sabotage(
        "no read-back of before the cancel's end",
        "actors/ibkr/facts.py",
        "    ended = order.ended(turn.state.next_read_n).with_ending(",
        "    ended = order.ended(turn.state.read_n).with_ending(",
        f"{_IBKR}/test_ibkr_faults.py::"
        "test_cancelled_exit_is_told_once_a_read_back_that_began_behind_that_word_has_nothing_against_it",
    ),
    Sabotage(
        "a cancelled exit that works after all",
        "actors/ibkr/settlement.py",
        "    if order.is_cancel_wanted:\n        turn.state.keep(order)\n",
        "    if False:\n        turn.state.keep(order)\n",
        f"{_IBKR}/test_ibkr_faults.py::test_cancelled_exit_that_a_read_back_finds_working_is_cancelled_again",
    ),
    Sabotage(
        "one order that works twice",
        "actors/ibkr/settlement.py",
        "row.is_working and row.perm_id}) > 1:\n",
        "row.is_working and row.perm_id}) > 2:\n",
        f"{_IBKR}/test_ibkr_faults.py::test_order_that_works_twice_is_cancelled_until_none_is_left_and_paged",
    ),
    Sabotage(
        "exit orders of a contract in a minute",
        "actors/ibkr/orders.py",
        " or is_in_doubt or _is_storm(turn, con_id):\n",
        " or is_in_doubt:\n",
        f"{_IBKR}/test_ibkr_faults.py::test_exit_orders_of_a_contract_are_bounded_in_a_minute_and_the_storm_is_paged",
    ),
    Sabotage(
        "exits that filled and are no storm",
        "actors/ibkr/fills.py",
        "for sent in state.exits_sent if sent.order_ref != order.order_ref)",
        "for sent in state.exits_sent if sent.order_ref)",
        f"{_IBKR}/test_ibkr_faults.py::test_exits_that_filled_are_no_storm",
    ),
    Sabotage(
        "no short by estimate",
        "actors/ibkr/fills.py",
        "                estimate = max(estimate, min(held_qty, Qty(0)))\n",
        "                pass\n",
        f"{_IBKR}/test_ibkr_faults.py::test_sale_whose_position_is_told_before_its_execution_makes_no_short",
    ),
    Sabotage(
        "exit-kind tracking",
        "actors/position/exit_order.py",
        "    is_part = state.wanted is not None and state.wanted.kind is ExitKind.TAKE_PART\n",
        "    is_part = False\n",
        f"{_POSITION}/test_position_exit.py::"
        "test_take_profit_of_more_sells_half_rounded_up_then_the_rest_with_the_stop_at_entry",
    ),
    Sabotage(
        "exits that only ever tighten",
        "domain/position/adaptive.py",
        "    return Scales(min(old.stop, new.stop), min(old.take, new.take))\n",
        "    return new\n",
        "tests/domain/position/test_adaptive.py::test_over_any_path_a_held_positions_stops_only_ever_tighten",
    ),
    Sabotage(
        "a shadow that only looks",
        "actors/position/adaptive.py",
        "    return other if state.is_other_in_force else fixed\n",
        "    return other\n",
        f"{_POSITION}/test_position_adaptive.py::"
        "test_a_shadow_sends_nothing_and_is_sold_at_the_bid_where_the_tighter_stop_is_reached",
    ),
    Sabotage(
        "the proof of an exit profile",
        "storage/shared_ledger.py",
        "                return exits_promotion_of(shown, message.outcomes_min, message.rate_floor)\n",
        "                return None if shown else None\n",
        "tests/storage/test_exit_profiles.py::test_a_promotion_of_a_profile_needs_what_its_shadow_has_shown",
    ),
    Sabotage(
        "the watcher of what is short",
        "storage/reconcile.py",
        "            taken.append(position)\n",
        "",
        "tests/incidents/test_unwatched_positions.py::test_a_short_of_ours_without_a_watcher_is_taken_back",
    ),
    Sabotage(
        "a short of nobody only where executions were read",
        "storage/reconcile.py",
        "            and reading.has(ReadGroup.EXECUTIONS)  # else somebody else's may say why\n",
        "",
        "tests/incidents/test_unwatched_positions.py::"
        "test_a_short_is_left_alone_while_executions_cannot_be_read_as_they_may_be_somebody_elses",
    ),
    Sabotage(
        "a short that somebody else's executions explain",
        "storage/reconcile.py",
        "            and net + fills.foreign_net_of_contract(db, con_id) != position.qty\n",
        "",
        "tests/incidents/test_unwatched_positions.py::test_a_short_that_somebody_else_has_sold_stays_his",
    ),
    Sabotage(
        "the hard stop's login before it is needed",
        "gateways/brokers.py",
        "    login = _login_of(setup.settings)  # now: minutes before the close no file may fail\n\n"
        "    def make(tell: Tell) -> TastytradeOrdersPort:\n",
        "    def make(tell: Tell) -> TastytradeOrdersPort:\n        login = _login_of(setup.settings)\n",
        "tests/gateways/tastytrade/test_direct.py::test_what_it_logs_in_with_is_read_when_the_way_is_made",
    ),
    Sabotage(
        "the purchase of a short that nobody watched",
        "actors/ibkr/settlement.py",
        "        if position.qty < 0:\n            flatten = ",
        "        if position.qty > 0:\n            flatten = ",
        "tests/incidents/test_unwatched_positions.py::"
        "test_a_position_that_was_taken_back_is_told_and_a_short_is_closed_like_at_kill_level_2",
    ),
    Sabotage(
        "the execution in the place of an estimate",
        "storage/fills.py",
        "    if not is_closed_again and rows.number(",
        "    if rows.number(",
        "tests/incidents/test_estimated_closes.py::test_executions_that_come_after_an_estimate_open_the_position_again",
    ),
    Sabotage(
        "the cover before the shorts",
        "domain/structure/saga.py",
        "            return (Wish.JOIN_ENTRY,) if saga.is_combo else (Wish.OPEN_COVER,)\n",
        "            return (Wish.OPEN_SHORT, Wish.OPEN_COVER)\n",
        "tests/domain/structure/test_saga.py::test_the_cover_is_bought_before_anything_is_sold",
    ),
    Sabotage(
        "no more shorts than are covered",
        "domain/structure/saga.py",
        "        return Qty(min(share, self.covered_qty))\n",
        "        return Qty(self.short.qty)\n",
        "tests/domain/structure/test_saga.py::test_shorts_that_a_plan_wants_beyond_the_ratio_are_not_sold",
    ),
    Sabotage(
        "the cover held back while a short may be held",
        "domain/structure/saga.py",
        "        if any(leg.may_be_held and not (leg.is_clear and leg.at_most <= 0) for leg in saga.shorts):\n"
        "            return None\n",
        "",
        "tests/domain/structure/test_saga.py::test_the_shorts_are_bought_back_before_the_cover_is_free",
    ),
    Sabotage(
        "both covers held back while a short of either pair may be held",
        "domain/structure/saga.py",
        "leg.may_be_held and not (leg.is_clear and leg.at_most <= 0) for leg in saga.shorts):",
        "leg.may_be_held and not (leg.is_clear and leg.at_most <= 0) for leg in saga.shorts[:1]):",
        "tests/domain/structure/test_saga_of_pairs.py::test_no_cover_is_free_while_a_short_of_the_other_pair_is_held",
    ),
    Sabotage(
        "a put covers no call",
        "domain/structure/saga.py",
        "        return Qty(sum(pair.uncovered_qty(self.ratio) for pair in self.pairs))\n",
        "        held = sum(leg.held for leg in self.covers) * self.ratio\n"
        "        return Qty(max(0, sum(leg.held for leg in self.shorts) - held))\n",
        "tests/domain/structure/test_saga_of_pairs.py::test_the_cover_of_one_pair_covers_none_of_the_other",
    ),
    Sabotage(
        "more than two legs are one order or none",
        "actors/risk/structure_entry.py",
        "    return () if refusal is None else (refusal,)\n",
        "    return ()\n",
        "tests/actors/risk/test_condor_entry.py::"
        "test_where_the_broker_takes_no_combination_it_is_refused_before_anything_is_asked",
    ),
    Sabotage(
        "the unwind of a leg that does not fill",
        "actors/structure.py",
        "            if saga.state in (SagaState.SELLING, SagaState.ENTERING):\n"
        "                _want_out(turn, ExitReason.UNWIND)\n",
        "            pass\n",
        "tests/actors/test_structure_actor.py::test_shorts_that_do_not_fill_in_thirty_seconds_are_unwound",
    ),
    Sabotage(
        "the unwind of one order that does not fill",
        "actors/structure.py",
        "            if saga.state in (SagaState.SELLING, SagaState.ENTERING):\n",
        "            if saga.state is SagaState.SELLING:\n",
        "tests/actors/test_structure_as_one.py::test_an_order_that_does_not_fill_in_its_time_is_unwound",
    ),
    Sabotage(
        "one order for both that waits for both",
        "domain/structure/saga.py",
        "            return (Wish.SEND_ENTRY,) if not saga.is_sent and are_joint else ()\n",
        "            return (Wish.SEND_ENTRY,) if not saga.is_sent and saga.cover.is_joint else ()\n",
        "tests/domain/structure/test_saga_of_one_order.py::"
        "test_both_legs_are_asked_first_and_the_order_is_sent_when_both_take_part",
    ),
    Sabotage(
        "the shorts first where one order left something",
        "domain/structure/saga.py",
        "    (_S.LEAVING, _E.EXIT_WANTED): _S.BUYING_BACK,",
        "    (_S.LEAVING, _E.EXIT_WANTED): _S.RELEASING,",
        "tests/domain/structure/test_saga_of_one_order.py::test_what_an_exit_leaves_goes_leg_by_leg",
    ),
    Sabotage(
        "the shorts first on the way out",
        "domain/structure/saga.py",
        "(*held_back, Wish.CLOSE_SHORT) if",
        "(*held_back, Wish.FREE_COVER, Wish.CLOSE_SHORT) if",
        "tests/domain/structure/test_saga.py::test_the_shorts_are_bought_back_before_the_cover_is_free",
    ),
    Sabotage(
        "the cover taken back for a short that is reported late",
        "domain/structure/saga.py",
        "    (_S.RELEASING, _E.SHORT_FOUND): _S.BUYING_BACK,",
        "    (_S.RELEASING, _E.SHORT_FOUND): _S.RELEASING,",
        "tests/actors/test_structure_actor.py::test_a_short_reported_late_takes_the_cover_back",
    ),
    Sabotage(
        "what is urgent never waits for one order",
        "domain/structure/saga.py",
        " or reason not in AS_ONE or",
        " or",
        "tests/domain/structure/test_saga_of_one_order.py::test_only_what_is_not_urgent_leaves_as_one",
    ),
    Sabotage(
        "the end of the wait for one order",
        "actors/structure.py",
        "            if saga.state is SagaState.LEAVING:\n",
        "            if False:\n",
        "tests/actors/test_structure_as_one.py::test_where_it_does_not_fill_the_short_is_bought_back_first",
    ),
    Sabotage(
        "an order for both legs goes before a leg's own exit",
        "actors/ibkr/orders.py",
        "    if under_way is not None and under_way.legs:",
        "    if under_way is not None and not under_way.shares:",
        "tests/actors/ibkr/test_ibkr_combinations.py::"
        "test_a_legs_own_exit_waits_until_the_combination_that_works_is_cancelled",
    ),
    Sabotage(
        "a leg's own exit goes before one for both",
        "actors/ibkr/orders.py",
        '    why = f"exit order {under_way[0]} works" if under_way else next(',
        "    why = next(",
        "tests/actors/ibkr/test_ibkr_combinations.py::"
        "test_an_exit_of_a_combination_is_refused_while_a_leg_leaves_by_itself",
    ),
    Sabotage(
        "of no leg more closed than ledger and broker hold",
        "actors/ibkr/orders.py",
        "next((text for text in oversold if text), None)\n",
        "next((text for text in oversold if not text), None)\n",
        "tests/actors/ibkr/test_ibkr_combinations.py::"
        "test_an_exit_of_a_combination_closes_of_no_leg_more_than_ledger_and_broker_hold",
    ),
    Sabotage(
        "a leg that leaves by itself takes back the order for both",
        "actors/position/exit_order.py",
        "    if state.wanted is not None or state.phase in (Phase.PANIC, Phase.FLATTEN):\n        keep_order(",
        "    if False:\n        keep_order(",
        f"{_POSITION}/test_position_joint_orders.py::"
        "test_a_leg_that_is_to_leave_by_itself_cancels_it_first_and_goes_when_it_is_over",
    ),
    Sabotage(
        "no slice of an entry after a kill",
        "actors/position/slices.py",
        '    if state.kill_level >= KillLevel.NO_ENTRIES:\n        return f"kill level {state.kill_level.value}"\n',
        "",
        f"{_POSITION}/test_position_slices.py::"
        "test_whatever_ends_an_entry_ends_its_slices_in_every_stage[kill-waiting]",
    ),
    Sabotage(
        "no slice of an entry that filled nothing",
        "actors/position/slices.py",
        "    if state.orders.entry is None and state.cycle is not PositionState.OPEN:\n",
        "    if False:\n",
        f"{_POSITION}/test_position_slices.py::test_a_first_slice_without_a_fill_ends_the_entry",
    ),
    Sabotage(
        "a slice looked for as long as it may arrive",
        "actors/position/recovery.py",
        "        deadline_utc = max(deadline_utc, Utc(now + rules.exits.entry_total_ms * MS))\n",
        "",
        f"{_POSITION}/test_position_slices.py::"
        "test_after_a_restart_a_slice_that_nobody_knows_is_looked_for_until_it_cannot_arrive_any_more",
    ),
    Sabotage(
        "one stop at the broker for all slices",
        "actors/position/exit_order.py",
        " or (state.twap is not None and state.twap.is_on):\n",
        ":\n",
        f"{_POSITION}/test_position_slices.py::test_a_stop_at_the_broker_is_placed_for_all_of_it_once_no_slice_follows",
    ),
    Sabotage(
        "the desk looked at again after a slice's quote",
        "actors/risk/slices.py",
        " or _desk_reject(rules, turn, question)\n",
        "\n",
        "tests/actors/risk/test_risk_slices.py::test_what_stops_the_desk_ends_the_slices_before_its_quote_and_after",
    ),
    Sabotage(
        "what a slice on its way may still cost",
        "domain/risk/desk_view.py",
        "plain += h.cost_cents + h.ordered_cents",
        "plain += h.cost_cents",
        "tests/actors/risk/test_risk_slices.py::test_a_slice_on_its_way_counts_as_premium_until_its_order_is_over",
    ),
    Sabotage(
        "no more in slices than the whole entry",
        "domain/orders/twap.py",
        "Qty(self.plan.qty_until(n) - filled_qty)",
        "self.plan.qty_until(n)",
        "tests/domain/orders/test_twap.py::test_whatever_happens_no_more_is_ordered_than_the_whole",
    ),
    Sabotage(
        "a slice recorded once",
        "storage/reservations.py",
        "    return (orders.SliceRecorded(order_ref=slice_.order_ref),) if is_new else ()\n",
        "    return (orders.SliceRecorded(order_ref=slice_.order_ref),)\n",
        "tests/storage/test_slice_records.py::test_a_slice_is_on_record_once_with_its_place_among_the_others",
    ),
    Sabotage(
        "of a combination the whole alone counted",
        "gateways/ib/orders_port.py",
        "            if execution.con_id == COMBO_CON_ID or execution.perm_id not in combos:",
        "            if True:",
        "tests/gateways/test_combo_orders.py::test_ib_port_sends_several_legs_as_one_order_and_reads_them_back",
    ),
    Sabotage(
        "combinations kept from a broker that takes none",
        "domain/orders/combo.py",
        "    if BrokerCapability.COMBOS not in capabilities:\n",
        "    if False:\n",
        "tests/domain/orders/test_combo.py::test_a_broker_that_takes_none_is_given_none_and_no_legs_either",
    ),
    Sabotage(
        "a cover that its position does not sell",
        "actors/position/state.py",
        "        if self.is_held_back:\n            return Qty(0)\n",
        "",
        f"{_POSITION}/test_position_legs.py::test_what_covers_is_not_sold_until_its_structure_says_so",
    ),
    Sabotage(
        "shorts that are gone by a word of the broker's newer than the last fill",
        "actors/position/reports.py",
        "    return state.broker_qty is not None and state.is_broker_newer and",
        "    return state.broker_qty is not None and",
        f"{_POSITION}/test_position_legs.py::test_a_short_is_clear_when_the_broker_says_so_after_its_last_fill",
    ),
    Sabotage(
        "a lane that is quiet while its spread is held",
        "actors/spread_lane.py",
        "    if state.under_way is not None or turn.now < state.quiet_until_utc:\n",
        "    if False:\n",
        "tests/actors/test_spread_lane_actor.py::"
        "test_while_a_spread_is_held_nothing_is_looked_for_and_afterwards_it_is_again",
    ),
    Sabotage(
        "both legs in one transaction",
        "storage/reservations.py",
        '        db.execute("ROLLBACK TO legs")\n',
        "        pass\n",
        "tests/storage/test_structure_reservations.py::test_a_contract_that_is_held_leaves_neither_leg_reserved",
    ),
    Sabotage(
        "the margin of the short leg before the cover is bought",
        "actors/risk/structure_entry.py",
        "    attempt = attempt.judged(attempts.money(rules, turn.state.view, attempt, _beside(turn.state, attempt)))\n",
        "",
        "tests/actors/risk/test_structure_entry.py::test_a_margin_that_is_unknown_or_too_great_refuses",
    ),
    Sabotage(
        "at least the worst loss of one order for both legs",
        "domain/risk/structure_attempt.py",
        "margin, cost = max(margin, terms.worst_cents), 0",
        "margin, cost = margin, 0",
        "tests/actors/risk/test_vertical_entry.py::"
        "test_what_is_set_aside_is_the_brokers_figure_or_the_worst_loss_where_it_is_more",
    ),
    Sabotage(
        "UNIQUE reservation",
        "storage/ledger_schema.py",
        "CREATE UNIQUE INDEX one_live_holder",
        "CREATE INDEX one_live_holder",
        "tests/storage/test_reservations.py::test_two_connections_racing_for_one_contract_have_one_winner",
    ),
    Sabotage(
        "reconcile before WARMUP",
        "actors/ibkr/link.py",
        "    start_read(wiring, turn)\n\n\ndef on_link_failed(",
        "    start_read(wiring, turn)\n"
        '    change_mode(wiring, turn, ModeEvent.RECONCILED, "up")\n\n\ndef on_link_failed(',
        f"{_IBKR}/test_ibkr_actor.py::test_first_session_reads_back_reconciles_warms_up_and_goes_live",
    ),
    Sabotage(
        "day lock at the gate",
        "domain/risk/gates/standing.py",
        "    if view.day_locked is not None:\n",
        "    if False:\n",
        "tests/domain/risk/test_gate_table.py::test_the_case_is_refused_and_its_neighbour_is_not",
    ),
    Sabotage(
        "day lock in the ledger",
        "storage/reservations.py",
        "        return refused(RejectCode.DAY_LOCKED, looked_at=found.locked_why)\n",
        "        pass\n",
        "tests/storage/test_reservations.py::test_a_locked_day_refuses_and_cannot_be_unlocked",
    ),
    Sabotage(
        "kill epoch of a permit",
        "actors/ibkr/orders.py",
        " or permit.kill_epoch < state.kill_epoch",
        "",
        f"{_IBKR}/test_ibkr_actor.py::test_entry_is_refused_with_its_code",
    ),
    Sabotage(
        "session epoch of a permit",
        "actors/ibkr/orders.py",
        "    if permit.session_epoch != state.session_epoch:\n",
        "    if False:\n",
        f"{_IBKR}/test_ibkr_actor.py::test_entry_is_refused_with_its_code",
    ),
    Sabotage(
        "min(ledger, broker) in the position",
        "actors/position/state.py",
        "            held = min(held, Qty(self.fills.sign * self.broker_qty))\n",
        "            pass\n",
        f"{_POSITION}/test_position_disputes.py::test_a_part_closed_position_is_sold_as_far_as_the_broker_holds_it",
    ),
    Sabotage(
        "min(ledger, broker) in the broker session",
        "actors/ibkr/orders.py",
        "    if on_sale_qty + qty <= min(held_qty, broker_qty):\n",
        "    if on_sale_qty + qty <= max(held_qty, broker_qty):\n",
        f"{_IBKR}/test_ibkr_actor.py::test_more_than_ledger_and_broker_both_hold_is_never_sold",
    ),
    Sabotage(
        "a second exit order",
        "actors/ibkr/orders.py",
        "    under_way = working_exit(state.table, con_id)\n",
        "    under_way = None\n",
        f"{_IBKR}/test_ibkr_actor.py::test_second_exit_order_of_a_contract_is_refused_while_the_first_works",
    ),
    Sabotage(
        "the flatten time",
        "domain/position/day.py",
        "        (close_utc - rules.flatten_ms * MS, DayMark.FLATTEN),\n",
        "",
        "tests/domain/position/test_position_day.py::test_every_mark_counts_from_the_sessions_own_close",
    ),
    Sabotage(
        "the flatten time of the day's phases",
        "domain/session/calendar.py",
        "        (close_utc - rules.flatten_ms * MS, Phase.FLATTEN),\n",
        "        (close_utc, Phase.FLATTEN),\n",
        f"{_POSITION}/test_position_day.py::"
        "test_the_flatten_time_comes_by_the_positions_own_timer_though_session_never_says_a_word",
    ),
    Sabotage(
        "the port's own checks",
        "gateways/last_check.py",
        "    if command.session_epoch != session_epoch:\n        return RejectCode.PERMIT_SESSION",
        "    return None\n    if command.session_epoch != session_epoch:\n        return RejectCode.PERMIT_SESSION",
        "tests/gateways/ib/test_orders_port.py::test_last_check_keeps_an_order_off_the_socket",
    ),
    Sabotage(
        "the port's kill latch",
        "gateways/last_check.py",
        "    if latch.level > KillLevel.RUNNING or command.kill_epoch < latch.kill_epoch:\n",
        "    if False:\n",
        "tests/gateways/ib/test_orders_port.py::test_kill_latch_stops_entries_and_lets_exits_pass",
    ),
)

# Those that once could be taken out without any of the nearest tests missing them.
SURVIVORS: Final = (
    Sabotage(
        "permit expiry in the broker session",
        "actors/ibkr/orders.py",
        "    if permit is None or turn.now > permit.expires_utc:\n",
        "    if permit is None:\n",
        f"{_IBKR}/test_ibkr_faults.py::test_permit_is_good_until_its_expiry_and_not_a_nanosecond_longer",
    ),
    Sabotage(
        "Cancelled of an order in doubt",
        "actors/ibkr/facts.py",
        "        case OrderStatus.CANCELLED if not is_doubted:\n",
        "        case OrderStatus.CANCELLED:\n",
        f"{_IBKR}/test_ibkr_faults.py::test_cancelled_status_of_an_order_in_doubt_is_not_believed_before_the_read_back",
    ),
    Sabotage(
        "a cancel wanted while in doubt",
        "actors/ibkr/orders.py",
        "order.stage is OrderStage.IN_DOUBT:\n            state.keep(order.marked_for_cancel())\n",
        "order.stage is OrderStage.IN_DOUBT:\n            pass\n",
        f"{_IBKR}/test_ibkr_faults.py::test_cancel_wanted_while_an_order_is_in_doubt_is_sent_when_it_is_found_working",
    ),
    Sabotage(
        "entries found by a read-back under a kill",
        "actors/ibkr/settlement.py",
        " or (is_killed and not order.is_exit)",
        "",
        f"{_IBKR}/test_ibkr_faults.py::test_entry_that_had_ended_and_is_found_working_under_a_kill_level_is_cancelled",
    ),
    Sabotage(
        "a change of an exit in doubt",
        "actors/ibkr/orders.py",
        "    if change.is_exit and (order.stage is OrderStage.IN_DOUBT or not state.allows_exits):\n",
        "    if change.is_exit and not state.allows_exits:\n",
        f"{_IBKR}/test_ibkr_faults.py::test_change_or_growth_of_an_exit_in_doubt_is_held",
    ),
    Sabotage(
        "growth of an exit beyond what is held",
        "actors/ibkr/orders.py",
        "        if more_qty > 0 and _oversell(",
        "        if False and _oversell(",
        f"{_IBKR}/test_ibkr_faults.py::test_growth_of_an_exit_counts_from_the_change_that_was_sent",
    ),
    Sabotage(
        "sells under way in the oversell sum",
        "actors/ibkr/orders.py",
        "selling_qty(state.table, con_id) if is_sell else Qty(0)",
        "Qty(0)",
        f"{_IBKR}/test_ibkr_faults.py::test_sell_order_that_is_no_exit_counts_as_on_sale",
    ),
    Sabotage(
        "frozen data at the gate",
        "domain/risk/gates/quote.py",
        "        if data_type != DataType.LIVE:\n",
        "        if data_type not in (DataType.LIVE, DataType.FROZEN):\n",
        "tests/domain/risk/test_gate_table.py::test_the_case_is_refused_and_its_neighbour_is_not",
    ),
    Sabotage(
        "frozen data in the position",
        "domain/position/exits.py",
        "    return quote.data_type == DataType.LIVE and now",
        "    return now",
        f"{_POSITION}/test_position_market.py::test_a_quote_that_cannot_be_traded_on_stops_nothing_and_the_blind_clock_runs",
    ),
    Sabotage(
        "a stale spot at the gate",
        "domain/risk/gates/quote.py",
        "    if is_over(spot_age_ms, limits.spot_age_max_ms):\n",
        "    if False:\n",
        "tests/domain/risk/test_gate_table.py::test_the_case_is_refused_and_its_neighbour_is_not",
    ),
    Sabotage(
        "a stale spot in the position",
        "domain/position/exits.py",
        " and not is_spot_stale(watch, now, rules):\n        size",
        ":\n        size",
        f"{_POSITION}/test_position_market.py::test_a_stale_underlying_stops_nothing",
    ),
    Sabotage(
        "exit at most what is held when it is sent",
        "actors/position/exit_order.py",
        "min(order.qty, most)",
        "order.qty",
        f"{_POSITION}/test_position_refusals.py::test_never_more_is_sent_than_is_held_when_it_is_sent",
    ),
    Sabotage(
        "an exit held after a refusal",
        "actors/position/exit_order.py",
        "    return turn.now < max(turn.state.retry_utc, turn.state.refused_until_utc)\n",
        "    return False\n",
        f"{_POSITION}/test_position_refusals.py::test_an_exit_held_back_after_a_refusal_is_sent_once_the_pauses_are_over",
    ),
    Sabotage(
        "the position's own look at the kill level",
        "actors/position/entry_order.py",
        "    if state.kill_level >= KillLevel.NO_ENTRIES:\n        is_two",
        "    if False:\n        is_two",
        f"{_POSITION}/test_position_day.py::test_no_entry_leaves_under_a_kill_level",
    ),
    Sabotage(
        "the position's own look at the hour",
        "actors/position/entry_order.py",
        "        if phase in NO_ENTRIES:\n            is_closed",
        "        if False:\n            is_closed",
        f"{_POSITION}/test_position_day.py::test_no_entry_leaves_outside_the_positions_own_window",
    ),
    Sabotage(
        "the position's own look at a halt",
        "actors/position/entry_order.py",
        "    if state.is_halted:\n        return RejectCode.HALTED",
        "    if False:\n        return RejectCode.HALTED",
        f"{_POSITION}/test_position_market.py::test_no_entry_starts_during_a_halt",
    ),
    Sabotage(
        "the port's deadline",
        "gateways/last_check.py",
        "    if (late_ms := (now - order.deadline_utc) // MS) > 0:\n",
        "    if (late_ms := 0) > 0:\n",
        "tests/gateways/ib/test_orders_port.py::test_last_check_keeps_an_order_off_the_socket",
    ),
    Sabotage(
        "the port's session epoch",
        "gateways/last_check.py",
        "    if command.session_epoch != session_epoch:\n        return RejectCode.PERMIT_SESSION",
        "    if False:\n        return RejectCode.PERMIT_SESSION",
        "tests/gateways/ib/test_orders_port.py::test_last_check_keeps_an_order_off_the_socket",
    ),
    Sabotage(
        "the port's pace",
        "gateways/ib/orders_port.py",
        "        if not session.has_room():\n",
        "        if False:\n",
        "tests/gateways/ib/test_orders_port.py::test_entries_do_not_queue_behind_the_pace_but_exits_still_go",
    ),
    Sabotage(
        "the port's good-till",
        "gateways/last_check.py",
        "    if till is not None and till <= now:\n",
        "    if False:\n",
        "tests/gateways/ib/test_broker_cases.py::test_order_whose_good_till_has_passed_never_leaves",
    ),
    Sabotage(
        "the REST port's check where its connection stands",
        "gateways/tastytrade/orders_port.py",
        "body, check=partial(self._check, session, command),",
        "body,",
        f"{_REST}::test_a_kill_that_comes_while_the_connection_is_made_stops_the_entry",
    ),
    Sabotage(
        "an exit at a REST broker that only closes",
        "gateways/tastytrade/bodies.py",
        "    if order.is_exit:\n",
        "    if False:\n",
        f"{_REST}::test_an_exit_never_sells_what_is_not_held",
    ),
    Sabotage(
        "the doubt about an order whose answer never came",
        "gateways/tastytrade/orders_port.py",
        '            self._doubt(session, ref, 0, f"{error}; it may have arrived")\n',
        "            session.refs_used.discard(ref)\n",
        f"{_REST}::test_an_order_without_an_answer_is_in_doubt_found_and_never_sent_again",
    ),
    Sabotage(
        "the look at the orders that the stream does not tell of",
        "gateways/tastytrade/orders_port.py",
        "                is_good = await self._look_once(session)\n",
        "                is_good = True\n",
        f"{_REST}::test_a_fill_that_the_stream_does_not_tell_is_found_all_the_same",
    ),
    Sabotage(
        "the port's duplicate reference",
        "gateways/ib/orders_port.py",
        "        if fault is None and order.order_ref in session.by_ref:\n",
        "        if False:\n",
        "tests/gateways/ib/test_orders_port.py::test_a_reference_goes_out_once",
    ),
    Sabotage(
        "which read-back the ledger answers",
        "actors/ibkr/settlement.py",
        " and fact.read_n == read.read_n:",
        ":",
        f"{_IBKR}/test_ibkr_faults.py::test_late_answer_of_the_ledger_is_not_taken_for_one_about_a_newer_read_back",
    ),
    Sabotage(
        "level 1 for what cannot be closed",
        "actors/position/watchers.py",
        "        state.is_stuck_told = True\n        reports.raise_kill(turn, text)\n",
        "        state.is_stuck_told = True\n",
        f"{_POSITION}/test_position_refusals.py::"
        "test_whoever_holds_and_cannot_close_raises_level_one_once_and_overrules_nobody_who_lowers_it",
    ),
    Sabotage(
        "the currency of a fee",
        "gateways/ib/orders_session.py",
        " if currency == CURRENCY else None",
        "",
        "tests/gateways/ib/test_broker_cases.py::test_a_fee_in_another_currency_is_not_known_and_keeps_its_words",
    ),
    Sabotage(
        "entries taken back by a clean stop",
        "commands/live.py",
        "            is_sure = are_entries_withdrawn or self._withdraw_entries()\n",
        "            is_sure = True\n",
        "tests/commands/test_clean_stop_live.py::test_a_clean_stop_leaves_no_entry_at_work_at_the_broker",
    ),
)
ALL: Final = (*TABLE, *SURVIVORS)


def find(name: str) -> Sabotage:
    """Return the row of this name."""
    return next(row for row in ALL if row.name == name)


def plant(row: Sabotage) -> None:
    """Have the module imported without its guard.

    Raises:
        LookupError: the text is not there exactly once; the row must follow the code.
    """
    text = (ROOT / row.file).read_text()
    if text.count(row.was) != 1:
        raise LookupError(f"{row.name}: {row.was!r} stands {text.count(row.was)} times in {row.file}")
    changed = text.replace(row.was, row.becomes)
    sys.meta_path.insert(0, ChangedModule(row.file, compile(changed, str(ROOT / row.file), "exec", dont_inherit=True)))


def main(name: str, *options: str) -> int:
    """Take the guard out and return what pytest says to it: 1 where the named test fails.

    A guard that is not found is no failed test: that returns `NOT_FOUND`, which pytest never does.
    """
    row = find(name)
    try:
        plant(row)
    except LookupError as error:
        print(error)
        return NOT_FOUND
    quiet_hypothesis()
    return int(pytest.main(["-q", "-p", "no:cacheprovider", *options, *row.test.split()]))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
