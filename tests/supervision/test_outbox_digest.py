"""The digest of an outbox tells apart whatever a decision can say differently."""

from __future__ import annotations

from itertools import permutations

from messages import lifecycle
from messages.envelope import encode
from supervision.effects import CancelTimer, Retire, SetTimer, StartActor, Tell
from supervision.outbox import outbox
from tests.testkit.toys import say


def test_no_effects_have_no_digest():
    assert outbox(()) == ("", [])


def test_different_outboxes_have_different_digests_and_equal_ones_the_same():
    different = [
        (Tell("a:1", say("x")),),
        (Tell("b:1", say("x")),),
        (Tell("a:1", say("y")),),
        (Tell("a:1", say("x")), Tell("a:1", say("x"))),
        (SetTimer("k", 1),),
        (SetTimer("k", 2),),
        (SetTimer("l", 1),),
        (CancelTimer("k"),),
        (Retire(),),
        (StartActor("a:1", None),),
        (StartActor("a:1", lifecycle.DaySoFar(con_ids=(1,))),),
        *permutations((Tell("a:1", say("x")), Tell("b:1", say("y")), SetTimer("k", 1))),
    ]
    digests = [outbox(effects)[0] for effects in different]
    assert len(set(digests)) == len(different)
    assert all(len(digest) == 16 for digest in digests)
    assert outbox((Tell("a:1", say("x")), SetTimer("k", 1))) == outbox((Tell("a:1", say("x")), SetTimer("k", 1)))


def test_each_told_message_is_encoded_at_its_own_place():
    _, raws = outbox((SetTimer("k", 1), Tell("a:1", say("x"))))
    assert raws == [b"", encode(say("x"))]
