"""A paper desk and a live-armed one in one supervisor, each at a simulated gateway of its own over real sockets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands.cli import CommandError
from domain.desks import DeskKind
from storage.desk_kinds import kinds
from storage.queries import LedgerReader
from tests.testkit.gateway_desks import ENVIRONMENT, GatewayDesks, live_beside
from tests.testkit.ibkr_world import World
from tests.testkit.supervisor_child import eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def desks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GatewayDesks]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with contextlib.ExitStack() as stack:
        worlds = {"paper": World(), "real": World(account="U7654321")}
        for world in worlds.values():
            stack.callback(world.close)
        beside = {"real": live_beside(worlds["real"])}
        made = GatewayDesks(tmp_path, beside, worlds, desks=["paper"], switch_to=["real"])
        stack.callback(made.close)
        yield made


def test_a_strategy_moves_from_the_paper_desk_to_the_armed_one_but_not_while_something_is_held(
    desks: GatewayDesks, capsys: pytest.CaptureFixture[str]
) -> None:
    desks.start()
    assert desks.call("resume", "--reason", "first start") == 2
    assert "name one with --desk; there are: paper, real." in capsys.readouterr().err
    for desk in ("paper", "real"):
        assert desks.call("resume", "--desk", desk, "--reason", "first start") == 0
    eventually(lambda: desks.can_enter("paper") and desks.can_enter("real"))

    desks.trade_at("paper")
    assert desks.held("real") == []
    eventually(lambda: LedgerReader(desks.folder.ledgers, "paper").held()[0]["net_qty"])

    capsys.readouterr()
    assert desks.call("switch", "gexwatch", "real", "--reason", "live from today") == 1
    assert "gexwatch is not flat at desk paper (" in capsys.readouterr().err
    assert desks.call("flatten", "--desk", "paper", "--reason", "to move") == 0
    eventually(lambda: not desks.held("paper"))
    eventually(lambda: not desks.state("risk:paper").view.holdings)
    assert (desks.state("kill:paper").level, desks.state("kill:real").level) == (2, 0)

    capsys.readouterr()
    assert desks.call("switch", "gexwatch", "real", "--reason", "live from today") == 0
    assert "gexwatch trades at desk real now, no longer at paper" in capsys.readouterr().out
    eventually(lambda: desks.can_enter("real"))
    desks.trade_at("real")
    assert desks.held("paper") == []

    assert desks.call("flatten", "--reason", "the end of the test") == 0
    assert "desk paper is 2" in (said := capsys.readouterr().out) and "desk real is 2" in said
    eventually(lambda: not desks.held("real"))
    desks.close()
    ledgers = desks.folder.ledgers
    assert kinds(ledgers) == {"paper": DeskKind.PAPER, "real": DeskKind.LIVE}
    assert [row["desks"] for row in LedgerReader(ledgers, "paper").routes()] == [["real"]]


def test_a_desk_without_its_account_or_its_arming_starts_nothing(
    desks: GatewayDesks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZEROHOUR_REAL_ARMED")
    with pytest.raises(CommandError) as refused:
        desks.start()
    assert str(refused.value) == (
        "Desk real is live, but this run is not armed: set ZEROHOUR_REAL_ARMED=yes if you mean it."
    )
    monkeypatch.setenv("ZEROHOUR_REAL_ARMED", "yes")
    monkeypatch.setenv("ZEROHOUR_REAL_ACCOUNT", "DU1234567")
    with pytest.raises(CommandError) as refused:
        desks.start()
    assert str(refused.value) == (
        "Desk real and desk paper have one account: ZEROHOUR_REAL_ACCOUNT names the same; give each its own."
    )
    monkeypatch.delenv("ZEROHOUR_REAL_ACCOUNT")
    with pytest.raises(CommandError) as refused:
        desks.start()
    assert str(refused.value) == "Desk real has no account: set ZEROHOUR_REAL_ACCOUNT to its number, then start."
