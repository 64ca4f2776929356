"""What a replay tells of a difference: which fields, with both values; settings likewise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from commands.replay_difference import Difference, Sent, differences, outbox_lines, sent_of
from config.settings import load_settings
from messages import market
from tests.testkit import ledger_asks as ask

TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(TREES)
def test_a_tree_does_not_differ_from_itself(tree: object) -> None:
    assert differences(tree, tree) == []


@given(TREES, TREES)
def test_trees_that_differ_say_where_and_both_ways(one: object, other: object) -> None:
    found, back = differences(one, other), differences(other, one)
    assert bool(found) is (one != other)
    assert {(d.path, d.recorded, d.computed) for d in found} == {(d.path, d.computed, d.recorded) for d in back}


def test_a_leaf_is_named_by_its_path() -> None:
    recorded = {"a": {"b": [1, {"c": 2}]}, "gone": 1}
    computed = {"a": {"b": [1, {"c": 3}, 4]}, "new": None}
    assert differences(recorded, computed) == [
        Difference("a.b[1].c", "2", "3"), Difference("a.b[2]", "-", "4"), Difference("gone", "1", "-"),
        Difference("new", "-", "none"),
    ]  # fmt: skip


def test_an_instant_is_read_as_new_yorks_clock_and_a_long_text_is_cut() -> None:
    found = differences({"at_utc": ask.T0, "text": "a"}, {"at_utc": ask.T0 + 1_000_000_000, "text": "b" * 100})
    assert str(found[0]) == "at_utc: 10:00:00 -> 10:00:01"
    assert len(found[1].computed) == 60


def test_other_settings_are_told_field_by_field() -> None:
    plain = load_settings(profile="demo")
    other = load_settings(profile="demo", overrides={"alert_rules": {"GAMMA_FLIP": {"hysteresis_bps": 40.0}}})
    found = differences(plain.model_dump(mode="json"), other.model_dump(mode="json"))
    assert [str(difference) for difference in found] == ["alert_rules.GAMMA_FLIP.hysteresis_bps: 5.0 -> 40.0"]


def sent(to: str, tag: str, **fields: object) -> Sent:
    return Sent(to, tag, fields)


def test_an_outbox_says_what_differs_what_is_new_and_what_is_gone() -> None:
    recorded = [
        sent("ledger", "a.Same", x=1), sent("ledger", "a.Other", qty=1, price=5), sent("quotes", "a.Gone", y=1),
        sent("risk", "a.Event", z=1), sent("web", "a.Event", z=1),
    ]  # fmt: skip
    computed = [
        sent("ledger", "a.Same", x=1), sent("ledger", "a.Other", qty=2, price=5), sent("kill", "a.New", w=2),
        sent("", "a.Event", z=1),
    ]  # fmt: skip
    assert outbox_lines(recorded, computed) == [
        "a.Other to ledger", "  qty: 1 -> 2", "now sent as well: a.New to kill", "  w: 2",
        "no longer sent: a.Gone to quotes", "  y: 1",
    ]  # fmt: skip


def test_a_message_for_another_receiver_is_not_the_recorded_one() -> None:
    lines = outbox_lines([sent("one", "a.M", x=1)], [sent("other", "a.M", x=1)])
    assert [line.partition(":")[0] for line in lines] == ["now sent as well", "  x", "no longer sent", "  x"]


def test_a_real_message_is_taken_apart() -> None:
    message = market.HubUp(hub="classic", feed_epoch=1, recovered=False)
    told = sent_of("", message)
    assert (told.to, told.tag, told.fields["hub"], "type" in told.fields) == ("", "market.HubUp", "classic", False)
