"""Housekeeping beside trading: what is due is begun once, a fault is said once, and a missed backup is an alarm."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import date, time
from pathlib import Path
from typing import Any

import pytest

from commands.folder import DataFolder
from commands.housekeeping import Child, Housekeeper
from config.settings import load_settings
from config.tree import Backup
from domain.alarm import Severity
from domain.instants import MINUTE, at_exchange
from domain.session.backups import due_since, is_due, is_overdue
from domain.units import Utc
from messages.operator import Alarm
from storage.shared_ledger import start_run

SETTINGS = load_settings(profile="real")
DAY = date(2026, 11, 20)
HOUR = 60 * MINUTE


class FakeClock:
    """Stands where it is put."""

    now = at_exchange(DAY, time(12))

    def now_utc(self) -> Utc:
        return self.now


class FakeChild:
    """A command that ends as it is told."""

    def __init__(self, arguments: Sequence[str], ends: list[str | None]) -> None:
        self.arguments = arguments
        self._ends = ends

    def poll(self) -> str | None:
        return self._ends.pop(0)

    def stop(self) -> None:
        """Nothing runs."""


class House:
    """A housekeeper with its alarms and its children."""

    def __init__(self, root: Path, *, archive_to: str = "", **backup: Any) -> None:
        rules = Backup(**(dataclasses.asdict(SETTINGS.backup) | backup))
        warehouse = dataclasses.replace(SETTINGS.warehouse, archive_to=archive_to)
        self.folder = DataFolder(root)
        self.folder.make()
        start_run(self.folder.ledgers, ("paper",), Utc(1))
        self.alarms: list[tuple[str, Severity]] = []
        self.children: list[FakeChild] = []
        self.ends: list[str | None] = []
        self.clock = FakeClock()
        settings = SETTINGS.model_copy(update={"backup": rules, "warehouse": warehouse})
        self.keeper = Housekeeper(settings, self.folder, self.clock, self._tell, self._run)

    def _tell(self, alarm: Alarm) -> None:
        self.alarms.append((alarm.key, alarm.severity))

    def _run(self, arguments: Sequence[str]) -> FakeChild:
        self.children.append(FakeChild(arguments, self.ends))
        return self.children[-1]

    def look(self, at: Utc) -> list[Sequence[str]]:
        """Return the commands of children that this look began."""
        before = len(self.children)
        self.clock.now = at
        self.keeper.look()
        return [child.arguments[2:] for child in self.children[before:]]


def at(hour: int, day: int = 20) -> Utc:
    return at_exchange(date(2026, 11, day), time(hour))


def made(root: Path, day: int) -> None:
    path = root / "target" / "backups" / f"202611{day}T221500Z.age"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def test_the_days_backup_is_begun_once_and_again_after_a_failure(tmp_path: Path) -> None:
    target = str(tmp_path / "target")
    made(tmp_path, 19)
    house = House(tmp_path / "data", targets=(target,))
    assert house.look(at(12)) == []
    house.ends += [None, "disk full"]
    assert house.look(at(18)) == [["backup", "--to", target]]
    assert house.look(at(18)) == []
    assert house.alarms == []
    assert house.look(at(18)) == []
    assert house.alarms == [("copy:backup", Severity.HIGH)]
    begun = [house.look(at(18)) for _ in range(10)]
    assert [one for one in begun if one] == [[["backup", "--to", target]]]
    house.ends += [""]
    made(tmp_path, 20)
    assert house.look(at(19)) == []
    assert house.alarms[-1] == ("copy:backup", Severity.INFO)


def test_a_missed_backup_is_an_alarm_once_and_so_is_its_end(tmp_path: Path) -> None:
    target = str(tmp_path / "target")
    house = House(tmp_path / "data", targets=(target,))
    key = f"backup_overdue:{target}"
    house.ends += [None] * 20
    house.look(at(12))
    assert house.alarms == []
    house.look(at(15, 21))
    house.look(at(16, 21))
    assert house.alarms == [(key, Severity.HIGH)]
    made(tmp_path, 21)
    house.look(at(18, 21))
    assert house.alarms == [(key, Severity.HIGH), (key, Severity.INFO)]


def test_finished_days_are_archived_once_a_day_after_the_session(tmp_path: Path) -> None:
    house = House(tmp_path / "data", archive_to="/somewhere")
    assert house.look(at(12)) == []
    ((command, *words),) = house.look(at(18))
    assert command == "archive" and "--prune" in words and words[words.index("--ticks-days") + 1] == "7"
    house.ends += [""]
    assert house.look(at(19)) == []
    assert len(house.look(at(18, 21))) == 1


def test_mirror_and_second_copy_follow_the_ledgers_and_a_fault_is_said_once(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    house = House(tmp_path / "data", copy_to=str(copy))
    copy.write_text("in the way")
    house.look(at(12))
    house.look(at(12))
    assert (tmp_path / "data" / "mirror" / "runs.parquet").exists()
    assert house.alarms == [("copy:second_copy", Severity.HIGH)]
    copy.unlink()
    house.look(at(12))
    assert house.alarms[-1] == ("copy:second_copy", Severity.INFO)
    assert (copy / "ledgers" / "paper.db").exists()


def test_a_child_says_why_it_failed(tmp_path: Path) -> None:
    child = Child(["--data", str(tmp_path / "none"), "backup", "--to", str(tmp_path / "target")])
    child._process.wait(300)
    said = child.poll()
    assert said is not None and "ZEROHOUR_BACKUP_RECIPIENT" in said


@pytest.mark.parametrize(
    ("now", "since"), [(at(12), (19, 17)), (at(17), (20, 17)), (at(23), (20, 17)), (at(0, 21), (20, 17))]
)
def test_a_backup_is_of_the_day_whose_hour_has_come(now: Utc, since: tuple[int, int]) -> None:
    day, hour = since
    assert due_since(now, time(17)) == at(hour, day)
    assert is_due(None, now, time(17))
    assert is_due(Utc(at(hour, day) - 1), now, time(17))
    assert not is_due(at(hour, day), now, time(17))


def test_a_backup_that_never_was_is_missed_after_the_same_time() -> None:
    hours = 26 * 3_600_000
    assert not is_overdue(None, at(12), Utc(at(12) + 26 * HOUR), hours)
    assert is_overdue(None, at(12), Utc(at(12) + 26 * HOUR + 1), hours)
    assert is_overdue(at(12), at(9, 21), Utc(at(12) + 27 * HOUR), hours)
