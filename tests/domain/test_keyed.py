"""A keyed collection: a dictionary's behaviour, and whoever holds an older one sees nothing of a change."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.keyed import Keyed

KEYS = st.text("abc", max_size=3)


@given(st.lists(st.tuples(KEYS, st.integers())))
def test_it_holds_what_a_dictionary_of_the_same_words_holds(words: list[tuple[str, int]]) -> None:
    made, expected = Keyed[int](), dict[str, int]()
    for key, value in words:
        made, expected = made.put(key, value), expected | {key: value}
    assert list(made) == list(expected.values())
    assert len(made) == len(expected)
    assert all(made.get(key) == value and key in made for key, value in expected.items())
    assert made.get("z") is None
    assert "z" not in made
    assert made == Keyed(words)
    assert hash(made) == hash(Keyed(words))


@given(st.lists(st.tuples(KEYS, st.integers()), min_size=1))
def test_a_change_leaves_every_older_one_as_it_was(words: list[tuple[str, int]]) -> None:
    kept = [Keyed[int]()]
    for key, value in words:
        kept.append(kept[-1].put(key, value))
    for n, made in enumerate(kept):
        assert dict(zip(dict(words[:n]), made, strict=True)) == dict(words[:n])


def test_thousands_of_keys_keep_their_order_and_their_values() -> None:
    made = Keyed((f"k{n}", n) for n in range(5_000))
    for n in range(0, 5_000, 7):
        made = made.put(f"k{n}", -n)
    made = made.put("last", 1)
    assert list(made) == [*(-n if n % 7 == 0 else n for n in range(5_000)), 1]
    assert all(made.since(n) == tuple(made)[n:] for n in (0, 1, 63, 64, 65, 4_999, 5_000, 5_001, 6_000))
    assert [made.get(f"k{n}") for n in (0, 7, 8, 4_999)] == [0, -7, 8, 4_999]


def test_the_same_values_under_other_keys_are_another_collection() -> None:
    assert Keyed((("a", 1), ("b", 2))) != Keyed((("a", 1), ("c", 2)))
    assert Keyed((("a", 1), ("b", 2))) != Keyed((("b", 2), ("a", 1)))
    assert Keyed((("a", 1),)) != {"a": 1}
    assert repr(Keyed((("a", 1),))) == "Keyed([('a', 1)])"
