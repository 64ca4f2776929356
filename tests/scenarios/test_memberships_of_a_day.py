"""A person changes what the hubs deliver while a desk runs: asked once, on record, and in force in every actor."""

from __future__ import annotations

from datetime import time
from pathlib import Path

import pytest

from config.settings import load_settings
from domain.instants import SECOND, at_exchange
from domain.units import Utc
from messages import operator
from messages.base import Message
from simulation.day import stepped_day
from storage.queries import LedgerReader

pytestmark = pytest.mark.slow


def test_categories_of_a_running_day_are_changed_by_command_and_refused_where_they_cannot_be(tmp_path: Path) -> None:
    settings = load_settings(profile="demo", overrides={"tickers": ["SPX", "QQQ"]})
    day = stepped_day(settings, tmp_path, shows=False)
    answers: list[Message] = []
    day.runtime.sinks["edge:test"] = answers.append

    def ask(command_id: str, hubs: dict[str, tuple[str, ...]], until: time) -> Message:
        day.runtime.post(
            "operator",
            operator.Memberships(
                command_id=command_id, reply_to="edge:test", by="ann", reason="drill", hubs=hubs,
                expires_utc=Utc(day.runtime.clock.now_utc() + 5 * SECOND),
            ),
            "edge:test",
        )  # fmt: skip
        day.run(at_exchange(settings.demo.session, until))
        return answers[-1]

    try:
        day.run(at_exchange(settings.demo.session, time(9, 32)))
        kept = settings.feed.hubs
        wanted = kept | {"classic": tuple(c for c in kept["classic"] if c != "classic_gex_full")}
        done = ask("m1", wanted, time(9, 34))
        assert isinstance(done, operator.CommandDone)
        assert done.detail == "Left: classic_gex_full."
        cells = day.runtime.cells
        assert cells["hub:classic"].state.categories == wanted["classic"]
        everything = [category for categories in wanted.values() for category in categories]
        assert all(list(cells[f"reading:{ticker}"].state.categories) == everything for ticker in ("SPX", "QQQ"))
        denied = ask("m2", wanted | {"another": ("classic_gex_one",)}, time(9, 35))
        assert isinstance(denied, operator.CommandDenied)
        assert "Hubs come and go with a start: another" in denied.detail
        assert not [name for name, cell in cells.items() if cell.crashes]
    finally:
        day.runtime.close()
    rows = [row for row in LedgerReader(tmp_path / "ledgers", settings.desk).commands() if row["name"] == "memberships"]
    assert [(row["command_id"], row["by"], row["outcome"]) for row in rows] == [
        ("m1", "ann", "done"), ("m2", "ann", "memberships_not_changed"),
    ]  # fmt: skip
