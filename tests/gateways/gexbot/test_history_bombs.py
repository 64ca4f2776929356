"""History files that would keep a reader busy for ever: each ends in a sentence after a bounded piece of it."""

from __future__ import annotations

import io
from itertools import repeat

import pytest

from gateways.gexbot.history import (
    BLANK_BYTES_MAX,
    ENDS_TRIED_MAX,
    OBJECT_BYTES_MAX,
    PIECE_BYTES,
    HistoryError,
    objects_in,
)


class Endless(io.RawIOBase):
    """A head, then the same bytes for ever, as a packed file of a few bytes gives them."""

    def __init__(self, head: bytes, filler: bytes) -> None:
        self.read_n = 0
        self._head = head
        self._filler = filler

    def read(self, size: int = -1) -> bytes:
        self.read_n += size
        data = (self._head + b"".join(repeat(self._filler, size // len(self._filler) + 1)))[:size]
        self._head = b""
        return data


@pytest.mark.parametrize("head", [b"", b"\xef\xbb\xbf", b"[", b'[{"a":1}', b'[{"a":1},'])
@pytest.mark.parametrize("filler", [b" " * 1_000, b"\r\n\t " * 1_000])
def test_blanks_without_end_are_refused_wherever_they_stand(head: bytes, filler: bytes) -> None:
    file = Endless(head, filler)
    with pytest.raises(HistoryError, match="more blanks than data"):
        list(objects_in(file))
    assert file.read_n <= BLANK_BYTES_MAX + 2 * PIECE_BYTES


def test_commas_without_end_are_refused() -> None:
    with pytest.raises(HistoryError, match="more blanks than data"):
        list(objects_in(Endless(b"[", b"," * 1_000)))


def test_an_object_of_braces_in_a_text_is_refused_after_a_few() -> None:
    bomb = b'[{"a":"' + b"}" * (ENDS_TRIED_MAX + 1) + b'"}]'
    with pytest.raises(HistoryError, match="too many braces"):
        list(objects_in(io.BytesIO(bomb)))
    few = b'[{"a":"' + b"}" * (ENDS_TRIED_MAX - 1) + b'"}]'
    assert len(list(objects_in(io.BytesIO(few)))) == 1


def test_an_object_that_never_ends_is_refused() -> None:
    file = Endless(b'[{"a":"', b"x" * 1_000)
    with pytest.raises(HistoryError, match="never ends"):
        list(objects_in(file))
    assert file.read_n <= OBJECT_BYTES_MAX + 2 * PIECE_BYTES


def test_blanks_between_objects_that_a_day_may_have_are_borne() -> None:
    day = b" \n[" + b",\r\n\r\n ".join([b'{"a":1}'] * 50) + b"\n]\n"
    assert len(list(objects_in(io.BytesIO(day)))) == 50
