"""The page of features: the registry as tables, what stands beside it, and how forces and alignment are made of it."""

from __future__ import annotations

from collections.abc import Iterator

from commands.features import window_text
from commands.reference.markdown import code, doc, table
from domain.features import forces
from domain.features.context import FORMULAS
from domain.market import derived
from domain.signals import outcome, predicates, registry
from domain.signals.registry import FEATURES, Feature, Group


def features_page() -> list[str]:
    """Return every feature, group by group, the context beside them, and the forces."""
    lines = [
        "# Features and forces", "",
        "What one reading (a ticker and a bucket of 30 s) says: `main.py features` prints the same. Each formula"
        " stands once in the code (`domain/features/formulas.py`) and is evaluated on the last 240 readings live, and"
        " over many tickers and days in columns, with the same bits; a reading that is missing is a place without a"
        " value, never a place left out. Values are rounded to 12 significant digits.", "",
        _after_first(doc(registry)), "",
        "They are published with the context and the forces (`evidence` of `signals.FeaturesComputed`), stored with the"
        " readings, and recorded with every alert.", "",
    ]  # fmt: skip
    for group in Group:
        found = [feature for feature in FEATURES if feature.group is group]
        lines += [f"## {group.value.capitalize()} ({len(found)})", ""]
        lines += table(("feature", "unit", "inputs", "looks back", "formula", "without its inputs"), map(_row, found))
    lines += ["## Beside them", "", "Looked at by forces and alert kinds, and no features:", ""]
    lines += table(("name", "formula"), ((code(name), formula) for name, formula in FORMULAS.items()))
    lines += ["## Derived series", "", _after_first(doc(derived)), ""]
    series = ((code(f"{one.symbol}.{one.name}"), one.formula, ", ".join(one.inputs)) for one in derived.TABLE)
    lines += table(("asked for as", "formula", "bars of"), series)
    regimes = ", ".join(f"{code(name)} {number:g}" for name, number in derived.REGIMES.items())
    lines += [f"In a condition a regime is a number: {regimes} (`REGIMES`).", ""]
    lines += ["## Forces", "", _after_first(doc(forces)), ""]
    lines += table(("force", "input", "scale", "goes with"), _inputs())
    lines += table(("carrier", "is"), ((code(name), formula) for name, formula in forces.CARRIERS.items()))
    lines += ["## Alignment", "", doc(forces.alignment_of), ""]
    lines += ["## Alert kinds", "", doc(predicates), ""]
    kinds = ((code(kind), doc(condition).partition("\n")[0]) for kind, (condition, _) in predicates.CONDITIONS.items())
    lines += table(("kind", "asks for"), kinds)
    return [*lines, "## Outcomes", "", doc(outcome), ""]


def _row(feature: Feature) -> tuple[str, ...]:
    inputs = ", ".join(code(name) for name in feature.inputs)
    return code(feature.name), feature.unit, inputs, window_text(feature), feature.formula, feature.missing


def _inputs() -> Iterator[tuple[str, ...]]:
    for force, inputs in forces.INPUTS.items():
        for one in inputs:
            yield force, code(one.name), f"{one.scale:g}", code(one.carrier) if one.carrier else ""


def _after_first(text: str) -> str:
    """Return a docstring without its first sentence's paragraph."""
    return text.partition("\n\n")[2]
