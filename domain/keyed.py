"""Values by a text key in the order in which their keys came: immutable, and cheap to add to however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Final, Generic, TypeVar, cast

V = TypeVar("V")

_SHARDS: Final = 64  # of the keys' places: a new key copies one of them
_CHUNK: Final = 64  # values that are copied with one that changes


class Keyed(Generic[V]):
    """An immutable collection of values by key; iterating gives the values, a key that comes again keeps its place.

    `put` gives another collection that shares with this one whatever is the same, so that a day of thousands of orders
    costs each of them what it costs the first. Nothing in it is ever changed.
    """

    __slots__ = ("_chunks", "_n", "_places")

    _chunks: tuple[tuple[V, ...], ...]
    _places: tuple[Mapping[str, int], ...]
    _n: int

    def __init__(self, items: Iterable[tuple[str, V]] = ()) -> None:
        by_key = dict(items)
        places: list[dict[str, int]] = [{} for _ in range(_SHARDS)] if by_key else []
        for place, key in enumerate(by_key):
            places[hash(key) % _SHARDS][key] = place
        values = tuple(by_key.values())
        self._chunks = tuple(values[at : at + _CHUNK] for at in range(0, len(values), _CHUNK))
        self._places = tuple(places) or _NO_PLACES
        self._n = len(values)

    def put(self, key: str, value: V) -> Keyed[V]:
        """Return the collection with a value in the place of the one of the same key, or at the end."""
        chunks, shard = self._chunks, hash(key) % _SHARDS
        made: Keyed[V] = Keyed.__new__(Keyed)
        place = self._places[shard].get(key)
        if place is not None:
            n, at = divmod(place, _CHUNK)
            old = chunks[n]
            made._chunks = (*chunks[:n], (*old[:at], value, *old[at + 1 :]), *chunks[n + 1 :])
            made._places, made._n = self._places, self._n
            return made
        is_full = self._n % _CHUNK == 0
        made._chunks = (*chunks, (value,)) if is_full else (*chunks[:-1], (*chunks[-1], value))
        places = self._places
        made._places = (*places[:shard], {**places[shard], key: self._n}, *places[shard + 1 :])
        made._n = self._n + 1
        return made

    def get(self, key: str) -> V | None:
        """Return the value of a key; `None` where there is none."""
        place = self._places[hash(key) % _SHARDS].get(key)
        return None if place is None else self._chunks[place // _CHUNK][place % _CHUNK]

    def since(self, n: int) -> tuple[V, ...]:
        """Return the values from the n-th place on, counted from 0."""
        first, at = divmod(n, _CHUNK)
        return tuple(chain.from_iterable(self._chunks[first:]))[at:]

    def __contains__(self, key: str) -> bool:
        return key in self._places[hash(key) % _SHARDS]

    def __iter__(self) -> Iterator[V]:
        return chain.from_iterable(self._chunks)

    def __len__(self) -> int:
        return self._n

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Keyed):
            return NotImplemented
        return self is other or (self._chunks == other._chunks and self._by_place() == other._by_place())

    def __hash__(self) -> int:
        return hash(self._chunks)

    def __repr__(self) -> str:
        return f"Keyed({list(zip(self._by_place(), self, strict=True))!r})"

    def _by_place(self) -> list[str]:
        places: dict[str, int] = {}
        for shard in self._places:
            places.update(shard)
        return sorted(places, key=cast(Any, places.get))


_NO_PLACES: Final[tuple[Mapping[str, int], ...]] = ({},) * _SHARDS
