"""`main.py features [GROUP]`: the 73 features of a reading, what they are made of, and the forces made of them."""

from __future__ import annotations

import shutil
import sys
import textwrap
from argparse import Namespace
from typing import Any

import orjson

from domain.features.context import CONTEXT, FORMULAS
from domain.features.forces import CARRIERS, INPUTS
from domain.instants import BUCKET_NS
from domain.market.derived import TABLE
from domain.signals.registry import FEATURES, Feature, Group

WIDTH_MAX = 100


def act(arguments: Namespace) -> int:
    """Print the registry, all of it or one group."""
    wanted = [feature for feature in FEATURES if arguments.group in (None, feature.group.value)]
    if arguments.json:
        sys.stdout.write(orjson.dumps([told(feature) for feature in wanted], option=orjson.OPT_INDENT_2).decode())
        print()
        return 0
    width = min(shutil.get_terminal_size().columns, WIDTH_MAX)
    for group in Group:
        found = [feature for feature in wanted if feature.group is group]
        if found:
            print(f"{group.value} ({len(found)})")
            for feature in found:
                print(f"  {feature.name} [{feature.unit}], {window_text(feature)}")
                print(textwrap.fill(f"{feature.formula}; {feature.missing}", width, **_INDENT))
    if arguments.group is None:
        _print_forces(width)
    return 0


def _print_forces(width: int) -> None:
    def show(text: str) -> None:
        print(textwrap.fill(text, width, initial_indent="  ", subsequent_indent="    "))

    print("beside them")
    for name in CONTEXT:
        show(f"{name}: {FORMULAS[name]}")
    print("derived series of minute bars, for alert kinds of one's own")
    for one in TABLE:
        show(f"{one.symbol}.{one.name}: {one.formula}")
    print("forces (mean of tanh(value ÷ scale); gamma scales the four others)")
    for force, inputs in INPUTS.items():
        parts = (f"{one.name} ÷ {one.scale:g}" + (f" × {one.carrier}" if one.carrier else "") for one in inputs)
        show(f"{force}: {', '.join(parts)}")
    for name, formula in CARRIERS.items():
        show(f"× {name}: {formula}")


_INDENT: Any = {"initial_indent": "    ", "subsequent_indent": "    "}


def window_text(feature: Feature) -> str:
    """Return how far back a feature looks."""
    minutes = feature.window_ns / (2 * BUCKET_NS)
    return f"{minutes:g} min" if minutes else "this reading"


def told(feature: Feature) -> dict[str, Any]:
    """Return a feature as JSON tells it; `window_min` 0: this reading alone."""
    return {
        "name": feature.name, "group": feature.group.value, "unit": feature.unit, "inputs": list(feature.inputs),
        "window_min": feature.window_ns / (2 * BUCKET_NS), "formula": feature.formula, "missing": feature.missing,
    }  # fmt: skip
