"""The grammar of order references: functions of the intent, readable back, short enough for the broker."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.orders.references import (
    ORDER_REF_MAX,
    entry_ref,
    exit_ref,
    intent_id,
    is_brokers_close,
    is_exit_ref,
    is_of_desk,
    is_ours,
    parse_order_ref,
    position_id,
    position_of,
)


@given(st.text(min_size=1, max_size=80), st.integers(1, 999))
def test_references_are_functions_of_the_intent_within_32_ascii(intent: str, n: int) -> None:
    position = position_id("paper", intent)
    entry, exit_ = entry_ref(position), exit_ref(position, n)
    assert entry == entry_ref(position_id("paper", intent))
    assert max(len(entry), len(exit_)) <= ORDER_REF_MAX
    assert exit_ == entry.removesuffix("e") + f"x{n}"
    assert position_of(entry) == position_of(exit_) == position
    assert is_ours(entry)
    name = parse_order_ref(exit_)
    assert name is not None
    assert (name.desk, name.exit_n) == ("paper", n)
    assert parse_order_ref(entry) == replace(name, exit_n=None)


def test_a_reference_stays_what_it_was() -> None:
    """Orders of a day before must be found again: the text never changes."""
    intent = intent_id("20261120-gexwatch-SPX-103000-GAMMA_FLIP-1", "gexwatch")
    assert intent == "20261120-gexwatch-SPX-103000-GAMMA_FLIP-1/gexwatch/0"
    assert entry_ref(position_id("paper", intent)) == "ZH-paper-SL4CV4AYO7CM-e"


def test_what_is_not_ours_is_not_read() -> None:
    assert parse_order_ref("") is None
    assert parse_order_ref("someone else's") is None
    assert not is_ours("someone else's")


@pytest.mark.parametrize(
    "make",
    [
        lambda: exit_ref(position_id("paper", "i"), 0),
        lambda: position_id("a-b", "i"),
        lambda: position_id("x" * 40, "i"),
        lambda: position_id("d\u00e9sk", "i"),
    ],
)
def test_a_reference_that_could_not_be_read_back_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="no order reference"):
        make()


def test_a_reference_may_be_as_long_as_the_broker_keeps_and_no_longer() -> None:
    assert ORDER_REF_MAX == 32
    desk = "d" * (32 - len("ZH--") - 12 - len("-x99"))
    position = position_id(desk, "i")
    assert len(exit_ref(position, 99)) == 32
    with pytest.raises(ValueError, match="no order reference"):
        position_id(f"{desk}d", "i")


def test_exits_behind_a_long_desk_name_do_not_end_with_the_ninety_ninth() -> None:
    position = position_id("live_account", "i")
    most = 99 + 52 * 62
    found = [exit_ref(position, n).removeprefix(f"{position}-x") for n in (99, 100, 161, 162, most)]
    assert found == ["99", "a0", "aZ", "b0", "ZZ"]
    refs = [exit_ref(position, n) for n in range(1, most + 1)]
    assert len(set(refs)) == most
    assert max(map(len, refs)) == ORDER_REF_MAX
    for n, ref in enumerate(refs, 1):
        name = parse_order_ref(ref)
        assert name is not None
        assert (name.exit_n, is_exit_ref(ref), position_of(ref)) == (n, True, position)
    with pytest.raises(ValueError, match="no order reference"):
        exit_ref(position, most + 1)


def test_exit_and_entry_are_told_apart_by_the_end_of_the_reference() -> None:
    position = position_id("paper", "i")
    assert is_exit_ref(exit_ref(position, 1))
    assert not is_exit_ref(entry_ref(position))
    assert not is_exit_ref("")
    assert not is_exit_ref(position_id("x1", "i") + "-e")  # neither by the desk's name


def test_an_order_of_another_desk_is_ours_and_not_this_desks() -> None:
    ref = entry_ref(position_id("paper", "i"))
    assert is_of_desk(ref, "paper")
    assert not is_of_desk(ref, "pap")
    assert not is_of_desk(ref, "live")
    assert is_brokers_close("broker:4711")
    assert not is_brokers_close(ref)
