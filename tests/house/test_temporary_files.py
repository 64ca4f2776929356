"""Where tests write: in memory, where it has the room and nobody has named another place."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import folder_of_temporary_files

MORE_THAN_THERE_IS = 1 << 62


def test_tests_write_in_memory_where_it_has_the_room(tmp_path: Path) -> None:
    assert folder_of_temporary_files({}, tmp_path, 1) == tmp_path
    assert folder_of_temporary_files({}, tmp_path, MORE_THAN_THERE_IS) is None
    assert folder_of_temporary_files({}, tmp_path / "absent", 1) is None


def test_whoever_has_named_a_place_is_obeyed(tmp_path: Path) -> None:
    assert folder_of_temporary_files({"TMPDIR": "elsewhere"}, tmp_path, 1) is None
