"""What the dashboard got wrong once."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.testkit import web_desk as desk
from tests.testkit.supervisor_child import eventually
from tests.testkit.web_child import Desk


@pytest.mark.slow
def test_a_ledger_that_is_not_read_yet_is_not_a_desk_that_holds_nothing(tmp_path: Path) -> None:
    """A resumed desk with an open position said `[]` and 0 positions until its ledgers were read."""
    desk.write_desk(tmp_path)
    ledger = tmp_path / "ledgers" / "paper.db"
    whole = ledger.read_bytes()
    ledger.write_bytes(b"cannot be read now" * 400)
    made = Desk(tmp_path, desk.settings(tmp_path), run_n=2)
    try:
        made.feed.start()
        with httpx.Client(base_url=made.url, timeout=60) as page:
            assert page.get("/api/positions").status_code == 503
            assert page.get("/api/status").json()["open_positions"] is None
            ledger.write_bytes(whole)
            eventually(lambda: page.get("/api/positions").status_code == 200)
            (held,) = page.get("/api/positions").json()
            assert (held["contract"], held["qty"], held["entry_price"]) == ("SPXW 6015C", 2, 5.0)
            assert page.get("/api/status").json()["open_positions"] == 1
    finally:
        made.close()
