"""Every message type goes through the trace's encoding and comes back the same, to the byte."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messages.base import Message
from messages.envelope import MESSAGE_TYPES, decode, encode
from tests.testkit.message_samples import strategy


@pytest.mark.parametrize("kind", MESSAGE_TYPES, ids=lambda kind: kind.__struct_config__.tag)
@settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_message_comes_back_the_same(kind: type[Message], data: st.DataObject) -> None:
    message = data.draw(strategy(kind))
    raw = encode(message)
    back = decode(raw)
    assert type(back) is kind
    assert back == message
    assert encode(back) == raw
    assert b"\n" not in raw


def test_tags_name_the_conversation_and_are_unique() -> None:
    tags = [kind.__struct_config__.tag for kind in MESSAGE_TYPES]
    assert len(set(tags)) == len(tags)
    for kind in MESSAGE_TYPES:
        assert kind.__struct_config__.tag == f"{kind.__module__.removeprefix('messages.')}.{kind.__name__}"
        assert kind.__struct_config__.frozen
