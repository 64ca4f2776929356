"""`flatten --direct`: with the supervisor dead, by ledgers and broker, once confirmed; never beside a live one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from commands.cli import main
from commands.folder import Control, DataFolder, write_private
from domain.orders.table import OrderStatus
from messages import broker
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import start_run
from tests.testkit import ledger_asks as ask
from tests.testkit.ibkr_world import World, gateway, orders_port, place
from tests.testkit.tastytrade_world import SECRET, dialled, rest_broker
from tests.testkit.tastytrade_world import place as place_there


class Desk:
    """A real desk that has bought two calls and lost its supervisor, and its data folder."""

    def __init__(self, root: Path, world: World, capsys: pytest.CaptureFixture[str]) -> None:
        self.world = world
        self.folder = DataFolder(root / "data")
        self.folder.make()
        self._capsys = capsys
        self._settings = root / "real.yaml"
        self._settings.write_text(
            f"profile: real\ndata_dir: '{self.folder.root}'\n"
            f"broker: {{gateways: [{{host: 127.0.0.1, port: {world.port}}}], paper_port: {world.port}}}\n"
        )
        start_run(self.folder.ledgers, ("paper",), ask.T0)
        con_id = world.call.con_id
        ledger = DeskLedger(self.folder.ledgers, "paper", run_n=1)
        ledger.open()
        for message in (ask.reserve(1, con_id), ask.execution(1, con_id=con_id)):
            ledger.apply(message, ask.T0)
        ledger.close()
        with orders_port(world) as (port, mailbox):
            port.post(place(world, qty=2))
            mailbox.wait(broker.OrderStatusReported, lambda f: f.status is OrderStatus.FILLED)

    def flatten(self, *more: str) -> tuple[int, str, str]:
        code = main(["--config", str(self._settings), "flatten", "--direct", "--reason", "test", *more])
        said = self._capsys.readouterr()
        return code, said.out, said.err

    @property
    def held(self) -> int:
        world = self.world
        return int(world.do(lambda: world.exchange.position(world.call.con_id).qty))


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    with gateway() as world:
        yield Desk(tmp_path, world, capsys)


def test_what_the_ledger_owns_is_sold_and_the_next_start_is_flat_only(desk: Desk) -> None:
    code, out, err = desk.flatten("--yes")
    assert (code, err, desk.held) == (0, "", 0)
    assert "paper: 2 SPXW" in out
    assert "selling 2 at market" in out
    assert desk.folder.kill_file.read_text().strip() == "2"
    assert "remove" in out.splitlines()[-1]
    again = desk.flatten("--yes")
    assert (again[0], desk.held) == (0, 0)


def test_nobody_is_asked_means_nothing_is_done(desk: Desk) -> None:
    code, _, err = desk.flatten()
    assert (code, desk.held, desk.folder.kill_file.exists()) == (2, 2, False)
    assert "--yes" in err


@pytest.mark.parametrize(("answer", "wanted"), [("n", (1, 2)), ("", (1, 2)), ("yes", (0, 0))])
def test_a_person_is_asked_first(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, answer: str, wanted: tuple[int, int]
) -> None:
    terminal: Any = type("Terminal", (), {"isatty": lambda _: True})()
    monkeypatch.setattr(sys, "stdin", terminal)
    monkeypatch.setattr("builtins.input", lambda _: answer)
    assert (desk.flatten()[0], desk.held) == wanted


@pytest.fixture
def supervisor() -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands for a supervisor which no longer reacts."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield child
    if child.poll() is None:
        os.kill(child.pid, signal.SIGKILL)
    child.wait()


def test_beside_a_live_supervisor_it_is_refused_unless_that_is_pushed_aside(
    desk: Desk, supervisor: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    began = psutil.Process(supervisor.pid).create_time()
    write_private(desk.folder.control, Control(port=1, token="t", pid=supervisor.pid, began=began))
    code, _, err = desk.flatten("--yes")
    assert (code, desk.held, supervisor.poll()) == (3, 2, None)
    assert "--force" in err
    monkeypatch.setattr("commands.direct.STOP_WAIT_S", 0.1)
    code, out, _ = desk.flatten("--yes", "--force")
    assert (code, desk.held) == (0, 0)
    assert "It does not end: killed." in out
    assert supervisor.poll() is not None


def test_a_desk_on_the_rest_broker_is_closed_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEROHOUR_TASTYTRADE_SECRET", SECRET[0])
    monkeypatch.setenv("ZEROHOUR_TASTYTRADE_TOKEN", SECRET[1])
    with rest_broker() as world:
        with dialled(world) as (port, heard):
            port.post(place_there(world))
            heard.wait(broker.OrderStatusReported, lambda f: f.status is OrderStatus.FILLED)
        folder = DataFolder(tmp_path / "data")
        folder.make()
        start_run(folder.ledgers, ("paper",), ask.T0)
        ledger = DeskLedger(folder.ledgers, "paper", run_n=1)
        ledger.open()
        contract = world.call
        for message in (
            ask.reserve(1, legs=(ask.leg(1, contract=contract),)),
            ask.execution(1, con_id=contract.con_id),
        ):
            ledger.apply(message, ask.T0)
        ledger.close()
        settings = tmp_path / "real.yaml"
        settings.write_text(
            f"profile: real\ndata_dir: '{folder.root}'\n"
            f"broker: {{orders: tastytrade,"
            f" tastytrade: {{rest_url: '{world.server.rest_url}', stream_url: 'ws://127.0.0.1:9'}}}}\n"
        )
        code = main(["--config", str(settings), "flatten", "--direct", "--reason", "test", "--yes"])
        said = capsys.readouterr()
        assert (code, said.err, world.do(lambda: world.exchange.position(contract.con_id).qty)) == (0, "", 0)
        assert "sold 2 at 5.00" in said.out
        monkeypatch.delenv("ZEROHOUR_TASTYTRADE_SECRET")
        assert main(["--config", str(settings), "flatten", "--direct", "--reason", "test", "--yes"]) == 3
        assert "Not flattened: broker.orders is tastytrade" in capsys.readouterr().err


def test_without_a_gateway_it_says_so_and_that_it_is_not_flat(desk: Desk) -> None:
    desk.world.run(desk.world.server.stop())
    code, _, err = desk.flatten("--yes")
    assert (code, err.count("\n")) == (3, 1)
    assert err.startswith("Not flattened: no gateway answers")


class TwoDesks:
    """A desk `paper` and a live one, `real`, that has bought two calls at a gateway of its own."""

    def __init__(self, desk: Desk, root: Path) -> None:
        self.folder = desk.folder
        self.settings = root / "two.yaml"
        self.settings.write_text(
            f"profile: real\ndata_dir: '{desk.folder.root}'\n"
            f"desk: other\nbroker: {{gateways: [{{host: 127.0.0.1, port: 9}}], account_env: ZEROHOUR_OTHER}}\n"
            f"desks: {{paper: {{kind: paper, gateways: [{{host: 127.0.0.1, port: {desk.world.port}}}],"
            f" port: {desk.world.port}, account_env: ZEROHOUR_IB_ACCOUNT,"
            " client_ids: {orders: 21, quotes: 22, chains: 23, direct: 29}}}\n"
        )
        start_run(self.folder.ledgers, ("other", "paper"), ask.T0)

    def flatten(self, *more: str) -> int:
        return main(["--config", str(self.settings), "flatten", "--direct", "--reason", "test", "--yes", *more])


def test_a_desk_whose_ledger_cannot_be_read_keeps_no_other_one_open(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = TwoDesks(desk, tmp_path)
    (two.folder.ledgers / "other.db").write_bytes(b"no ledger" * 1000)
    assert (two.flatten(), desk.held) == (3, 0)
    assert capsys.readouterr().err.startswith("Desk other: Not flattened: ")


def test_a_secret_of_one_desk_that_cannot_be_read_keeps_no_other_one_open(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    two = TwoDesks(desk, tmp_path)
    monkeypatch.setenv("ZEROHOUR_OTHER_FILE", str(tmp_path / "is_not_there"))
    assert (two.flatten(), desk.held) == (3, 0)
    assert capsys.readouterr().err.startswith("Desk other: Not flattened: ")


def test_one_of_several_desks_that_is_flattened_leaves_the_others_at_level_1(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = TwoDesks(desk, tmp_path)
    assert (two.flatten("--desk", "paper"), desk.held) == (0, 0)
    assert two.folder.kill_file.read_text().strip() == "1"
    assert (
        "with 1 in it: the next start comes up at kill level 1 (no entries), at every desk." in capsys.readouterr().out
    )


def test_the_flags_of_a_direct_flatten_mean_nothing_to_another(desk: Desk) -> None:
    assert main(["--data", str(desk.folder.root), "flatten", "--reason", "r", "--yes"]) == 2


def test_a_demo_whose_market_is_gone_has_no_broker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path), "flatten", "--direct", "--yes", "--reason", "r"]) == 3
    assert "No demo day is under way" in capsys.readouterr().err
