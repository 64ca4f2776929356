"""A process with three desks for the dashboard's tests: `paper` first, live `real` and simulated `model` beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from config.settings import Settings, load_settings
from domain.alarm import Severity
from domain.instants import SECOND
from domain.instruments import Side
from domain.risk.kill import KillLevel
from domain.session.modes import AccountClass, Mode
from domain.units import Cents, Utc
from messages import broker, market, operator, risk, session
from messages.base import Message
from messages.ledgers import DeskInput
from storage.desk_ledger import DeskLedger
from storage.shared_ledger import SharedLedger, start_run
from tests.testkit import ledger_asks as ask
from tests.testkit import web_desk as desk
from tests.testkit.web_child import Desk, actor, served

NAMES = ("paper", "real", "model")
REAL_ACCOUNT, PAPER_ACCOUNT = "U7654321", desk.ACCOUNT
OF_FIRST = frozenset({"mode", "port", "account", "spots:SPX", "quote:3", f"position:{ask.stem(3)}", "alarm:gateway"})


def settings(folder: Path, **web: Any) -> Settings:
    """Settings of the three desks, on any free port."""
    real = {
        "kind": "live", "gateways": [{"host": "127.0.0.1", "port": 4001}], "account_env": "ZEROHOUR_TEST_ACCOUNT",
        "armed_env": "ZEROHOUR_TEST_ARMED", "client_ids": {"orders": 21, "quotes": 22, "chains": 23, "direct": 29},
    }  # fmt: skip
    return load_settings(
        profile="real",
        overrides={
            "data_dir": str(folder), "tickers": ["SPX", "QQQ"], "web": {"rate_per_s": 500.0} | web,
            "warehouse": {"disk_free_min_mb": 1}, "desks": {"real": real, "model": {"kind": "sim"}},
            "strategies": {"gexwatch": {"desks": list(NAMES)}},
            "lanes": {}, "feed": {"hubs": {"classic": ["classic_gex_zero"]}},
        },
    )  # fmt: skip


def write_desks(folder: Path) -> None:
    """Write `paper` as `web_desk` does, a position that `real` holds, and a trade that `model` has closed with gain."""
    ledgers = folder / "ledgers"
    ledgers.mkdir(parents=True)
    start_run(ledgers, NAMES, ask.T0)
    desk.write_desk(folder)
    shared = SharedLedger(ledgers, NAMES, is_durable=False)
    shared.open()
    shared.apply(ask.alert(5), ask.T0)
    for name, level in (("real", KillLevel.RUNNING), ("model", KillLevel.NO_ENTRIES)):
        kill = risk.RecordKill(
            level=level, kill_epoch=1, reason="first start", by="test", at_utc=ask.T0, desk=name
        )  # fmt: skip
        shared.apply(kill, ask.T0)
    shared.close()
    held: tuple[DeskInput, ...] = (
        risk.RecordStartNav(session=ask.DAY, nav_cents=Cents(10_000_000), at_utc=ask.T0),
        ask.reserve(5), ask.execution(5, exec_id="00e5.1"), ask.position(5),
    )  # fmt: skip
    won: tuple[DeskInput, ...] = (
        ask.reserve(1), ask.execution(1, price_ticks=500), ask.position(1), ask.exit_intent(1),
        ask.execution(1, exec_id="x.1", order_ref=ask.ref(1, "x1"), side=Side.SELL, price_ticks=590),
        ask.closed(1, 18_000),
    )  # fmt: skip
    for name, rows in (("real", held), ("model", won)):
        ledger = DeskLedger(ledgers, name, run_n=1, is_durable=False)
        ledger.open()
        for row in rows:
            ledger.apply(row, ask.T0)
        ledger.close()


def facts() -> list[tuple[str, Message, str]]:
    """What a supervisor of the three has pushed by now: slot, fact, desk (empty: of none)."""
    first = [(slot, fact, "paper" if slot in OF_FIRST else "") for slot, fact in desk.facts()]
    quote = next(fact for slot, fact in desk.facts() if slot == "quote:3")
    money = next(fact for slot, fact in desk.facts() if slot == "account")
    assert isinstance(quote, market.QuoteChanged) and isinstance(money, broker.AccountRead)
    live = session.ModeChanged(mode=Mode.FULLY_LIVE, mode_n=3, session_epoch=4, cause="stable", at_utc=desk.NOW)
    lost = session.ModeChanged(mode=Mode.DEGRADED, mode_n=9, session_epoch=5, cause="1100", at_utc=desk.NOW)
    return [
        *first,
        ("mode", live, "real"),
        ("port", session.AccountChecked(port=4001, account_class=AccountClass.LIVE, account_matches=True), "real"),
        ("account", replace(money, nav_cents=Cents(10_000_000)), "real"),
        ("quote:5", replace(quote, con_id=5, quote=replace(quote.quote, con_id=5)), "real"),
        ("spots:SPX", desk.spots(desk.spot_at(desk.LAST), desk.NOW), "real"),
        ("mode", lost, "model"),
        ("alarm:read_back", operator.Alarm(
            key="read_back", severity=Severity.HIGH, text="The broker cannot be read back.",
            at_utc=Utc(desk.NOW - 5 * SECOND),  # the other desks' sessions stand since later
        ), "model"),
        ("alarm:disk", operator.Alarm(
            key="disk", severity=Severity.WARNING, text="Less than 5 GB are free.", at_utc=desk.NOW
        ), ""),
    ]  # fmt: skip


class SeveralShown(Desk):
    """The three desks that are shown: a kill level of each."""

    def __init__(self, folder: Path, settings: Settings, **how: Any) -> None:
        self.kills: dict[str, dict[str, Any]] = {
            f"kill:{name}": {"level": int(name == "model"), "kill_epoch": 1, "reason": "first start", "by": "test"}
            for name in NAMES
        }
        super().__init__(folder, settings, accounts={"real": "U***21"}, **how)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer the control line as a supervisor of several desks does."""
        if request["do"] == "status":
            rows = [actor(f"{kind}:{name}") for name in NAMES for kind in ("risk", "ibkr", "ledger", "kill")]
            found = super().answer(request)
            return found | {"kills": self.kills, "kill": self.kills["kill:paper"], "actors": rows}
        if self.refuse is not None:
            return self.refuse
        self.asked.append(request)
        for name in [request["desk"]] if request.get("desk") else NAMES:
            own = self.kills[f"kill:{name}"]
            level = {"resume": 0, "flatten": 2}.get(request["do"], request.get("level", 1))
            own |= {
                "level": level, "kill_epoch": own["kill_epoch"] + 1, "reason": request["reason"], "by": request["by"]
            }  # fmt: skip
        return {"done": f"{request['do']} was carried out"}

    def push_all(self) -> None:
        """Push what a supervisor has pushed by half past."""
        for slot, fact, name in facts():
            self.feed.show(slot, desk.NOW, fact, name)


@contextmanager
def several_shown(folder: Path, **web: Any) -> Iterator[SeveralShown]:
    """Write and serve the three desks until the end of the block."""
    write_desks(folder)
    with served(SeveralShown(folder, settings(folder, **web))) as made:
        yield made
