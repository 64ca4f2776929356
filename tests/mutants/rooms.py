"""The rooms whose every comparison and constant is changed once, each with the tests that lie nearest to it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

ROOT: Final = Path(__file__).resolve().parents[2]


class Room(msgspec.Struct, frozen=True):
    """Source files (globs below the repository) and the test folders or files that are to notice a change in them."""

    name: str
    sources: tuple[str, ...]
    tests: tuple[str, ...]

    def files(self) -> list[str]:
        """Return the room's source files, relative to the repository."""
        found = {path for pattern in self.sources for path in ROOT.glob(pattern)}
        return sorted(str(path.relative_to(ROOT)) for path in found if path.name != "__init__.py")


# Most dangerous first: what is believed of orders, then what is held, then what reaches the broker.
ROOMS: Final = (
    Room(
        "domain/orders",
        ("domain/orders/*.py",),
        ("tests/domain/orders", "tests/actors/ibkr", "tests/actors/position"),
    ),
    Room(
        "domain/position",
        ("domain/position/*.py",),
        ("tests/domain/position", "tests/actors/position"),
    ),
    Room(
        "gateways/ib",
        ("gateways/ib/orders_port.py", "gateways/ib/orders_session.py", "gateways/last_check.py"),
        ("tests/gateways/ib", "tests/gateways/test_broker_contract.py"),
    ),
    Room("actors/ibkr", ("actors/ibkr/*.py",), ("tests/actors/ibkr",)),
    Room(
        "actors/position",
        ("actors/position/*.py",),
        ("tests/actors/position", "tests/incidents/test_position_incidents.py"),
    ),
    Room(
        "domain/risk",
        ("domain/risk/**/*.py",),
        ("tests/domain/risk", "tests/actors/risk", "tests/actors/test_kill_and_operator.py"),
    ),
    Room(
        "actors/risk",
        ("actors/risk/*.py",),
        ("tests/actors/risk", "tests/incidents/test_risk_incidents.py"),
    ),
    Room(
        "structure",
        ("domain/structure/*.py", "actors/structure.py"),
        (
            "tests/domain/structure",
            "tests/actors/test_structure_actor.py",
            "tests/actors/test_structure_as_one.py",
            "tests/actors/test_structure_messages.py",
            "tests/actors/test_structure_of_pairs.py",
        ),
    ),
    Room("domain/keyed", ("domain/keyed.py",), ("tests/domain/test_keyed.py",)),
)
