"""A paper desk and a live-armed one in one supervisor, each at a simulated gateway of its own over real sockets."""

from __future__ import annotations

import contextlib
import fcntl
import queue
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from commands import live
from commands.cli import CommandError
from domain.desks import DeskKind
from domain.session.modes import Mode
from messages.operator import Announce
from storage.desk_kinds import kinds
from storage.desk_ledger import DeskLedger
from storage.queries import LedgerReader
from storage.shared_ledger import start_run
from supervision.clock import MarketClock, Segment, real_ns
from tests.testkit import ledger_asks as ask
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


def test_a_desk_that_cannot_start_is_left_out_while_another_one_holds_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with contextlib.ExitStack() as stack:
        worlds = {"paper": World(), "real": World(account="U7654321")}
        for world in worlds.values():
            stack.callback(world.close)
        beside = {"real": live_beside(worlds["real"]), "model": {"kind": "sim"}}
        desks = GatewayDesks(tmp_path, beside, worlds, desks=["paper"], switch_to=["real"])
        stack.callback(desks.close)
        folder, clock = desks.folder, MarketClock(Segment(real_ns(), desks.paper.clock.now_utc()))
        folder.make()
        start_run(folder.ledgers, ("paper", "real", "model"), ask.T0)
        ledger = DeskLedger(folder.ledgers, "paper", run_n=1)
        ledger.open()
        ledger.apply(ask.reserve(1), ask.T0)
        ledger.close()
        (folder.ledgers / "real.db").write_bytes(b"no ledger" * 1000)
        book = stack.enter_context(folder.sim_book("model").open("ab"))
        fcntl.flock(book, fcntl.LOCK_EX)  # as another process would
        desks.running = running = live.start(
            desks.settings, folder, clock, desks.settings.broker.gateways, desks.settings.feed.negotiate_url,
            threading.Event(),
        )  # fmt: skip
        assert running.left_out == {"real", "model"}
        eventually(lambda: desks.mode("paper") is Mode.FULLY_LIVE)
        said: list[str] = []
        for desk in ("real", "model"):
            eventually(partial(_has_said, running.console, said, f"Desk {desk} has not started"))
            assert desks.mode(desk) is not Mode.FULLY_LIVE
        assert not running.runtime.latched


def _has_said(console: queue.SimpleQueue[Announce], said: list[str], what: str) -> bool:
    while not console.empty():
        said.append(console.get().text)
    return any(what in text for text in said)
