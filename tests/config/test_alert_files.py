"""Alert kinds in files of one's own: what loads, what is refused in one sentence, and what a lane does with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.lane import LaneActor
from commands.new_alert import TEMPLATE
from config.settings import Settings, SettingsError, from_json, load_settings
from domain.signals.kit import OwnEvaluator
from tests.domain.signals.test_conditioned import reading


def written(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def settings_with(folder: Path, more: str = "", files: str = "[mine.py]") -> Settings:
    path = written(folder, f"alert_files: {files}\n{more}", "mine.yaml")
    return load_settings(path, "real")


def refusal(folder: Path, text: str, more: str = "") -> str:
    written(folder, text)
    with pytest.raises(SettingsError) as refused:
        settings_with(folder, more)
    assert "\n" not in str(refused.value)
    return str(refused.value)


GOOD = TEMPLATE.format(name="MINE")
RETURN = "return fires(seen, is_met, direction)"
IN_LANE = "alerts: {advisor: [STRUCTURE_BREAK, MINE]}\n"


def test_a_kind_of_a_file_is_looked_for_like_any_other_and_is_a_shadow(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    settings = settings_with(tmp_path, IN_LANE)
    assert settings.alert_rules["MINE"].version == 1
    assert "MINE-1" not in settings.promoted
    evaluators = LaneActor("lane:advisor:QQQ", settings)._wiring.evaluators
    assert [evaluator.version_name for evaluator in evaluators] == ["STRUCTURE_BREAK-2", "MINE-1"]
    judged = evaluators[1].evaluate(evaluators[1].initial(None), reading(0, {"price_momentum": 1.5, "alignment": 0.5}))
    assert judged.terms is not None
    assert (judged.terms.direction, dict(judged.terms.thresholds)["momentum_min"]) == (1, 1.0)


def test_settings_lie_over_the_thresholds_of_the_file(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    settings = settings_with(tmp_path, "alert_rules: {MINE: {momentum_min: 3, version: 2}}")
    rules: Any = settings.alert_rules["MINE"]
    assert (rules.momentum_min, rules.version, rules.cooldown_ms) == (3.0, 2, 900_000)


@pytest.mark.parametrize(("rules", "momentum_min"), [("", 1.0), ("alert_rules: {MINE: {momentum_min: 3}}\n", 3.0)])
def test_another_version_of_a_kind_of_a_file_is_tried_beside_it(
    tmp_path: Path, rules: str, momentum_min: float
) -> None:
    written(tmp_path, GOOD)
    settings = settings_with(tmp_path, IN_LANE + rules + "alert_trials: {MINE: [{version: 2, alignment_min: 0.1}]}")
    tried: Any = settings.alert_trials["MINE"][0]
    assert (tried.version, tried.alignment_min, tried.momentum_min) == (2, 0.1, momentum_min)
    evaluators = LaneActor("lane:advisor:QQQ", settings)._wiring.evaluators
    assert [one.version_name for one in evaluators] == ["STRUCTURE_BREAK-2", "MINE-1", "MINE-2"]


def test_a_recorded_tree_comes_back_with_the_kinds_of_its_files(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    more = "alert_rules: {MINE: {momentum_min: 3}}\nalert_trials: {MINE: [{version: 2, cooldown_ms: 60000}]}"
    settings = settings_with(tmp_path, IN_LANE + more)
    back = from_json(settings.to_json())
    assert (back.alert_rules, back.alert_trials) == (settings.alert_rules, settings.alert_trials)
    assert back.digest() == settings.digest()


def test_files_are_named_from_the_settings_file_on_and_by_patterns(tmp_path: Path) -> None:
    (tmp_path / "strategies").mkdir()
    for name in ("B", "A"):
        written(tmp_path / "strategies", TEMPLATE.format(name=name), f"{name.lower()}.py")
    settings = settings_with(tmp_path, files="[strategies/*.py]")
    assert list(settings.own_kinds) == ["A", "B"]
    assert all(file.is_absolute() for file in settings.alert_files)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(:\n", "mine.py, line 1: SyntaxError"),
        ("x = 1\ny = x / 0\n", "mine.py, line 2: ZeroDivisionError: division by zero."),
        ("import no_such_library\n", "mine.py, line 1: ModuleNotFoundError"),
        ("raise SystemExit(3)\n", "mine.py, line 1: SystemExit"),
        ("x = 1\n", "has no table of alert kinds; end it with `KINDS"),
        ("KINDS = {'MINE': 3}\n", "must name 'MINE' with its condition and its rules"),
        (GOOD.replace('"MINE"', '"my-kind"'), "names a kind 'my-kind'; take capitals"),
        (GOOD.replace('"MINE"', '"GAMMA_FLIP"'), "GAMMA_FLIP, which is one of this version of Zerohour; rename it"),
        (GOOD.replace('"price_momentum"', '"price_mood"'), "MINE failed in"),
        (GOOD.replace("momentum_min=1.0", "momentum_min=float('nan')"), "momentum_min of MINE must be finite numbers"),
        (GOOD.replace("version=1", "version=0"), "alert_rules.MINE.version: must be at least 1"),
        (GOOD.replace(RETURN, "return np.ones(seen.spot.shape)"), "everything is missing"),
        (
            GOOD.replace("np.abs(momentum) >=", "np.abs(momentum - np.roll(momentum, 1)) >="),
            "judges a reading by other readings",
        ),
        (
            GOOD.replace("np.abs(momentum) >=", "np.abs(momentum) * len(momentum) >="),
            "judges a reading by other readings",
        ),
        (GOOD.replace(RETURN, RETURN.replace("fires", "2 * fires")), "+1, −1 or 0"),
        (GOOD.replace(RETURN, "return 0"), "gives () directions"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_taken_is_one_sentence_with_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(tmp_path, text)


def test_two_files_with_one_name_and_a_file_that_is_not_there_are_refused(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    written(tmp_path, GOOD, "other.py")
    with pytest.raises(SettingsError, match=r"other\.py names a kind MINE, which is one of .*mine\.py; rename it"):
        settings_with(tmp_path, files="[mine.py, other.py]")
    with pytest.raises(SettingsError, match=r"there is no Python file .*gone\.py; `main\.py new-alert"):
        settings_with(tmp_path, files="[gone.py]")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("alert_rules: {MINE: {mood: 3}}", "alert_rules.MINE.mood: unexpected keyword"),
        ("alert_rules: {MINE: {momentum_min: high}}", "alert_rules.MINE.momentum_min: input should be a valid number"),
        ("alert_rules: {MINE: 3}", "alert_rules.MINE must be thresholds"),
        ("outside: {kinds: {MINE: 1}}", "outside.kinds.MINE: bears the name of a kind"),
        ("promoted: [MINE-2]", "from 1 to that of alert_rules.MINE, which is 1"),
        ("alert_trials: {MINE: {version: 2}}", "alert_trials.MINE must be a list of versions, as `[{version: 2}]`"),
        ("alert_trials: {MINE: [2]}", "alert_trials.MINE.0 must be thresholds of"),
        ("alert_trials: {MINE: [{mood: 3, version: 2}]}", "alert_trials.MINE.0.mood: unexpected keyword"),
        ("alert_trials: {MINE: [{momentum_min: 2}]}", "alert_trials.MINE: has version 1 twice; count it up"),
        ("alert_trials: {MINE: [{version: 2, horizon_ms: -1}]}", "alert_trials.MINE.0.horizon_ms"),
    ],
)
def test_settings_that_do_not_fit_the_kind_are_refused_with_their_path(tmp_path: Path, more: str, said: str) -> None:
    assert said in refusal(tmp_path, GOOD, more)


def test_a_condition_that_fails_under_thresholds_of_the_settings_ends_the_start_not_the_lane(tmp_path: Path) -> None:
    text = GOOD.replace("    direction =", "    1 / (rules.momentum_min - 3.0)\n    direction =")
    said = refusal(tmp_path, text, "alert_rules: {MINE: {momentum_min: 3}}")
    assert "Under alert_rules.MINE: MINE failed in" in said
    assert "ZeroDivisionError" in said
    assert settings_with(tmp_path).alert_rules["MINE"].version == 1


def test_a_condition_that_fails_on_a_reading_says_where_and_judges_nothing(tmp_path: Path) -> None:
    trap = GOOD.replace(
        "    direction = np.sign(momentum)",
        "    if np.any(momentum == 7.0):\n        raise ValueError('seven')\n    direction = np.sign(momentum)",
    )
    written(tmp_path, trap)
    settings = settings_with(tmp_path, IN_LANE)
    evaluator = settings.kinds["MINE"](settings.alert_rules["MINE"])
    assert isinstance(evaluator, OwnEvaluator)
    state = evaluator.initial(None)
    judged = evaluator.evaluate(state, reading(0, {"price_momentum": 7.0, "alignment": 0.5}))
    line = trap.splitlines().index("        raise ValueError('seven')") + 1
    assert judged.terms is None
    assert judged.why == f"MINE failed in {tmp_path / 'mine.py'}, line {line}: ValueError: seven."
    after = evaluator.evaluate(judged.state, reading(1, {"price_momentum": 1.5, "alignment": 0.5}))
    assert after.terms is not None


def test_a_file_that_changes_under_a_run_changes_nothing_in_it(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    settings = settings_with(tmp_path, IN_LANE)
    path.write_text("not python", encoding="utf-8")
    assert LaneActor("lane:advisor:QQQ", settings)._wiring.evaluators[1].version_name == "MINE-1"
