"""Every setting has a range, a form or an enumeration; what does not fit is refused in one sentence with its path."""

from __future__ import annotations

import copy
import os
from dataclasses import is_dataclass
from datetime import date, time
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_origin

import pytest
import yaml

from config.checks import Leaf, all_leaves
from config.settings import HERE, Settings, SettingsError, load_settings
from domain.ranges import Checked, Form, Range

LISTS: dict[str, Any] = {  # what is empty in the defaults, so that its leaves are walked too
    "broker": {"foreign_allowed": ["SPY", 756733]},
    "day": {"closed_dates": ["2025-01-09"]},
    "promoted": ["GAMMA_FLIP-1"],
    "demo": {"market_folder": "data"},
    "feed": {"folder": "data"},
    "entry": {"daily_loss_max_cents": 100_000},
    "exits": {"learned": {"version": 1, "take": 0.4, "hold_ms": 900_000}},
    "spread": {"ex_dividend_dates": ["2026-12-18"]},
    "desks": {"model": {"kind": "sim", "quotes_of": "paper", "sim": {"nav_usd": 300_000}}},
    "strategies": {"gexwatch": {"desks": ["paper"], "switch_to": ["model"]}},
}
WRONG: tuple[Any, ...] = (float("nan"), float("inf"), -float("inf"), -1, 10**30, "x y", True, [], None)
FOLDERS = ("data_dir", "demo.market_folder", "feed.chain.folder", "feed.folder")  # take any name


def _files_alone(cls: type[Settings], settings_cls: Any, *, init_settings: Any, **_: Any) -> tuple[Any, ...]:
    """Read no environment: to find it empty takes a third of a loading, and there are thousands here."""
    return (init_settings,)


@pytest.fixture(autouse=True)
def _no_settings_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ZEROHOUR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(Settings, "settings_customise_sources", classmethod(_files_alone))


def full() -> Settings:
    return load_settings(profile="demo", overrides=LISTS)


def is_bounded(kind: Any, marks: tuple[Any, ...]) -> bool:
    if kind in (bool, NoneType, date, time) or get_origin(kind) is Literal:
        return True
    if is_dataclass(kind):
        return True  # its leaves are walked where it is given: these are client ids, as `broker` has them
    return (isinstance(kind, type) and issubclass(kind, Enum)) or any(
        isinstance(mark, Range | Form) or (isinstance(mark, Checked) and bool(mark.why)) for mark in marks
    )


ALL = list(all_leaves(Settings, full()))
KEYS = [leaf for leaf in ALL if leaf.path.rpartition(".")[2] == str(leaf.value)]  # the names of rows
LEAVES = [leaf for leaf in ALL if leaf not in KEYS]


@pytest.mark.parametrize("leaf", [*LEAVES, *KEYS], ids=lambda leaf: leaf.path)
def test_every_leaf_is_bounded_or_says_why_not(leaf: Leaf) -> None:
    assert [kind for kind, marks in leaf.arms if not is_bounded(kind, marks)] == []


def test_the_walk_sees_every_leaf_of_the_file() -> None:
    def paths(value: Any, path: str) -> list[str]:
        if isinstance(value, dict):
            return [p for k, v in value.items() for p in paths(v, f"{path}.{k}" if path else str(k))]
        if isinstance(value, list):
            return [p for n, v in enumerate(value) for p in paths(v, f"{path}.{n}")]
        return [path]

    written = yaml.safe_load((HERE / "defaults.yaml").read_text(encoding="utf-8"))
    written["kill"]["spread_norm"] = {f"{clock}:00": norm for clock, norm in written["kill"]["spread_norm"].items()}
    walked = {leaf.path for leaf in LEAVES}
    sections = {leaf.path.rpartition(".")[0] for leaf in LEAVES}  # null in the file, and given in LISTS
    assert [path for path in paths(written, "") if path not in walked | sections] == []


def with_leaf(tree: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return the tree with one leaf changed; what lies beside its path is shared."""

    def changed(at: Any, names: list[str]) -> Any:
        if not names:
            return value
        copied = copy.copy(at)
        key = int(names[0]) if isinstance(at, list) else names[0]
        copied[key] = changed(at[key], names[1:])
        return copied

    return dict(changed(tree, path.split(".")))


TREE = full().model_dump(mode="json")


@pytest.mark.parametrize("leaf", [leaf for leaf in LEAVES if leaf.path != "profile"], ids=lambda leaf: leaf.path)
def test_what_no_leaf_may_hold_is_refused_with_its_path(leaf: Leaf) -> None:
    kinds = {kind for kind, _ in leaf.arms}
    is_null_free = NoneType in kinds or leaf.path == "exits.disaster_stop"
    wrong = [value for value in WRONG if not (value is None and is_null_free) and not (value is True and bool in kinds)]
    for value in wrong:
        if value == "x y" and leaf.path in FOLDERS:
            continue
        if any(isinstance(mark, Range) and mark.holds(value) for _, marks in leaf.arms for mark in marks):
            continue  # thresholds of either sign
        with pytest.raises(SettingsError) as refused:
            load_settings(profile="demo", overrides=with_leaf(TREE, leaf.path, value))
        said = str(refused.value)
        assert leaf.path in said or leaf.path.rpartition(".")[0] in said, (leaf.path, value, said)
        assert "\n" not in said


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.path)
def test_a_range_ends_where_it_says(leaf: Leaf) -> None:
    for _, marks in leaf.arms:
        for mark in marks:
            if isinstance(mark, Range):
                assert mark.holds(mark.most)
                assert mark.holds(mark.least) is not mark.is_open
                assert not mark.holds(mark.least - 1)
                assert not mark.holds(mark.most * 2 + 1)


def test_the_sentence_says_path_value_and_what_may_stand(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("entry: {risk_nav: .nan}", encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        load_settings(path)
    assert "entry.risk_nav: must be above 0 and at most 1 (given: 'nan')" in str(refused.value)
    assert refused.value.findings == {"entry.risk_nav": "must be above 0 and at most 1 (given: 'nan')"}
