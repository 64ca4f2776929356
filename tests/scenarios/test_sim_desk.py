"""A desk whose orders are filled in this process, from the quotes of a gateway, beside the desk that trades there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands.report_desks import lines_of, report_of
from domain.desks import DeskKind
from storage.queries import LedgerReader
from tests.testkit.gateway_desks import ENVIRONMENT, GatewayDesks
from tests.testkit.gateway_world import SESSION
from tests.testkit.ibkr_world import World
from tests.testkit.supervisor_child import eventually

pytestmark = pytest.mark.slow
MODEL = {"model": {"kind": "sim", "sim": {"nav_usd": 100_000, "cross_share": 2.0, "size_share": 0.1, "latency_ms": 50}}}


@pytest.fixture
def desks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GatewayDesks]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with contextlib.ExitStack() as stack:
        world = World()
        stack.callback(world.close)
        made = GatewayDesks(tmp_path, MODEL, {"paper": world}, desks=["paper", "model"])
        stack.callback(made.close)
        yield made


def test_a_sim_desk_fills_from_the_quotes_of_the_gateway_and_pays_more_than_was_quoted(desks: GatewayDesks) -> None:
    desks.start()
    for desk in ("paper", "model"):
        assert desks.call("resume", "--desk", desk, "--reason", "first start") == 0
    eventually(lambda: desks.can_enter("paper") and desks.can_enter("model"))
    ledgers = desks.folder.ledgers

    def bought(desk: str) -> list[int]:
        return [row["price_ticks"] for row in LedgerReader(ledgers, desk).executions(SESSION) if row["side"] == "BUY"]

    def asked(desk: str) -> set[int]:
        """Return the limits of the entries at work."""
        ledger = LedgerReader(ledgers, desk)
        refs = [row["order_ref"] for row in ledger.held() if row["state"] == "PENDING_ENTRY"]
        return {event["price_ticks"] for ref in refs for event in ledger.order_events(ref)}

    # Either desk may refuse a signal on a busy machine; a limit that is not there yet would follow the quote down.
    desks.signal_until(lambda: bought("paper") and 510 in asked("model"))
    assert bought("paper") == [510], "5.00 at 5.10 was quoted"
    assert bought("model") == [], "twice the half spread from the mid is 5.15: nobody sells at the limit of 5.10"
    desks.paper.do(lambda: desks.paper.market.set(desks.paper.market.call, 490, 500))
    eventually(lambda: bought("model"))
    assert bought("model") == [510], "a dime above what was quoted"
    assert len(desks.held("paper")) == 1, "nothing of it reached the gateway"

    desks.close()
    desks.start()  # the book of the simulated exchange is there again, and agrees with the ledger
    assert [row["net_qty"] for row in LedgerReader(ledgers, "model").held()] == [1]
    assert desks.state("kill:model").reason.startswith("clock step"), "of the test's clock: nothing is disputed"
    assert desks.call("flatten", "--reason", "the end of the test") == 0
    eventually(lambda: all(not LedgerReader(ledgers, desk).held() for desk in ("paper", "model")))
    report = report_of(desks.folder, SESSION)
    assert [(day.desk, day.kind, day.trades) for day in report.desks] == [
        ("paper", DeskKind.PAPER, 1), ("model", DeskKind.SIM, 1),
    ]  # fmt: skip
    # Two trades of one leg where a busy machine had one desk refuse the signal that the other one took.
    filled = [leg for trade in report.trades for leg in trade.legs if leg.entry_ticks is not None]
    assert sorted((leg.desk, leg.entry_ticks) for leg in filled) == [("model", 510), ("paper", 510)]
    said = "\n".join(lines_of(report))
    assert "paper" in said and "model" in said
