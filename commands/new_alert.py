"""`main.py new-alert NAME`: a file with an alert kind of one's own, which loads, and says where it is switched on."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Final

from commands.cli import CommandError
from commands.folder import settings_of
from config.alert_files import NAME

TEMPLATE: Final = '''\
"""`{name}`: spot has moved further in 30 min than its own volatility explains, and the forces go with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from domain.signals.kit import ConditionRules, Directions, Seen, fires


@dataclass(frozen=True, slots=True)
class Rules(ConditionRules):
    """The thresholds of this kind, behind those that every kind has."""

    momentum_min: float


def condition(seen: Seen, rules: Rules) -> Directions:
    """Judge `{name}`: +1 up, −1 down, 0 nothing; what is missing is NaN, and NaN meets no comparison."""
    momentum = seen.feature("price_momentum")
    direction = np.sign(momentum)
    is_met = (np.abs(momentum) >= rules.momentum_min) & seen.is_aligned(direction, rules.alignment_min)
    return fires(seen, is_met, direction)


KINDS = {{
    "{name}": (
        condition,
        Rules(
            cooldown_ms=900_000,  # between two alerts of a ticker
            target_bps=20.0,  # favourable move that counts as a hit
            stop_bps=12.0,  # adverse move that counts as a stop
            horizon_ms=1_800_000,  # how long the outcome is followed
            version=1,  # count it up with every change: each version is promoted by itself
            alignment_min=0.4,  # of the forces, in the direction of the alert
            momentum_min=1.0,  # move of 30 min over the root of the squared returns
        ),
    ),
}}
'''


def act(arguments: Namespace) -> int:
    """Write the template."""
    name = arguments.name
    if not NAME.fullmatch(name):
        raise CommandError(f"{name!r} is no name of an alert kind; take capitals, digits and _, as MY_KIND.")
    settings = settings_of(arguments)
    if name in settings.kinds or name in settings.outside.kinds:
        raise CommandError(f"There is a kind {name} already; take another name.")
    path: Path = arguments.out or Path("strategies") / f"{name.lower()}.py"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE.format(name=name))
    except FileExistsError:
        raise CommandError(f"{path} is there already and stays as it is; name another file with --out.") from None
    except OSError as error:
        raise CommandError(f"{path} cannot be written ({error.strerror}); name another file with --out.", 3) from None
    source = "advisor" if "advisor" in settings.alerts else next(iter(settings.alerts))
    kinds = ", ".join((*settings.alerts[source], name))
    print(f"Written: {path.resolve()}")
    print("Change its condition and thresholds, and look at what it would have found:")
    print(f"  main.py evaluate {path} FROM TO")
    print("It runs, as a shadow, once the settings file that you run with (--config) has these lines:")
    print(f"  alert_files: [{', '.join(map(str, (*settings.alert_files, path.resolve())))}]")
    print(f"  alerts: {{{source}: [{kinds}]}}")
    return 0
