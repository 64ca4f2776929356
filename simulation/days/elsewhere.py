"""What simulated days seldom or never reach, each with a test that does (`tests/simulation/days/test_elsewhere.py`).

An edge is named with a test that takes it: of an actor's history where there is one, else of the machine's own table.
"""

from __future__ import annotations

from typing import Final

_IBKR: Final = "tests/actors/ibkr/test_ibkr_actor.py::test"
_FAULTS: Final = "tests/actors/ibkr/test_ibkr_faults.py::test"
_POSITION: Final = "tests/actors/position/test_position"
_RISK: Final = "tests/actors/risk/test_risk"
_PORT: Final = "tests/gateways/ib/test_orders_port.py::test"
_GATE: Final = "tests/domain/risk/test_gate_table.py::test_the_case_is_refused_and_its_neighbour_is_not"
_ORDERS: Final = (
    "tests/domain/orders/test_modes_and_orders_table.py::"
    "test_every_pair_of_order_stage_and_event_is_a_change_or_ignored_with_a_reason"
)
_MODES: Final = (
    "tests/domain/orders/test_modes_and_orders_table.py::"
    "test_every_pair_of_mode_and_event_is_a_change_or_ignored_with_a_reason"
)
_LEG: Final = "tests/domain/orders/test_live_order.py::test_every_pair_is_a_transition_ignored_with_a_reason_or_raises"
_CYCLE: Final = (
    "tests/domain/position/test_position_cycle.py::"
    "test_every_pair_is_a_transition_or_ignored_with_a_reason_and_never_both"
)
_SWITCH: Final = "tests/domain/session/test_desk_switch.py::test_every_pair_is_a_change_or_ignored_with_a_reason"
_SAGA: Final = "tests/domain/structure/test_saga.py::test_every_event_is_known_in_every_state"
_SPREAD: Final = "tests/actors/risk/test_structure_entry.py::test"
# A spread: what only a late report, a loss of the cover, or the session's end in the midst of it brings about.
_SAGA_SELDOM: Final = (
    ("RESERVED", ("cover_failed", "exit_wanted", "cover_found", "short_found", "session_closed")),
    ("BUYING_COVER", ("cover_failed", "exit_wanted", "short_found", "session_closed")),
    ("SELLING", ("cover_lost", "session_closed")),
    ("ENTERING", ("session_closed",)),
    ("HELD", ("cover_lost", "session_closed")),
    ("LEAVING", ("session_closed",)),
    ("BUYING_BACK", ("all_gone", "session_closed")),
    ("RELEASING", ("short_found", "cover_failed", "session_closed")),
    ("SETTLING", ("cover_failed", "all_gone")),
    ("CLOSED", ("short_found", "cover_found")),
    ("ABANDONED", ("short_found", "cover_found")),
)
_COMES_BACK: Final = f"{_FAULTS}_exit_that_was_given_up_and_comes_back_after_its_position_was_closed_is_cancelled"
_SHORT: Final = f"{_POSITION}_disputes.py::test_a_short_that_no_fill_explains_is_bought_back_too"

