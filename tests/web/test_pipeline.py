"""The pipeline's stages: operational, degraded or down, each with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from domain.instants import SECOND
from domain.session.modes import Mode
from domain.session.phases import Phase
from domain.units import Utc
from messages import market, session
from messages.base import Message
from tests.testkit import web_desk as desk
from tests.testkit.web_child import actor
from web import desk as standing
from web.view import View

MODE = session.ModeChanged(mode=Mode.FULLY_LIVE, mode_n=5, session_epoch=7, cause="stable", at_utc=desk.NOW)


def down(hub: str) -> market.HubDown:
    return market.HubDown(hub=hub, feed_epoch=1, cause="closed", can_reuse=False)


def view(folder: Path, *later: Message, at: Utc = desk.NOW) -> View:
    made = View(desk.settings(folder), folder, 1, None)
    for _, fact in desk.facts():
        made.take(desk.NOW, fact)
    for fact in later:
        made.take(at, fact)
    return made


def states(made: View) -> dict[str, tuple[str, str | None]]:
    return {stage.name: (stage.state, stage.why) for stage in standing.pipeline(made)}


def test_all_is_operational_while_everything_gives_signs_of_life(tmp_path: Path) -> None:
    assert states(view(tmp_path)) == dict.fromkeys(("ingest", "signal", "execution"), ("operational", None))


@pytest.mark.parametrize(
    ("fact", "stage", "state", "why"),
    [
        (down("orderflow"), "ingest", "degraded", "orderflow is down"),
        (down("classic"), "ingest", "down", "no hub is connected"),
        (replace(desk.reading_of(64), missing=("any",)), "signal", "degraded", "SPX: not every category came"),
        (replace(MODE, mode=Mode.WARMUP), "execution", "degraded", "warm-up: exits only"),
        (replace(MODE, mode=Mode.DEGRADED), "execution", "down", "order session: degraded"),
    ],
)  # fmt: skip
def test_a_stage_says_what_is_wrong_with_it(tmp_path: Path, fact: Message, stage: str, state: str, why: str) -> None:
    assert states(view(tmp_path, fact))[stage] == (state, why)


def test_a_stage_without_a_sign_of_life_is_degraded_in_the_session_alone(tmp_path: Path) -> None:
    later = Utc(desk.NOW + 200 * SECOND)
    late = states(view(tmp_path, MODE, at=later))
    assert late["ingest"] == late["signal"] == ("degraded", "silent for 200 s")
    assert late["execution"] == ("degraded", "silent for 200 s")
    closed = replace(desk.phase(desk.DAY, later), phase=Phase.CLOSED)
    assert states(view(tmp_path, closed, at=later))["ingest"] == ("operational", None)


def test_an_actor_that_is_down_takes_its_stage_down(tmp_path: Path) -> None:
    made = view(tmp_path)
    made.actor_rows = [actor("lane:gexwatch:SPX", is_up=False), actor("risk:paper", is_up=False)]
    assert states(made)["signal"] == ("down", "not running: the alerts of SPX")
    assert states(made)["execution"] == ("down", "not running: the risk check")
