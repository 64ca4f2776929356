"""Several desks in one process, each at an exchange of its own: side by side, apart in trouble, and switched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import simulation.inprocess.broker as simulated
from commands.folder import DataFolder
from commands.report_desks import lines_of, report_of
from commands.tax import chosen_desks
from domain.desks import DeskKind
from domain.instants import SECOND
from domain.position.cycle import ExitReason
from domain.risk.kill import KillLevel
from domain.session.modes import AccountClass, Mode
from domain.signals.spread import SOURCE
from domain.units import Utc
from messages import operator, positions, risk
from simulation.inprocess.port import Login
from storage.desk_kinds import note_kind
from tests.testkit.several_desks import SeveralDesks, settings_of, several_desks

pytestmark = pytest.mark.slow
WARM_S = 70.0  # dial, read-back and the whole warm-up


def begun(folder: Path, **more: Any) -> SeveralDesks:
    """Return a day whose two desks a person has started and whose sessions are fully live."""
    of_settings = {name: more.pop(name) for name in ("desks", "switch_to") if name in more}
    day = several_desks(settings_of(**of_settings), folder, **more)
    day.run(WARM_S)
    day.start_desks("paper", "real")
    return day


def switch(day: SeveralDesks, to: str, origin: str = "", wait_s: float = 10.0) -> Any:
    return day.ask(operator.Switch, wait_s, strategy="gexwatch", from_desk=origin, to_desk=to)


def trades(day: SeveralDesks, desk: str) -> bool:
    return "gexwatch" in (day.state(f"risk:{desk}").traded or ())


def test_two_desks_trade_one_signal_side_by_side_each_in_its_own_account_and_ledger(tmp_path: Path) -> None:
    day = begun(tmp_path, desks=("paper", "real"))
    day.raise_signal(wait_s=60)
    assert day.held("paper") == day.held("real") != {}
    refs = {desk: [row["order_ref"] for row in day.reader(desk).held()] for desk in ("paper", "real")}
    assert [ref.split("-")[1] for desk in refs for ref in refs[desk]] == ["paper", "real"]
    said = [line.text for line in day.lines if line.text.startswith(("paper: Approved", "real: Approved"))]
    assert len(said) == 2, "each line says whose it is"
    assert isinstance(day.ask(operator.Flatten, 60.0), operator.CommandDone)
    assert day.held("paper") == day.held("real") == {}
    assert day.runtime.dead_letters == 0

    note_kind(tmp_path / "ledgers", "paper", DeskKind.PAPER)
    note_kind(tmp_path / "ledgers", "real", DeskKind.LIVE)
    report = report_of(DataFolder(tmp_path), day.settings.demo.session)
    assert [(one.desk, one.kind, one.trades, one.open) for one in report.desks] == [
        ("real", DeskKind.LIVE, 1, 0), ("paper", DeskKind.PAPER, 1, 0),
    ]  # fmt: skip
    (trade,) = report.trades
    assert [leg.desk for leg in trade.legs] == ["real", "paper"]
    assert all(leg.entry_ticks and leg.exit_ticks and leg.net_cents is not None for leg in trade.legs)
    lines = lines_of(report)
    assert [line.split()[:2] for line in lines[3:5]] == [["real", "live"], ["paper", "paper"]]
    assert not any("total" in line.lower() for line in lines), "no line sums kinds of money"
    assert chosen_desks(DataFolder(tmp_path), ()) == ["real"], "tax takes live money alone"


class Shown:
    """A screen that keeps what it is shown: the slots and the facts of each desk (empty: of none)."""

    def __init__(self) -> None:
        self.slots: dict[str, dict[str, Any]] = {}

    def show(self, slot: str, _at_utc: Utc, fact: Any, desk: str = "") -> None:
        self.slots.setdefault(desk, {})[slot] = fact


def test_the_screen_is_shown_whose_each_fact_is(tmp_path: Path) -> None:
    screen = Shown()
    day = begun(tmp_path, desks=("real",), switch_to=(), screen=screen)
    day.raise_signal(wait_s=60)
    day.ports["real"].drop(5 * SECOND)
    day.run(2)
    assert set(screen.slots) == {"", "paper", "real"}
    of_none, of_paper, of_real = (screen.slots[name] for name in ("", "paper", "real"))
    assert {"phase", "hub:classic"} <= set(of_none) and not {"mode", "account", "port"} & set(of_none)
    assert (of_paper["mode"].mode, of_real["mode"].mode) == (Mode.FULLY_LIVE, Mode.DEGRADED)
    assert (of_paper["port"].account_class, of_real["port"].account_class) == (AccountClass.PAPER, AccountClass.LIVE)
    assert any(slot.startswith("position:ZH-real-") for slot in of_real)
    assert not any(slot.startswith("position:") for slot in (*of_paper, *of_none))
    assert "alarm:gateway" in of_real and "alarm:gateway" not in of_paper


def test_a_kill_level_an_outage_and_a_crash_of_one_desk_touch_no_other(tmp_path: Path) -> None:
    day = begun(tmp_path, desks=("paper", "real"))
    answer = day.ask(operator.Kill, 2.0, level=KillLevel.NO_ENTRIES, desk="real")
    assert isinstance(answer, operator.CommandDone)
    assert answer.detail == "Kill level of desk real is 1 (epoch 3)."
    assert (day.state("kill:paper").level, day.state("kill:real").level) == (KillLevel.RUNNING, KillLevel.NO_ENTRIES)
    day.raise_signal(wait_s=60)
    assert day.held("paper") and not day.held("real")
    assert day.reader("real").gate_counts(day.settings.demo.session) == {"kill_switch_l1": 1}

    day.ports["real"].drop(5 * SECOND)
    day.run(2)
    assert day.state("ibkr:real").mode is Mode.DEGRADED
    assert day.state("ibkr:paper").mode is Mode.FULLY_LIVE

    crash(day, "ibkr:real")
    day.run(2)
    assert day.runtime.latched is None and list(day.runtime.latched_groups) == ["real"]
    assert day.state("kill:paper").level is KillLevel.RUNNING
    assert day.held("paper") and day.state("ibkr:paper").mode is Mode.FULLY_LIVE

    flattened = day.ask(operator.Flatten, 30.0, desk="paper")
    assert isinstance(flattened, operator.CommandDone)
    assert not day.held("paper")
    levels = {desk: day.reader(desk).kill() for desk in ("paper", "real")}
    assert {desk: row and row["level"] for desk, row in levels.items()} == {"paper": 2, "real": 1}


def crash(day: SeveralDesks, name: str) -> None:
    """Have an actor of a desk fail on a message."""
    day.runtime.post(name, risk.DayLocked(session=day.settings.demo.session, reason="of no order session"), "edge:test")


def test_a_raise_for_every_desk_is_done_when_each_has_raised(tmp_path: Path) -> None:
    day = begun(tmp_path)
    answer = day.ask(operator.Kill, 2.0, level=KillLevel.NO_ENTRIES)
    assert isinstance(answer, operator.CommandDone)
    assert answer.detail == "Kill level of desk paper is 1 (epoch 3). Kill level of desk real is 1 (epoch 3)."
    refused = day.ask(operator.Resume, 2.0, level=KillLevel.RUNNING)
    assert isinstance(refused, operator.CommandDenied)
    assert refused.detail == "Each desk has a kill level of its own: name one (--desk); there are: paper, real."


def test_a_strategy_is_switched_while_flat_and_stays_switched_over_a_restart(tmp_path: Path) -> None:
    day = begun(tmp_path)
    assert (trades(day, "paper"), trades(day, "real")) == (True, False)
    answer = switch(day, "real")
    assert isinstance(answer, operator.CommandDone), answer
    assert answer.detail == "gexwatch trades at desk real now, no longer at paper; entries follow after the warm-up."
    assert {day.state(f"ibkr:{desk}").mode for desk in ("paper", "real")} == {Mode.WARMUP}, "both have read anew"
    modes = [line.text for line in day.lines if "Order session" in line.text and line.text.startswith("real")][-2:]
    assert [text.split()[3] for text in modes] == ["DATA_ONLY", "WARMUP"]
    day.raise_signal(wait_s=5)
    assert day.reader("real").gate_counts(day.settings.demo.session) == {"mode_warmup": 1}
    assert day.reader("paper").gate_counts(day.settings.demo.session) == {}, "it is no signal of this desk any more"
    day.run(WARM_S)
    day.raise_signal(wait_s=60)
    assert day.held("real") and not day.held("paper")

    refused = switch(day, "paper")
    assert isinstance(refused, operator.CommandDenied)
    assert refused.code == "not_flat"
    assert "gexwatch is not flat at desk real (" in refused.detail
    assert refused.detail.endswith("; nothing was changed.")
    assert (trades(day, "paper"), trades(day, "real")) == (False, True)
    (row,) = day.reader("paper").routes()
    assert (row["strategy"], row["desks"], row["by"], row["reason"]) == ("gexwatch", ["real"], "test", "to see it")
    audited = [(row["name"], row["reason"], row["outcome"]) for row in day.reader("paper").commands()[-2:]]
    assert audited == [
        ("switch", "gexwatch to real: to see it", "done"), ("switch", "gexwatch to paper: to see it", "not_flat"),
    ]  # fmt: skip

    now = day.runtime.clock.now_utc()
    day.runtime.close()
    again = several_desks(day.settings, tmp_path, at_utc=Utc(now + SECOND))
    again.run(2)
    assert (trades(again, "paper"), trades(again, "real")) == (False, True)
    assert again.state("kill:paper").level is KillLevel.RUNNING, "as it went down"


def test_a_desk_that_may_not_trade_gets_no_strategy(tmp_path: Path) -> None:
    unarmed = begun(tmp_path / "unarmed", is_live_armed=False)
    refused = switch(unarmed, "real")
    assert isinstance(refused, operator.CommandDenied)
    assert (refused.code, trades(unarmed, "paper"), trades(unarmed, "real")) == ("unfit", True, False)
    assert "live_not_enabled" in refused.detail

    elsewhere = Login(port=4001, account_class=AccountClass.LIVE, account_matches=False)
    strange = several_desks(settings_of(), tmp_path / "strange", logins={"real": elsewhere})
    strange.run(WARM_S)
    strange.start_desks("paper", "real")
    refused = switch(strange, "real")
    assert isinstance(refused, operator.CommandDenied)
    assert (refused.code, trades(strange, "paper")) == ("unfit", True)
    assert "account_mismatch" in refused.detail


def test_a_desk_that_cannot_be_read_gets_no_strategy_and_the_old_one_goes_on(tmp_path: Path) -> None:
    day = begun(tmp_path)
    day.ports["real"].drop(3600 * SECOND)
    day.run(1)
    refused = switch(day, "real", wait_s=61)
    assert isinstance(refused, operator.CommandDenied)
    assert (refused.code, trades(day, "paper"), trades(day, "real")) == ("silent", True, False)
    assert refused.detail == (
        "No answer of desk real in time, so nothing was changed; look at its session, then try again."
    )
    assert day.reader("paper").routes() == []


def test_what_the_settings_do_not_allow_is_refused_in_a_sentence(tmp_path: Path) -> None:
    day = several_desks(settings_of(switch_to=()), tmp_path)
    day.run(1)
    refused = switch(day, "real", wait_s=1)
    assert isinstance(refused, operator.CommandDenied)
    assert refused.detail == (
        "The settings let gexwatch trade at paper, not at real; name that desk under strategies.gexwatch.switch_to and"
        " start anew."
    )
    unknown = day.ask(operator.Switch, 1.0, strategy="nobody", from_desk="", to_desk="real")
    nowhere = day.ask(operator.Switch, 1.0, strategy="gexwatch", from_desk="", to_desk="other")
    assert isinstance(unknown, operator.CommandDenied) and unknown.code == "unknown_strategy"
    assert isinstance(nowhere, operator.CommandDenied)
    assert nowhere.detail == "There is no desk other; there are: paper, real."


def test_exits_of_other_strategies_leave_at_once_while_one_is_switched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = begun(tmp_path)
    day.raise_signal("advisor", wait_s=60)
    assert day.held("paper")
    monkeypatch.setattr(simulated, "READ_NS", 15 * SECOND)
    assert switch(day, "real", wait_s=1) is None, "both ends are read back first"
    assert {day.state(f"ibkr:{desk}").mode for desk in ("paper", "real")} == {Mode.DATA_ONLY}
    (name,) = (name for name in day.runtime.cells if name.startswith("position:paper:"))
    day.runtime.post(name, positions.FlattenPosition(reason=ExitReason.KILL), "edge:test")
    day.run(5)
    assert not day.held("paper")
    assert day.state("ibkr:paper").mode is Mode.DATA_ONLY
    day.run(15)
    assert (trades(day, "paper"), trades(day, "real")) == (False, True)


SPREADS: dict[str, Any] = {  # whatever the credit, one after the other, soon after the open
    "is_on": True, "is_live_allowed": True, "max_spreads_per_day": 4, "min_entry_credit": 0.0,
    "cooldown_ms": 60_000, "max_position_loss": 5_000.0, "max_daily_loss": 20_000.0, "entry_after_open_ms": 660_000,
    "entry_until_ms": 3_600_000, "spx_spread_max_ticks": 500,
}  # fmt: skip


@pytest.mark.parametrize("name", ["paper", "real"])
def test_the_credit_spread_trades_at_the_desk_of_its_settings_and_at_no_other(tmp_path: Path, name: str) -> None:
    other = "real" if name == "paper" else "paper"
    settings = settings_of(
        desks=(), switch_to=(), tickers=["SPX", "SPY"], spread={**SPREADS, "desk": name, "vertical_width": 10},
        promoted=["CREDIT_VERTICAL-1"],
    )  # fmt: skip
    day = several_desks(settings, tmp_path)
    day.run(WARM_S)
    day.start_desks("paper", "real")
    day.run(240)  # until volatility is known
    held = day.held(name)
    assert sorted(held.values()) == [-1, 1], "what covers, and what it covers"
    assert not day.held(other)
    assert [row["structure_id"] is not None for row in day.reader(name).held()] == [True, True]
    tried = {row["source"] for row in day.reader(other).attempts(settings.demo.session)}
    assert SOURCE not in tried and day.reader(other).held() == []
    (structure,) = (cell for cell in day.runtime.cells if cell.startswith("structure:"))
    assert structure.startswith(f"structure:{name}:")
    assert isinstance(day.ask(operator.Flatten, 60.0, desk=name), operator.CommandDone)
    assert not day.held(name)
    assert day.runtime.dead_letters == 0