FAULTS_ELSEWHERE: Final[dict[str, str]] = {}
EDGES_ELSEWHERE: Final[dict[str, str]] = {
    # A person's switch of a strategy, which wants a second desk.
    "MODES WARMUP -> stood_down": f"{_MODES}[WARMUP-stood_down]",
    "MODES FULLY_LIVE -> stood_down": f"{_MODES}[FULLY_LIVE-stood_down]",
    # A switch: a desk or the ledger that does not answer in time, and what is found held at the second look alone.
    "SWITCHES holding -> overdue": f"{_SWITCH}[holding-overdue]",
    "SWITCHES reconciling -> not_flat": f"{_SWITCH}[reconciling-not_flat]",
    "SWITCHES reconciling -> overdue": f"{_SWITCH}[reconciling-overdue]",
    "SWITCHES recording -> overdue": f"{_SWITCH}[recording-overdue]",
    "SWITCHES withdrawing -> withdrawn": f"{_SWITCH}[withdrawing-withdrawn]",
    # The order session's own table: an answer that overtakes the word that the bytes have left.
    "ORDERS handed -> refused": f"{_ORDERS}[handed-refused]",
    "ORDERS handed -> doubted": f"{_ORDERS}[handed-doubted]",
    "ORDERS handed -> ended": f"{_COMES_BACK}[True]",
    "ORDERS handed -> found_working": f"{_IBKR}_query_is_answered_by_a_read_back_that_began_after_it",
    "ORDERS handed -> not_found": f"{_ORDERS}[handed-not_found]",
    "ORDERS working -> not_found": f"{_ORDERS}[working-not_found]",
    "ORDERS missing -> acknowledged": f"{_COMES_BACK}[False]",
    "ORDERS missing -> ended": f"{_IBKR}_late_fill_of_an_order_that_was_given_up_is_recorded_and_told",
    "ORDERS missing -> found_working": f"{_FAULTS}_missing_entry_that_comes_to_life_under_a_kill_is_cancelled",
    "ORDERS ended -> found_working": (
        f"{_FAULTS}_entry_that_had_ended_and_is_found_working_under_a_kill_level_is_cancelled"
    ),
    # A position's own order: news of a reference that an earlier life of the process has sent.
    "LEG_STAGES recording -> doubted": f"{_LEG}[recording-doubted]",
    "LEG_STAGES recording -> settled": f"{_LEG}[recording-settled]",
    "LEG_STAGES recording -> dropped": (
        f"{_POSITION}_refusals.py::test_nothing_is_sent_when_nothing_is_held_any_more_at_the_broker"
    ),
    "LEG_STAGES sent -> found_working": (
        "tests/domain/orders/test_live_order.py::test_a_read_back_at_a_price_that_is_not_ours_drops_the_tier"
    ),
    "LEG_STAGES sent -> dropped": f"{_POSITION}_exit.py::test_exit_held_by_the_session_is_decided_afresh",
    "LEG_STAGES working -> found_working": (
        f"{_POSITION}_exit.py::test_flatten_time_without_a_bid_sends_one_limit_at_the_minimum_tick_and_no_market"
    ),
    "LEG_STAGES cancelling -> found_working": f"{_LEG}[cancelling-found_working]",
    # A slice whose record is overdue, or that is stopped in the moment that the ledger takes.
    "TWAP recording -> stopped": (
        f"{_POSITION}_slices.py::test_silence_of_the_gates_or_of_the_ledger_ends_the_slices[True]"
    ),
    # A position: shorts, fills that no order of this life explains, fills after the close.
    "CYCLE FLAT -> short_found": f"{_SHORT}[True]",
    "CYCLE FLAT -> held_after_all": (
        "tests/incidents/test_estimated_closes.py::test_what_the_broker_holds_after_all_is_watched_again[1]"
    ),
    "CYCLE FLAT -> opening_fill": (
        "tests/incidents/test_position_incidents.py::"
        "test_zombie_a_fill_after_the_entry_was_given_up_is_adopted_and_sold_by_the_rules"
    ),
    "CYCLE FLAT -> closing_fill": (
        f"{_POSITION}_day.py::test_a_fill_of_the_last_second_reported_after_the_settlement_corrects_the_result"
    ),
    "CYCLE PENDING_ENTRY -> closing_fill": f"{_CYCLE}[PENDING_ENTRY-closing_fill]",
    "CYCLE OPEN -> short_found": f"{_SHORT}[False]",
    "CYCLE OPEN -> session_closed": f"{_POSITION}_exit.py::test_kill_after_hours_queues_no_market_order",
    "CYCLE PENDING_EXIT -> opening_fill": (
        f"{_POSITION}_disputes.py::test_kill_level_two_buys_back_what_the_broker_holds_short"
    ),
    "CYCLE PENDING_EXIT -> exit_wanted": f"{_CYCLE}[PENDING_EXIT-exit_wanted]",
    "CYCLE PENDING_EXIT -> short_found": (
        f"{_POSITION}_disputes.py::test_kill_level_two_buys_back_what_the_broker_holds_short"
    ),
    "CYCLE PENDING_EXIT -> session_closed": f"{_POSITION}_day.py::test_an_unknown_settlement_price_is_an_alarm",
    "CYCLE SETTLING -> opening_fill": f"{_CYCLE}[SETTLING-opening_fill]",
    "CYCLE SETTLING -> closing_fill": f"{_CYCLE}[SETTLING-closing_fill]",
    "CYCLE SETTLING -> broker_agreed": (
        f"{_POSITION}_exit.py::test_settled_position_ends_when_the_broker_no_longer_holds_it"
    ),
    **{f"SAGA {state} -> {event}": f"{_SAGA}[{state}-{event}]" for state, events in _SAGA_SELDOM for event in events},
    "ATTEMPT AWAITS_QUOTES -> denied": f"{_SPREAD}_outside_of_its_window_it_is_refused",
    "ATTEMPT AWAITS_WHAT_IF -> denied": (
        f"{_SPREAD}_a_margin_that_is_unknown_or_too_great_refuses[None-missing_input]"
    ),
    "ATTEMPT AWAITS_RESERVATION -> denied": f"{_SPREAD}_the_ledger_has_the_last_word",
    # An attempt whose question is never answered: on these days ports and ledgers always answer, or crash.
    "ENTRY AWAITS_CONTRACTS -> timed_out": f"{_RISK}_actor.py::test_an_attempt_that_waits_holds_up_no_other",
    "ENTRY AWAITS_RESERVATION -> timed_out": (
        f"{_RISK}_with_ledger.py::test_a_reservation_whose_answer_was_lost_is_taken_back"
    ),
}
CODES_ELSEWHERE: Final[dict[str, str]] = {
    # The account of these days is the right one, of paper; a wrong one raises the kill level first.
    "live_not_enabled": f"{_GATE}[live_flag-live_not_enabled--]",
    "not_paper_port": f"{_GATE}[port_and_account-not_paper_port--]",
    "not_paper_account": f"{_GATE}[port_and_account-not_paper_account--]",
    "not_live_port": f"{_GATE}[port_and_account-not_live_port--]",
    "account_mismatch": f"{_GATE}[port_and_account-account_mismatch--0]",
    "mode_data_only": f"{_GATE}[broker_mode-mode_data_only--]",
    # A strategy that holds one position at once is refused for that first; the other days allow eight in all.
    "max_positions": f"{_GATE}[positions_global-max_positions--0]",
    # A loss at its limit locks the day in the same turn.
    "daily_loss": f"{_GATE}[daily_loss-daily_loss--0]",
    # Only a wrong strategy or a wrong choice of ours meets these.
    "long_only": f"{_GATE}[long_only-long_only--]",
    "naked_short": f"{_GATE}[long_only-naked_short--]",
    "wrong_trading_class": f"{_GATE}[contract-wrong_trading_class--]",
    "wrong_right": f"{_GATE}[contract-wrong_right--0]",
    "structure_terms": f"{_SPREAD}_outside_of_its_window_it_is_refused",
    # A premium outside of the bounds is nearly always refused for something else first.
    "premium_bounds": f"{_GATE}[size_and_money-premium_bounds--0]",
    "unknown_contract": f"{_GATE}[contract-unknown_contract--0]",
    "spread_too_wide": f"{_GATE}[spread-spread_too_wide--0]",
    "risk_overlay": f"{_GATE}[size_and_money-risk_overlay--]",
    "buying_power": f"{_GATE}[size_and_money-buying_power--0]",
    "quote_drift": f"{_GATE}[fresh_quote-quote_drift--0]",
    # Refused by whoever sends, when something has changed since the gates: seldom within one instant.
    "attempt_interrupted": f"{_RISK}_day.py::test_an_alert_in_hand_at_a_crash_gets_its_row_when_it_is_stale",
    "exit_oversell": f"{_IBKR}_second_exit_order_of_a_contract_is_refused_while_the_first_works",
    "exit_unreconciled": f"{_FAULTS}_refused_change_says_why",
    "exit_halted": f"{_POSITION}_market.py::test_a_market_order_denied_for_a_halt_that_nobody_told_goes_as_a_limit",
    "permit_expired": f"{_FAULTS}_permit_is_good_until_its_expiry_and_not_a_nanosecond_longer",
    "permit_killed": f"{_POSITION}_entry.py::test_denied_entry_gives_its_reservation_back",
    "permit_session": f"{_GATE}[reservation-permit_session--]",
    "deadline_passed": f"{_FAULTS}_refused_change_says_why",
    "duplicate_ref": f"{_IBKR}_refs_of_earlier_runs_are_never_sent_again",
    "not_connected": (
        f"{_PORT}_half_open_link_is_lost_by_the_heartbeat_and_a_held_order_is_not_written_to_the_next_session"
    ),
}
