"""The sealed traces of two mornings, replayed on today's actors: every message comes out as it did, to the byte."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from config.settings import from_json
from main import Stores, build_tree
from messages.envelope import Envelope
from supervision.actor import Actor
from supervision.replay import replay
from supervision.trace import TraceReader
from tests.traces.make import MORNINGS, Morning, path_of, type_of


class NoStore:
    """Stands where a replayed tree would have a store; I/O actors are not driven."""

    in_hand = 0


@pytest.mark.slow
@pytest.mark.parametrize("morning", MORNINGS, ids=lambda morning: morning.name)
def test_a_sealed_morning_is_replayed_without_a_divergence(morning: Morning) -> None:
    reader = TraceReader(path_of(morning))
    nothing: Any = NoStore()
    settings = from_json(bytes(reader.header().settings))
    tree = build_tree(settings, Stores(nothing, nothing, nothing), tuple)

    def make(name: str) -> Actor[Any, Any] | None:
        try:
            actor = tree.child(name).make()
        except KeyError:  # a port
            return None
        return actor if isinstance(actor, Actor) else None

    report = replay(reader, make)
    assert report.divergence is None, "a message came out otherwise; if it should, run python -m tests.traces.make"
    assert report.compared > 1_000
    assert not report.torn


def test_what_the_mornings_are_for_happens_in_them() -> None:
    for morning in MORNINGS:
        records = (record for record in TraceReader(path_of(morning)) if isinstance(record, Envelope))
        seen = Counter(map(type_of, records))
        assert all(seen[name] >= count for name, count in morning.seen.items()), morning.name
        assert bool(seen["broker.LinkLost"]) == ("broker.LinkLost" in morning.seen)
