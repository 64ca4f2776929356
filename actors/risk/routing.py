"""Which strategies this desk trades, where the process has several; `router` says so.

A signal of another desk's strategy is no signal here: it makes no row. Nothing is taken before the router has spoken.
"""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from actors.risk.state import Held, RiskState
from domain.risk.gates.standing import armed, right_account
from domain.risk.gates.types import DeskRules
from messages import desks, session
from supervision.turn import Turn


def start(turn: Turn[RiskState], *, is_one_of_several: bool) -> None:
    """Ask what this desk trades; until the answer it trades nothing. One that is alone trades everything."""
    if is_one_of_several:
        turn.state.traded = frozenset()
        turn.tell("router", desks.RequestRoutes(reply_to=turn.name))


def hear(rules: DeskRules, turn: Turn[RiskState], message: desks.RouteChanged | desks.HoldStrategy) -> None:
    """Take the router's word."""
    match message:
        case desks.RouteChanged():
            on_route(rules, turn, message)
        case desks.HoldStrategy():
            on_hold(rules, turn, message)
        case _:
            assert_never(message)


def trades(state: RiskState, strategy: str) -> bool:
    """Return whether this desk trades a strategy now."""
    return state.traded is None or strategy in state.traded


def on_route(rules: DeskRules, turn: Turn[RiskState], route: desks.RouteChanged) -> None:
    """Take over where a strategy trades."""
    known = turn.state.traded or frozenset()
    turn.state.traded = known | {route.strategy} if rules.desk in route.desks else known - {route.strategy}
    if turn.state.held_for is not None and turn.state.held_for.strategy == route.strategy:
        turn.state.held_for = None


def on_hold(rules: DeskRules, turn: Turn[RiskState], asked: desks.HoldStrategy) -> None:
    """Take no signal of the strategy any more, and answer; where it is wanted, once the broker has been read."""
    state = turn.state
    state.traded = (state.traded or frozenset()) - {asked.strategy}
    state.held_for = Held(asked.switch_n, asked.strategy, asked.reconciles, turn.now)
    if asked.reconciles:
        why = f"{asked.strategy} is being switched"
        turn.tell("ibkr", session.RequestReconcile(why=why, stands_down=True))
        return
    answer(rules, turn, state.held_for)


def on_reconciled(rules: DeskRules, turn: Turn[RiskState], finished: session.ReconcileFinished) -> None:
    """Answer the switch that waits for the broker's word; what was read before it was asked is not that."""
    held_for = turn.state.held_for
    if held_for is None or not held_for.is_reconciling:
        return
    if finished.is_complete and finished.read_utc >= held_for.asked_utc:
        turn.state.held_for = replace(held_for, is_reconciling=False)
        answer(rules, turn, held_for)


def answer(rules: DeskRules, turn: Turn[RiskState], held_for: Held) -> None:
    """Say what is held or awaited of the strategy, and why this desk may not trade where it may not."""
    state, strategy = turn.state, held_for.strategy
    held = [f"{holding.qty} {holding.contract.label}" for holding in state.view.holdings
            if holding.ref.strategy == strategy]  # fmt: skip
    wanted = [*(attempt.intent for attempt in state.attempts), *(attempt.intent for attempt in state.structures)]
    held += [f"an attempt on {intent.alert_id}" for intent in wanted if intent.strategy == strategy]
    report = desks.StrategyHeld(
        switch_n=held_for.switch_n, desk=rules.desk, is_reconciled=held_for.is_reconciling, held=", ".join(held),
        unfit=unfit(rules, state),
    )  # fmt: skip
    turn.report("router", report)


def unfit(rules: DeskRules, state: RiskState) -> str:
    """Return why the desk may not trade at all, as its gates judge it; empty where it may."""
    findings = (armed(rules), right_account(rules, state.view.account))
    return "; ".join(f"{found.code.value}: {found.looked_at}" for found in findings if found.code is not None)
