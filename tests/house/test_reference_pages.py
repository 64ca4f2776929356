"""The generated pages say what the code says: a stale page fails, and so does a page that leaves something out."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from commands import cli
from commands.reference import pages as reference
from config.settings import HERE, load_settings
from domain.risk.reject import RejectCode
from main import Stores, build_tree
from messages.envelope import MESSAGE_TYPES
from simulation.gateway.faults import FaultKind


@pytest.fixture(autouse=True)
def _no_settings_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ZEROHOUR_")]:
        monkeypatch.delenv(name)


def names_in(page: str) -> str:
    return (reference.FOLDER / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(reference.PAGES))
def test_a_page_is_what_the_code_says(name: str) -> None:
    assert names_in(name) == reference.page(name), "stale: run `python -m commands.reference`"


def test_a_stale_and_a_missing_page_are_named(tmp_path: Path) -> None:
    for name in reference.PAGES:
        (tmp_path / name).write_text(reference.page(name), encoding="utf-8")
    assert reference.stale(tmp_path) == []
    (tmp_path / "messages.md").write_text("old", encoding="utf-8")
    (tmp_path / "actors.md").unlink()
    assert reference.stale(tmp_path) == ["messages.md", "actors.md"]


def test_every_reject_code_has_its_row() -> None:
    page = names_in("reject-codes.md")
    assert [code for code in RejectCode if f"| `{code.value}` |" not in page] == []


def test_every_message_has_one_row_with_its_meaning_and_who_sends_and_hears_it() -> None:
    rows = [line.split(" | ") for line in names_in("messages.md").splitlines() if line.startswith("| `")]
    tags = [f"`{kind.__struct_config__.tag}`" for kind in MESSAGE_TYPES]
    assert sorted(row[0].removeprefix("| ") for row in rows) == sorted(tags)
    assert [row[0] for row in rows if len(row) != 5 or not all(cell.strip(" |") for cell in row)] == []


def leaves(values: dict[str, Any]) -> list[str]:
    return [leaf for k, v in values.items() for leaf in (leaves(v) if isinstance(v, dict) else [str(k)])]


def test_every_setting_has_its_row() -> None:
    page = names_in("settings.md")
    values = yaml.safe_load((HERE / "defaults.yaml").read_text(encoding="utf-8"))
    # Strategies and tickers are columns: their rows are the fields, their titles the names.
    assert [name for name in leaves(values) if f"`{name}`" not in page] == []
    assert all(f" {ticker} |" in page for ticker in values["ticker_rules"])


def test_every_actor_of_the_tree_has_its_row() -> None:
    none: Any = None
    shown: Any = object()
    tree = build_tree(load_settings(profile="demo"), Stores(none, none, none, shown, screen=shown), lambda: ())
    page = names_in("actors.md")
    assert [spec.name for spec in tree.children if f"| `{spec.name}` |" not in page] == []


def test_every_command_has_its_heading() -> None:
    action = next(a for a in cli.parser()._actions if isinstance(a, argparse._SubParsersAction))
    page = names_in("commands.md").splitlines()
    assert [name for name in action.choices if f"## {name}" not in page] == []


def test_every_fault_of_the_gateway_has_its_row() -> None:
    page = names_in("faults.md")
    assert [kind for kind in FaultKind if f"| `{kind.value}` |" not in page] == []
