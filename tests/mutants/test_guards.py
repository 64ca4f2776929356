"""The table of guards follows the code: each one stands where its row says, once."""

from __future__ import annotations

import pytest

from tests.mutants import sabotage
from tests.mutants.rooms import ROOT
from tests.mutants.sabotage import ALL, NOT_FOUND, Sabotage, main


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.name)
def test_every_guard_stands_once_where_its_row_says(row: Sabotage) -> None:
    assert (ROOT / row.file).read_text().count(row.was) == 1
    assert row.becomes != row.was


def test_a_guard_that_is_not_found_is_not_taken_for_one_that_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Sabotage("gone", ALL[0].file, "a line that nobody wrote", "", ALL[0].test)
    monkeypatch.setattr(sabotage, "ALL", (gone,))
    assert main("gone") == NOT_FOUND
