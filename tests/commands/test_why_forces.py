"""`why` says which features pushed which force how far."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from commands.why_forces import force_lines
from commands.why_lines import lines_of
from domain.features.context import CONTEXT
from domain.features.evidence import Evidence, Force
from domain.signals.registry import FEATURES, INDEX
from tests.testkit import ledger_asks as ask


def evidence(alignment: float | None = None, **known: float) -> Any:
    features: list[float | None] = [None] * len(FEATURES)
    for name, value in known.items():
        features[INDEX[name]] = value
    forces = (Force("gamma", -0.5, 0.25), Force("structure", 0.48, 0.5))
    return msgspec.to_builtins(Evidence(tuple(features), (None,) * len(CONTEXT), forces, alignment))


def reading(**more: Any) -> dict[str, Any]:
    return {
        "type": "signals.FeaturesComputed", "ticker": "SPX", "bucket_utc": ask.T0,
        "spot": 600_000, "zero_gamma": 599_000,
        "forces": [{"name": "gamma", "score": 0.2, "confidence": 1.0}],
    } | more  # fmt: skip


def test_each_force_names_what_pushed_it_the_strongest_first() -> None:
    told = evidence(0.41, mag_net_vol_z=-3.0, price_momentum=0.2, price_return_5m_bps=30.0)
    lines = force_lines(reading(evidence=told))
    assert lines[0].split() == ["gamma", "-0.50", "sure", "0.25", "mag_net_vol_z", "-3", "-0.91"]
    # Half of tanh(3) and of tanh(0.2), × 1.11 for gamma that amplifies.
    assert " ".join(" ".join(lines[1:-1]).split()[4:]) == "price_return_5m_bps 30 +0.55, price_momentum 0.2 +0.11"
    assert lines[-1] == "    alignment +0.41"
    assert max(map(len, lines)) <= 80


def test_without_inputs_and_alignment_that_is_said() -> None:
    lines = force_lines(reading(evidence=evidence()))
    assert lines[0].endswith("no inputs")
    assert lines[-1] == "    alignment not defined"


def test_the_forces_stand_below_their_reading_and_an_older_trace_has_its_own() -> None:
    step = {"at_utc": ask.T0, "message": reading(evidence=evidence(price_momentum=1.0))}
    lines = lines_of([step])
    assert "; forces" not in " ".join(lines)
    assert any(line.startswith("    structure") for line in lines)
    assert lines_of([{"at_utc": ask.T0, "message": reading()}])[-1].endswith("forces gamma +0.20")


def test_damaged_evidence_is_a_damaged_record() -> None:
    (line,) = lines_of([{"at_utc": ask.T0, "message": reading(evidence={"features": 1})}])[:1]
    assert "damaged" in line
    with pytest.raises(msgspec.ValidationError):
        force_lines(reading(evidence={"features": 1}))
