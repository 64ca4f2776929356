"""The guide on alert kinds, followed from an empty folder: a kind of one's own runs in two versions, both are shown."""

from __future__ import annotations

import re
from datetime import time
from pathlib import Path

import orjson
import pytest

from commands.cli import main
from config.settings import load_settings
from domain.instants import at_exchange
from simulation.day import stepped_day
from storage.queries import LedgerReader
from tests.testkit.paths import ROOT

pytestmark = pytest.mark.slow

GUIDE = ROOT / "docs" / "guides" / "add-an-alert.md"
UNTIL = time(12, 5)  # the looser version has found something by then, and it has been followed to its end
TICKERS = ("SPX", "QQQ")


def settings_of_the_guide() -> str:
    """Return the settings that the guide has its readers write."""
    (block,) = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    return str(block)


def test_a_kind_made_by_the_guide_is_evaluated_and_shown_in_both_versions_with_n_and_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new-alert", "MOMENTUM"]) == 0
    config, data = tmp_path / "settings.yaml", tmp_path / "data"
    config.write_text(settings_of_the_guide(), encoding="utf-8")
    settings = load_settings(config, "demo", overrides={"tickers": list(TICKERS)})
    day = stepped_day(settings, data, shows=False)
    day.run(at_exchange(settings.demo.session, UNTIL))

    def told(*words: str) -> str:
        capsys.readouterr()
        assert main(["--config", str(config), "--data", str(data), *words]) == 0
        return capsys.readouterr().out

    shown = told("shadows").split("advisor MOMENTUM, since 2026-11-20\n")[1].split("\n\n")[0]
    rows = [line.split() for line in shown.splitlines() if "shadow " in line]
    assert [row[:2] for row in rows] == [["2", "shadow"], ["3", "shadow"]]
    assert int(rows[1][2]) >= 1 and re.fullmatch(r"\(0\.\d\d–[01]\.\d\d\)", rows[1][6]), rows
    session = settings.demo.session.isoformat()
    period = session, session, "--ticker", "QQQ"
    assert "MOMENTUM-2" in told("evaluate", "strategies/momentum.py", *period)
    raised = LedgerReader(data / "ledgers", settings.desk).alerts(settings.demo.session)
    for version in (2, 3):
        found = orjson.loads(told("evaluate", f"MOMENTUM-{version}", *period, "--json"))["alerts"]
        ids = [row["alert_id"] for row in raised if (row["kind"], row["version"]) == ("MOMENTUM", version)]
        assert sorted(one["alert_id"] for one in found) == sorted(ids), version
