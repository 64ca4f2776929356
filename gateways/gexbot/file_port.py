"""The hub of a source that is files: the vendor's history of a day, played as the market's clock passes it."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Final

import msgspec
import orjson

from domain.instants import BUCKET_NS, SECOND, bucket_of, session_of
from domain.options.profile import IngestMode, Profile
from domain.units import Utc
from gateways.bucket_port import BucketPort, End, PortSetup
from gateways.gexbot.history import HistoryError, named, objects_in, unpacked
from gateways.gexbot.rest_json import profile_of
from messages import market

LOOK_S: Final = 0.005  # the market's clock may run at any pace
TURN_N: Final = 16  # profiles between two chances for the loop's other work


class _Head(msgspec.Struct):
    """What must be known of an object before it is worth reading whole."""

    timestamp: float


_HEAD: Final = msgspec.json.Decoder(_Head)


class FilePort(BucketPort):
    """The port of `hub:file`.

    Args:
        setup: as every port's.
        folder: where history files lie, at any depth, under the vendor's names (`..._SPX_classic_gex_zero.json.gz`).
    """

    mode = IngestMode.IMPORT

    def __init__(self, setup: PortSetup, folder: Path) -> None:
        super().__init__(setup)
        self._folder = folder

    async def hold(self, dial: market.DialHub) -> End:
        """Play what the folder has of today; a day that has been played to its end stays up and says nothing more."""
        session = session_of(self.setup.now_utc())
        files = [path for path in sorted(self._folder.rglob("*.json*")) if self._is_wanted(path)]
        merged = heapq.merge(*(last_of_buckets(path, session) for path in files), key=lambda p: p.source_utc)
        played_n = 0
        try:
            for profile in merged:
                while (now := self.setup.now_utc()) < profile.source_utc:
                    await asyncio.sleep(LOOK_S)
                if played_n == 0:
                    self.note_up(dial)
                played_n += 1
                if bucket_of(profile.source_utc) >= bucket_of(now) - BUCKET_NS:  # what is long over is nobody's now
                    self.keep(profile)
                if played_n % TURN_N == 0:
                    await asyncio.sleep(0)
        except (HistoryError, OSError) as error:
            return End(f"a history file of {self._folder} cannot be read on: {error}", has_delivered=played_n > 0)
        if played_n == 0:
            return End(f"{self._folder} has no history of {session} for these tickers; set feed.folder")
        await asyncio.Event().wait()
        raise AssertionError("an event that nobody sets was set")

    def _is_wanted(self, path: Path) -> bool:
        name = named(path.name)
        return name is not None and (name.ticker, name.category) in self.setup.expected


def last_of_buckets(path: Path, session: date) -> Iterator[Profile]:
    """Yield the last profile of each bucket of a file, if the file is of that session; what cannot be read is left out.

    Raises:
        HistoryError: the file is damaged.
    """
    name = named(path.name)
    assert name is not None, "the caller has chosen it by its name"
    newest, newest_utc = b"", Utc(0)
    with path.open("rb") as file, unpacked(file) as plain:
        for raw in objects_in(plain):
            try:
                at_utc = Utc(int(_HEAD.decode(raw).timestamp) * SECOND)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue
            if session_of(at_utc) != session:
                continue
            if newest and bucket_of(at_utc) > bucket_of(newest_utc):
                yield from _read(name.ticker, name.category, newest)
            if at_utc >= newest_utc:
                newest, newest_utc = raw, at_utc
    if newest:
        yield from _read(name.ticker, name.category, newest)


def _read(ticker: str, category: str, raw: bytes) -> Iterator[Profile]:
    profile = profile_of(ticker, category, orjson.loads(raw))
    if isinstance(profile, Profile):
        yield profile
