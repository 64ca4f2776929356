"""What is made once a run of the tests: by the process that asks first, while the others wait."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.testkit.once import made_once


def factory_of(run: Path, worker: str) -> Any:
    """Return the factory of temporary folders of one process of a run."""
    folder = run / worker
    folder.mkdir()
    return SimpleNamespace(getbasetemp=lambda: folder)


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    return [factory_of(tmp_path, worker) for worker in ("gw0", "gw1")]


def test_whoever_asks_meanwhile_waits_and_finds_it_whole(two: list[Any]) -> None:
    begun, go, found = threading.Event(), threading.Event(), list[str]()

    def make(folder: Path) -> None:
        begun.set()
        assert go.wait(60)
        (folder / "day").write_text("whole")

    def ask(factory: Any) -> None:
        found.append((made_once(factory, "made", make) / "day").read_text())

    first = threading.Thread(target=ask, args=(two[0],))
    first.start()
    assert begun.wait(60)
    begun.clear()
    second = threading.Thread(target=ask, args=(two[1],))
    second.start()
    go.set()
    first.join(60)
    second.join(60)
    assert found == ["whole", "whole"]
    assert not begun.is_set(), "the second one made nothing"


def test_what_one_could_not_finish_is_made_afresh(two: list[Any]) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        made_once(two[0], "made", fail)
    folder = made_once(two[1], "made", lambda made: (made / "whole").touch())
    assert [path.name for path in folder.iterdir()] == ["whole"]


def test_without_other_processes_it_lies_in_the_folder_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    alone = factory_of(tmp_path, "alone")
    assert made_once(alone, "made", lambda made: None) == tmp_path / "alone" / "made"
