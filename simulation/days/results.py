"""Results of many days in a file, a line each as they are made: taken up again, and never mixed with other code's."""

from __future__ import annotations

import fcntl
import hashlib
from pathlib import Path
from typing import IO, Final, Generic, Protocol, TypeVar

import msgspec

from config.settings import Settings

_ROOT: Final = Path(__file__).parents[2]
_ROOMS: Final = ("domain", "messages", "config", "supervision", "actors", "gateways", "storage", "simulation")
_ENCODER = msgspec.json.Encoder()


class OfSeed(Protocol):
    """What one day came to."""

    @property
    def seed(self) -> int:
        """The day's seed."""


R = TypeVar("R", bound=OfSeed)


class SweepError(Exception):
    """A sweep cannot begin or go on; one sentence with the remedy."""


class _Opening(msgspec.Struct, frozen=True):
    """First line of a results file: what the days were made of."""

    settings_digest: str
    code: str


class Results(Generic[R]):
    """An append-only file of results, one line a day and one sweep at a time; a torn last line is cut.

    Raises:
        SweepError: another sweep has the file, it is none, or of other settings or code.
    """

    def __init__(self, path: Path, settings: Settings, code: str, of: type[R]) -> None:
        opening = _Opening(settings.digest(), code)
        self.done: dict[int, R] = {}
        self._decoder = msgspec.json.Decoder(of)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = path.open("ab")
        except OSError as error:
            raise SweepError(f"{path} cannot be written ({error.strerror}); name another file.") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise SweepError(f"{path} is being written by another sweep; name another file, or wait for it.") from None
        if self._file.tell():
            self._take(path, opening)
        else:
            self._file.write(msgspec.json.encode(opening) + b"\n")
            self._file.flush()

    def _take(self, path: Path, opening: _Opening) -> None:
        whole = path.read_bytes()
        kept = whole[: whole.rfind(b"\n") + 1]
        if len(kept) < len(whole):
            with path.open("r+b") as file:
                file.truncate(len(kept))
        first, *lines = kept.splitlines() or [b""]
        try:
            found = msgspec.json.decode(first, type=_Opening)
            results = [self._decoder.decode(line) for line in lines]
        except msgspec.DecodeError as error:
            raise SweepError(f"{path} is no results file ({error}); name another one.") from None
        if found != opening:
            raise SweepError(f"{path} holds days of other settings or another version of the code; name another file.")
        self.done = {result.seed: result for result in results}

    def add(self, result: R) -> None:
        """Append a day."""
        self.done[result.seed] = result
        self._file.write(_ENCODER.encode(result) + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def source_digest() -> str:
    """Return a digest of the program's source: results of two versions must not be mixed."""
    digest = hashlib.blake2b(digest_size=12)
    of_rooms = [path for room in _ROOMS for path in sorted((_ROOT / room).rglob("*.py"))]
    for path in (*of_rooms, _ROOT / "main.py"):
        digest.update(path.relative_to(_ROOT).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
