"""`top`: what is wrong, risk and positions stand in any window; the newest lines take what is left."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from actors.position.state import PositionData
from actors.risk.state import RiskState
from actors.structure import StructureData, Told
from commands.cli import main
from commands.desk_facts import DeskFacts, Held, desk_facts
from commands.logbook import Entry
from commands.requests import answer as answer_to
from commands.top import screen
from config.settings import load_settings
from domain.alarm import Severity
from domain.instants import MINUTE
from domain.instruments import DataType, Quote, Side, Spot
from domain.orders.intent import OrderLeg
from domain.position.cycle import PositionState
from domain.position.exits import MarketWatch
from domain.position.fills import Fills, FillTotals, with_fill
from domain.risk.closed import closed_today
from domain.risk.day import Closed
from domain.risk.desk_view import DeskView, Funds, Holding
from domain.risk.kill import KillLevel
from domain.session.modes import Mode
from domain.session.phases import Phase
from domain.structure.saga import Leg, Saga, SagaState
from domain.units import Cents, Qty, Ticks, Utc
from messages.structures import ReservedLeg
from tests.testkit import ledger_asks as ask
from tests.testkit.spread_ledger import SPY
from tests.testkit.toys import stepped, toy_tree

SETTINGS = load_settings(profile="demo")
NOW = Utc(ask.T0 + 5 * MINUTE)
HELD = Held(
    contract="SPXW 5890P", state="open", qty=2, cost_ticks=1_960.0, bid_ticks=2_070, ask_ticks=2_090,
    unrealised_cents=24_000, nearest="take_profit", left=0.9, wanted="",
)  # fmt: skip
FACTS = DeskFacts(
    at_utc=NOW, desk="paper", trading_mode="paper", phase="entry", mode="FULLY_LIVE", kill_level=0, locked=None,
    nav_cents=30_000_000, realised_cents=-145, unrealised_cents=24_000, exit_fees_cents=290,
    unmarked=0, total_cents=23_565, soft_stop_cents=-450_000,
    hard_stop_cents=-600_000, trades=1, wins=0, streak=1, streak_max=3, positions_max=3, held=(HELD,),
)  # fmt: skip
PROCESS = {"at_utc": NOW, "uptime_s": 61, "latched": None, "ended": None, "trace_failed": None}
ENTRIES = [
    Entry("2026-11-20", f"10:{n:02}:00", Severity.INFO, "entry", f"line {n} of a text that is longer than a window")
    for n in range(40)
]


def shown(width: int = 80, height: int = 24, process: dict[str, Any] | None = None, **changes: Any) -> list[str]:
    facts = msgspec.to_builtins(msgspec.structs.replace(FACTS, **changes))
    return screen({"process": PROCESS | (process or {}), "desk": facts}, ENTRIES, width, height)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 12), (120, 50), (60, 20)])
def test_it_fits_the_window_and_risk_and_positions_stand(width: int, height: int) -> None:
    lines = shown(width, height)
    assert max(map(len, lines)) <= width
    assert len(lines) <= height
    text = " ".join(" ".join(lines).split())
    for part in (
        "10:05:00 New York", "entries allowed", "FULLY_LIVE", "kill 0 (running)", "Day P&L +235.65 USD",
        "stop -6,000 USD (6,235.65 USD away)", "open 1 of 3", "losses in a row 1 of 3",
        "SPXW 5890P 2 19.60 20.70 20.90",
    ):  # fmt: skip
        assert part in text


def test_at_80_by_24_nothing_of_risk_or_positions_is_cut() -> None:
    assert not [line for line in shown()[:8] if line.endswith("…")]


def test_lines_of_another_day_are_no_news() -> None:
    of_before = Entry("2026-11-19", "15:00:00", Severity.HIGH, "alarm", "yesterday's trouble")
    facts = msgspec.to_builtins(FACTS)
    assert "trouble" not in "".join(screen({"process": PROCESS, "desk": facts}, [of_before, *ENTRIES[:2]], 80, 24))


def test_refusals_of_shadows_push_no_line_out() -> None:
    shadow = Entry(
        "2026-11-20", "10:41:00", Severity.INFO, "reject", "Refused: VANNA_UNWIND QQQ 10:40:30: shadow_signal"
    )
    real = Entry("2026-11-20", "10:42:00", Severity.INFO, "reject", "Refused: GAMMA_FLIP SPX 10:41:30: loss_streak (3)")
    lines = screen({"process": PROCESS, "desk": msgspec.to_builtins(FACTS)}, [*ENTRIES, *[shadow] * 30, real], 80, 24)
    assert not [line for line in lines if "shadow_signal" in line]
    assert "loss_streak" in lines[-1]
    assert "line 39" in lines[-2]


def test_the_newest_lines_are_kept_where_there_is_little_room() -> None:
    assert shown(height=14)[-1].startswith("10:39:00  entry   line 39")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kill_level": 2}, "kill 2 (FLATTEN)"),
        ({"kill_level": None}, "kill level not known"),
        ({"mode": None}, "mode not known"),
        ({"locked": "daily_loss"}, "LOCKED for the day: daily_loss"),
        ({"hard_stop_cents": None}, "stop not known yet"),
        ({"unmarked": 1}, "1 of unknown worth left out"),
        ({"nav_cents": None}, "NAV not known"),
        ({"held": ()}, "No position is open."),
        ({"held": (msgspec.structs.replace(HELD, wanted="premium_stop"),)}, "CLOSING: premium stop"),
        ({"held": (msgspec.structs.replace(HELD, state="pending"),)}, "entry works"),
        ({"held": (msgspec.structs.replace(HELD, left=None, bid_ticks=None),)}, "not known"),
        ({"process": {"latched": "kill crashed"}}, "until it is started again: The kill switch failed"),
    ],
    ids=str,
)
def test_what_is_wrong_or_not_known_is_said(changes: dict[str, Any], said: str) -> None:
    assert said in "\n".join(shown(**changes))


def test_an_alarm_is_in_plain_words_and_whole_with_what_to_do() -> None:
    text = "[read:position:paper:7] ledger:paper has not said what it knows of position:paper:7"
    alarm = Entry("2026-11-20", "10:43:00", Severity.HIGH, "alarm", text)
    lines = screen({"process": PROCESS, "desk": msgspec.to_builtins(FACTS)}, [*ENTRIES, alarm], 80, 24)
    assert max(map(len, lines)) <= 80
    said = " ".join(" ".join(lines).split())
    assert said.endswith(
        "10:43:00 alarm HIGH: The ledger does not answer what is on record of the position in contract 7. It is asked"
        " again: look at the disk, and restart if this lasts."
    )


def test_a_desk_whose_risk_actor_is_down_says_so() -> None:
    lines = screen({"process": PROCESS, "desk": None}, ENTRIES, 80, 24)
    assert "The risk actor is down" in lines[1]


def host(risk: RiskState | None, position: PositionData | None = None) -> Any:
    cells = {}
    if risk is not None:
        cells["risk:paper"] = SimpleNamespace(is_up=True, state=risk)
    if position is not None:
        cells["position:paper:1"] = SimpleNamespace(is_up=True, state=position)
    return SimpleNamespace(cells=cells, clock=SimpleNamespace(now_utc=lambda: NOW))


VIEW = DeskView(
    session=ask.DAY, phase=Phase.ENTRY, close_utc=Utc(ask.T0 + 360 * MINUTE), kill_level=KillLevel.RUNNING,
    mode=Mode.FULLY_LIVE, funds=Funds(Cents(30_000_000), Cents(30_000_000), None, NOW),
    start_nav_cents=Cents(30_000_000),
    closed=closed_today((Closed("p0", "gexwatch", Cents(-5_000), Cents(290), NOW),)),
    holdings=(
        Holding(
            ref=ask.position_ref(1), qty=Qty(2), cost_cents=Cents(100_000), is_pending=False,
            unrealised_cents=Cents(2_000), marked_utc=NOW, realised_cents=Cents(-130),
        ),
    ),
)  # fmt: skip


def position() -> PositionData:
    quote = Quote(1, Ticks(505), Ticks(515), 9, 9, NOW, DataType.LIVE)
    return PositionData(
        cycle=PositionState.OPEN, ref=ask.position_ref(1), opened_utc=ask.T0, watch=MarketWatch(ask.T0, quote=quote),
        fills=with_fill(Fills(), FillTotals(ask.ref(1), Side.BUY, Qty(2), 1_000)),
    )  # fmt: skip


def test_the_desk_is_read_from_the_actors_states() -> None:
    facts = desk_facts(host(RiskState(view=VIEW), position()), SETTINGS)
    assert facts is not None
    assert (facts.phase, facts.mode, facts.kill_level, facts.trades, facts.wins, facts.streak) == (
        "entry", "FULLY_LIVE", 0, 1, 0, 1,
    )  # fmt: skip
    assert (facts.realised_cents, facts.unrealised_cents, facts.unmarked) == (-5_130, 2_000, 0)
    assert facts.total_cents == -5_130 + 2_000 - facts.exit_fees_cents, "the parts add up"
    assert facts.exit_fees_cents > 0


def test_what_a_position_of_unknown_worth_may_cost_is_no_part_of_the_days_result() -> None:
    unknown = msgspec.structs.replace(VIEW.holdings[0], unrealised_cents=None)
    facts = desk_facts(host(RiskState(view=msgspec.structs.replace(VIEW, holdings=(unknown,)))), SETTINGS)
    assert facts is not None
    assert (facts.total_cents, facts.unrealised_cents, facts.exit_fees_cents, facts.unmarked) == (-5_130, 0, 0, 1)


def test_the_legs_of_a_structure_are_one_trade() -> None:
    legs = tuple(
        Closed(name, "spread", Cents(cents), Cents(290), NOW, structure_id="s1")
        for name, cents in (("p1", 9_000), ("p2", -4_000))
    )
    facts = desk_facts(host(RiskState(view=msgspec.structs.replace(VIEW, closed=closed_today(legs)))), SETTINGS)
    assert facts is not None
    assert (facts.trades, facts.wins) == (1, 1)


def test_a_position_shows_what_its_actor_knows() -> None:
    facts = desk_facts(host(RiskState(view=VIEW), position()), SETTINGS)
    assert facts is not None
    (held,) = facts.held
    assert (held.contract, held.qty, held.cost_ticks, held.bid_ticks, held.ask_ticks) == (
        "SPXW 6005C",
        2,
        500.0,
        505,
        515,
    )
    assert held.nearest
    assert held.left is not None
    assert 0 <= held.left <= 1


SHORT = ask.position_ref(2, contract=SPY, side=Side.SELL, structure_id="s1")
COVER = ask.position_ref(1, structure_id="s1")
LEGS = (
    Holding(ref=COVER, qty=Qty(1), cost_cents=Cents(25_000), is_pending=False, unrealised_cents=Cents(5_000),
            marked_utc=NOW),
    Holding(ref=SHORT, qty=Qty(10), cost_cents=Cents(-160_000), is_pending=False, unrealised_cents=Cents(-20_000),
            marked_utc=NOW),
)  # fmt: skip


def structure(state: SagaState) -> StructureData:
    legs = tuple(
        ReservedLeg(ref, OrderLeg(
            contract=ref.contract, side=ref.side, qty=holding.qty, limit_ticks=Ticks(250), order_ref=ask.ref(n)
        ))
        for n, (ref, holding) in enumerate(zip((COVER, SHORT), LEGS, strict=True), 1)
    )  # fmt: skip
    told = tuple(Told(250.0, Cents(-400), Cents(400), holding.unrealised_cents, NOW) for holding in LEGS)
    saga = Saga(cover=Leg(Qty(1)), short=Leg(Qty(10)), ratio=10, state=state)
    return StructureData(
        structure_id="s1", saga=saga, legs=legs, told=told, spot=Spot("SPY", Ticks(60_250), NOW),
        close_utc=Utc(ask.T0 + 360 * MINUTE),
    )  # fmt: skip


def spread_facts(state: SagaState) -> DeskFacts:
    of_spread = host(RiskState(view=msgspec.structs.replace(VIEW, holdings=LEGS)))
    of_spread.cells["structure:paper:K"] = SimpleNamespace(is_up=True, state=structure(state))
    facts = desk_facts(of_spread, SETTINGS)
    assert facts is not None
    return facts


def test_the_legs_of_a_spread_show_its_exits_and_what_they_have_come_to_together() -> None:
    facts = spread_facts(SagaState.HELD)
    assert [(held.qty, held.nearest) for held in facts.held] == [(1, "position_loss"), (-10, "position_loss")]
    (found,) = facts.structures
    assert (found.legs, found.pnl_cents) == (("SPXW 6005C", "SPY 600C"), -15_800)
    answer = {"process": PROCESS, "desk": msgspec.to_builtins(facts)}
    said = " ".join(" ".join(screen(answer, [], 80, 24)).split())
    assert (
        "Together -158.00 USD: loss of both legs -500.00 USD (68% left) assignment risk SPY 610.00 (75% left)"
        " end of day 15:45" in said
    )
    assert max(len(line) for line in screen(answer, [], 80, 24)) <= 80


def test_a_spread_that_opens_or_closes_has_no_exits_to_wait_for() -> None:
    facts = spread_facts(SagaState.SELLING)
    assert (facts.structures, [held.left for held in facts.held]) == ((), [None, None])


def test_a_position_whose_actor_is_gone_shows_what_risk_knows() -> None:
    facts = desk_facts(host(RiskState(view=VIEW)), SETTINGS)
    assert facts is not None
    (held,) = facts.held
    assert (held.qty, held.unrealised_cents, held.bid_ticks, held.left) == (2, 2_000, None, None)


def test_without_its_risk_actor_there_are_no_facts() -> None:
    assert desk_facts(host(None), SETTINGS) is None


def test_a_running_supervisor_answers_for_the_screen() -> None:
    runtime = stepped(toy_tree(log=[]))
    answer = answer_to(runtime, threading.Event(), {"do": "desk"}, (), SETTINGS)
    assert answer["process"]["run_n"] == runtime.run_n
    assert screen(answer, ENTRIES, 80, 24)[1].startswith("The risk actor is down")


def test_a_supervisor_of_another_version_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("commands.top.request", lambda *_: {"error": "'desk' is no request"})
    assert main(["--data", str(tmp_path), "top"]) == 3
    assert "main.py status --watch" in capsys.readouterr().err


def test_without_a_supervisor_the_screen_is_not_entered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path), "top"]) == 3
    said = capsys.readouterr()
    assert (said.out, "No supervisor runs" in said.err) == ("", True)
