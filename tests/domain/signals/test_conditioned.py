"""The live evaluator of conditions: what it asks for, what it says when that is missing, and its cooldown."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from domain.features.context import CONTEXT
from domain.features.evidence import Force
from domain.features.forces import INPUTS
from domain.instants import BUCKET_NS
from domain.signals.alerts import EVALUATORS, evaluators_of
from domain.signals.conditioned import ConditionEvaluator, conditioned, inputs_of
from domain.signals.evaluator import AlertTerms, Evaluated, Reading
from domain.signals.predicates import CONDITIONS
from domain.signals.registry import FEATURES, INDEX
from tests.domain.signals.test_predicates import FIRES, NEARLY, RULES
from tests.testkit.signal_histories import OPEN, SETTINGS


def reading(n: int, known: Mapping[str, float]) -> Reading:
    features = [0.0] * len(FEATURES)
    context: list[float | None] = [None if name.endswith("age") else 0.0 for name in CONTEXT]
    for name, value in known.items():
        if name in INDEX:
            features[INDEX[name]] = value
        elif name in CONTEXT:
            context[CONTEXT.index(name)] = value
    forces = tuple(Force(name, known.get(name, 0.0), 1.0) for name in INPUTS)
    return Reading(
        OPEN + n * BUCKET_NS, tuple(features), 600_000, None, tuple(context), forces, known.get("alignment", 0.0)
    )


def evaluator(kind: str) -> ConditionEvaluator:
    condition, rules_type = CONDITIONS[kind]
    return conditioned(kind, condition, rules_type)(RULES[kind])


def run(kind: str, readings: list[Reading]) -> list[Evaluated[Any]]:
    made, out = evaluator(kind), list[Evaluated[Any]]()
    state = made.initial(None)
    for one in readings:
        out.append(made.evaluate(state, one))
        state = out[-1].state
    return out


@pytest.mark.parametrize("kind", CONDITIONS)
def test_what_a_condition_finds_becomes_terms_with_its_thresholds(kind: str) -> None:
    known, direction = FIRES[kind]
    (judged,) = run(kind, [reading(0, known)])
    rules = RULES[kind]
    assert isinstance(judged.terms, AlertTerms)
    assert (judged.terms.direction, judged.terms.entry_ticks) == (direction, 600_000)
    assert judged.terms.target_ticks == round(600_000 * (1 + direction * rules.target_bps / 1e4))
    assert judged.terms.stop_ticks == round(600_000 * (1 - direction * rules.stop_bps / 1e4))
    assert ("alignment_min", 0.4) in judged.terms.thresholds
    assert judged.terms.thresholds[-1] == ("cooldown_ms", 900_000.0)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, changes in NEARLY.items() for name in changes])
def test_one_condition_less_is_judged_without_an_alert(kind: str, name: str) -> None:
    (judged,) = run(kind, [reading(0, {**FIRES[kind][0], name: NEARLY[kind][name]})])
    assert (judged.terms, judged.why) == (None, None)


@pytest.mark.parametrize("kind", CONDITIONS)
def test_what_is_missing_is_named(kind: str) -> None:
    condition, _ = CONDITIONS[kind]
    for name in inputs_of(condition, RULES[kind]):
        whole = reading(0, FIRES[kind][0])
        features, context = list[float | None](whole.features), list(whole.context)
        if name in INDEX:
            features[INDEX[name]] = None
        else:
            context[CONTEXT.index(name)] = None
        (judged,) = run(kind, [replace(whole, features=tuple(features), context=tuple(context))])
        assert (judged.terms, judged.why) == (None, f"missing {name}")
    (blank,) = run(kind, [replace(reading(0, FIRES[kind][0]), spot=None, alignment=None)])
    assert blank.why == "missing spot, alignment"


def test_a_level_that_spot_never_was_under_is_nothing_missing() -> None:
    condition, _ = CONDITIONS["STRUCTURE_BREAK"]
    asked = inputs_of(condition, RULES["STRUCTURE_BREAK"])
    assert set(asked) == {
        "loc_major_pos_vol_bps", "loc_major_neg_vol_bps", "price_return_30m_bps", "flow_dex_5m_z",
    }  # fmt: skip


def test_in_the_cooldown_an_alert_is_let_go_and_at_its_end_the_next_one_comes() -> None:
    known, _ = FIRES["VANNA_UNWIND"]
    out = run("VANNA_UNWIND", [reading(n, known) for n in range(31)])
    assert [n for n, judged in enumerate(out) if judged.terms is not None] == [0, 30]
    assert {judged.why for judged in out[1:30]} == {"cooldown: this one is let go"}


def test_a_reading_stored_without_evidence_is_not_judged() -> None:
    (judged,) = run("CASCADE_WATCH", [Reading(OPEN, (None,) * len(FEATURES), 600_000, 600_000)])
    assert judged.terms is None
    assert (judged.why or "").startswith("missing alignment, loc_major_neg_vol_moves")


def test_a_lane_looks_for_every_version_of_a_kind_side_by_side() -> None:
    rules = SETTINGS.alert_rules["VANNA_UNWIND"]
    trial = dataclasses.replace(rules, version=7)
    made = evaluators_of(("GAMMA_FLIP", "VANNA_UNWIND"), SETTINGS.alert_rules, {"VANNA_UNWIND": (trial,)})
    assert [one.version_name for one in made] == ["GAMMA_FLIP-1", "VANNA_UNWIND-1", "VANNA_UNWIND-7"]
    assert set(EVALUATORS) == {"GAMMA_FLIP", *CONDITIONS}
