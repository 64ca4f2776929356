"""Zerohour's entry, and the only place where the tree of actors is put together."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial

from actors.desk_ledger import DeskLedgerActor
from actors.feed import FeedActor
from actors.hub import HubActor
from actors.ibkr.actor import IbkrActor
from actors.journal import JournalActor
from actors.kill import KillActor
from actors.lane import LaneActor
from actors.ledger import LedgerActor
from actors.notifier import NotifierActor
from actors.operator import OperatorActor
from actors.position.actor import PositionActor
from actors.quotes import QuotesActor
from actors.reading import ReadingActor
from actors.risk.actor import RiskActor
from actors.session import SessionActor
from actors.warehouse import WarehouseActor
from config.settings import Settings
from domain.instants import MS, SECOND
from domain.ports import LedgerStore, WarehouseStore
from supervision.spec import AnyActor, ChildSpec, Template, Tree
from supervision.supervisor import SupervisorActor

ABSENT = ("web",)  # declared roles that nobody has taken yet: telling them is no dead letter


class Stores:
    """What the I/O actors stand on."""

    def __init__(self, ledger: LedgerStore, desk_ledger: LedgerStore, warehouse: WarehouseStore) -> None:
        self.ledger = ledger
        self.desk_ledger = desk_ledger
        self.warehouse = warehouse


def build_tree(
    settings: Settings, stores: Stores, names: Callable[[], Iterable[str]], *, is_live_armed: bool = False
) -> Tree:
    """Put the tree together; `names` gives the addresses there are now (positions come and go)."""
    desk, lanes = settings.desk, tuple(
        (source, ticker) for source, tickers in settings.lanes.items() for ticker in tickers
    )  # fmt: skip
    shared, own = "ledger", f"ledger:{desk}"
    seal_ns, poll_ns = settings.warehouse.seal_every_ms * MS, round(settings.rate * SECOND)

    def child(name: str, make: Callable[[str], AnyActor], restore: str | None = None, vital: bool = False) -> ChildSpec:
        return ChildSpec(name, partial(make, name), restore, vital)

    tree = Tree(
        children=(
            child("supervisor", lambda name: SupervisorActor(name, tree, settings.supervision, settings.rate)),
            child(shared, lambda name: LedgerActor(name, stores.ledger)),
            child(own, lambda name: DeskLedgerActor(name, stores.desk_ledger)),
            child("kill", lambda name: KillActor(name, settings), shared, vital=True),
            child("journal", JournalActor),
            child("notifier", lambda name: NotifierActor(name, settings)),
            child("operator", lambda name: OperatorActor(name, settings)),
            child("warehouse", lambda name: WarehouseActor(name, stores.warehouse, seal_ns, poll_ns, poll_ns // 4)),
            child(f"risk:{desk}", lambda name: RiskActor(name, settings, is_live_armed), own),
            child(f"ibkr:{desk}", lambda name: IbkrActor(name, settings), own, vital=True),
            child(f"quotes:{desk}", lambda name: QuotesActor(name, settings)),
            *(
                child(f"lane:{source}:{ticker}", lambda name: LaneActor(name, settings), shared)
                for source, ticker in lanes
            ),
            *(child(f"reading:{ticker}", lambda name: ReadingActor(name, settings)) for ticker in settings.tickers),
            *(child(f"hub:{hub}", lambda name: HubActor(name, settings)) for hub in settings.feed.hubs),
            child("feed", lambda name: FeedActor(name, settings)),
            child("session", lambda name: SessionActor(name, settings)),
        ),
        templates=(Template(f"position:{desk}:", lambda name: PositionActor(name, settings), own),),
        route=routes(settings, names),
        seeds=((own, f"positions:{desk}"),),
    )
    return tree


def routes(settings: Settings, names: Callable[[], Iterable[str]]) -> Callable[[str, str], tuple[str, ...]]:
    """Map roles to addresses: one desk, so a role of the desk is the same for every sender."""
    desk = settings.desk
    lanes = {f"lanes:{ticker}": () for ticker in settings.tickers} | {
        f"lanes:{ticker}": tuple(
            f"lane:{source}:{ticker}" for source, tickers in settings.lanes.items() if ticker in tickers
        )
        for ticker in settings.tickers
    }
    table: dict[str, tuple[str, ...]] = {
        **lanes,
        **{name: (name,) for name in ("kill", "journal", "session", "ledger", "warehouse", "feed", "operator")},
        **{name: (name,) for name in ("notifier", "supervisor")},
        **{name: (f"{name}:{desk}",) for name in ("risk", "ibkr", "quotes")},
        **dict.fromkeys(ABSENT, ()),
        # Until outcomes are followed, what would be followed stands on record with the journal.
        "outcomes": ("journal",),
        "desk_ledger": (f"ledger:{desk}",),
        "hubs": tuple(f"hub:{hub}" for hub in settings.feed.hubs),
        "readings": tuple(f"reading:{ticker}" for ticker in settings.tickers),
        "lanes": tuple(sorted({lane for found in lanes.values() for lane in found})),
    }
    prefix = f"position:{desk}:"

    def route(_sender: str, role: str) -> tuple[str, ...]:
        if role == "positions":
            return tuple(sorted(name for name in names() if name.startswith(prefix)))
        return table[role]

    return route


if __name__ == "__main__":
    from commands.cli import main

    sys.exit(main(sys.argv[1:]))
