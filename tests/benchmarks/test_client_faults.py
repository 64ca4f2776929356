"""The table of clients and faults: every fault stands in it, and what goes wrong is not called right."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks import client_faults
from benchmarks.client_faults import Case, cases, table
from simulation.gateway.faults import Fault, FaultKind

OURS = "ib_insync 0.9.86"


def test_every_fault_of_the_gateway_has_a_case_and_each_case_its_own_name() -> None:
    every = cases()
    assert {fault.kind for case in every for fault in case.faults} == set(FaultKind)
    assert len({case.what for case in every}) == len(every)


@pytest.mark.slow
def test_what_a_client_said_is_told_and_what_it_could_not_read_or_hear_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by_name = {case.what: case for case in cases()}
    cut_off, pacing = by_name["field, a message cut off"], by_name["pacing"]
    rejected = by_name["order_rejected"]
    silent = Fault(FaultKind.ORDER_SILENCE, args={"reaches": True})
    wanted = [
        rejected,
        cut_off,
        Case("declared readable", cut_off.faults, cut_off.steps),
        pacing,
        Case("declared no cut", pacing.faults, pacing.steps),
        Case("never told", (silent,), rejected.steps.replace("hear code 201", "hear code 999")),
    ]

    async def play() -> list[list[str]]:
        rows = await table([OURS], wanted[:-1])
        monkeypatch.setattr(client_faults, "WITHIN_S", 5.0)
        return [*rows, *await table([OURS], wanted[-1:])]

    said = dict(asyncio.run(play()))
    # What the gateway still says once the awaited code was heard may come in time for the table, or not.
    assert said["order_rejected"].startswith("ok: Inactive, Cancelled, 201")
    assert said["field, a message cut off"].startswith("ok: cannot be read (")
    assert said["declared readable"].startswith("**protocol error: ")
    assert said["pacing"] == "ok: 100, gone, let in again"
    assert said["declared no cut"] == "**dropped**"
    assert said["never told"] == "**no code 999**"
