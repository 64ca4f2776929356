"""The digest of an outbox tells apart whatever a decision can say differently."""

from __future__ import annotations

from itertools import permutations

from messages import restored
from messages.envelope import encode
from supervision.effects import CancelTimer, Publish, Retire, SetTimer, StartIncarnation, Tell
from supervision.outbox import digest, outbox
from tests.testkit.toys import alarm, say


def test_no_effects_have_no_digest() -> None:
    assert digest(outbox(())[0]) == ""


def test_different_outboxes_have_different_digests_and_equal_ones_the_same() -> None:
    different = [
        (Tell("a:1", say("x")),),
        (Tell("b:1", say("x")),),
        (Tell("a:1", say("y")),),
        (Tell("a:1", say("x")), Tell("a:1", say("x"))),
        (SetTimer("k", "", 1),),
        (SetTimer("k", "", 2),),
        (SetTimer("l", "", 1),),
        (SetTimer("k", "x", 1),),
        (CancelTimer("k", ""),),
        (CancelTimer("k", "x"),),
        (Publish(alarm("x")),),
        (Publish(alarm("y")),),
        (Tell("notifier", alarm("x")),),
        (Retire(),),
        (StartIncarnation("a:1", None),),
        (StartIncarnation("a:1", restored.ActorsRestored(names=("b:1",))),),
        *permutations((Tell("a:1", say("x")), Tell("b:1", say("y")), SetTimer("k", "", 1))),
    ]
    digests = [digest(outbox(effects)[0]) for effects in different]
    assert len(set(digests)) == len(different)
    assert all(len(found) == 16 for found in digests)
    assert outbox((Tell("a:1", say("x")), SetTimer("k", "", 1))) == outbox(
        (Tell("a:1", say("x")), SetTimer("k", "", 1))
    )


def test_each_message_is_encoded_at_its_own_place() -> None:
    _, raws = outbox((SetTimer("k", "", 1), Tell("a:1", say("x")), Publish(alarm("y"))))
    assert raws[1:] == [encode(say("x")), encode(alarm("y"))]
