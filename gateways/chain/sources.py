"""Where a chain comes from: files that somebody keeps fresh, one a ticker."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Final, Protocol

import msgspec

from domain.instants import MINUTE, bucket_of
from domain.options.chain_bounds import why_implausible
from domain.options.chain_files import NoChain, chain_in
from domain.options.chain_gamma import ChainQuotes
from domain.signals.feed_rules import LEAP_MAX, SpotWatch
from domain.units import Ticks, Utc

FILE_BYTES_MAX: Final = 40 * 1024 * 1024  # the widest index chain is 15 MB; while one is parsed all threads wait
GZIP_MAGIC: Final = b"\x1f\x8b"


class ChainNow(msgspec.Struct, frozen=True):
    """A chain as it stands, and the spot in USD to evaluate it at."""

    quotes: ChainQuotes
    spot: float


class ChainSource(Protocol):
    """Gives the newest chain of a ticker. Called from one thread, and may block.

    `comes_later`: a chain that is not there may come within moments, so a bucket that lacks it waits.
    """

    comes_later: bool

    def read(self, ticker: str, at_utc: Utc) -> ChainNow | NoChain:
        """Return the chain of a ticker at an instant, or why there is none that may be used."""


class FolderSource:
    """Chains in a folder, `<TICKER>.csv` or `<TICKER>.json` (also `.gz`), each read again when it changes.

    A file is believed when it is of the ticker, its numbers can be, and its spot is near the one before; a spot that
    leapt is believed once a later file says the same.

    Args:
        folder: where they are.
        age_max_ns: a chain taken longer ago is stale and gives nothing.
    """

    comes_later = False

    def __init__(self, folder: Path, age_max_ns: int) -> None:
        self._folder = folder
        self._age_max_ns = age_max_ns
        self._kept: dict[Path, tuple[tuple[int, int], ChainQuotes | NoChain]] = {}
        self._spots: dict[str, SpotWatch] = {}

    def read(self, ticker: str, at_utc: Utc) -> ChainNow | NoChain:
        """Return a ticker's chain from its newest file."""
        try:
            paths = [path for path in self._folder.iterdir() if path.name.split(".")[0] == ticker and path.is_file()]
            path = max(paths, key=lambda path: path.stat().st_mtime_ns, default=None)
            quotes = None if path is None else self._chain(ticker, path)
        except OSError as error:
            return NoChain(f"The chain of {ticker} cannot be read ({error.strerror or error}).")
        if path is None or quotes is None:
            return NoChain(f"{self._folder} has no chain {ticker}.csv or {ticker}.json.")
        if isinstance(quotes, NoChain):
            return NoChain(f"{path.name}: {quotes.why}")
        if quotes.at_utc is None or quotes.spot is None:
            return NoChain(f"{path.name} does not say when it was taken, or at which spot.")
        age_ns = at_utc - quotes.at_utc
        if age_ns > self._age_max_ns:
            return NoChain(
                f"{path.name} was taken {age_ns // MINUTE} min ago, {self._age_max_ns // MINUTE} min are allowed"
                " (feed.chain.age_max_ms); download it again."
            )
        if age_ns < -MINUTE:
            return NoChain(f"{path.name} was taken {-age_ns // MINUTE} min from now; check the clocks.")
        watch = self._spots.setdefault(ticker, SpotWatch())
        if not watch.is_plausible(Ticks(round(quotes.spot * 100.0)), bucket_of(quotes.at_utc)):
            return NoChain(
                f"{path.name}: its spot of {quotes.spot:,.2f} is more than {LEAP_MAX:.0%} from the one before; it is"
                " believed when a later file says the same."
            )
        return ChainNow(quotes, quotes.spot)

    def _chain(self, ticker: str, path: Path) -> ChainQuotes | NoChain:
        stat = path.stat()
        stamp = stat.st_mtime_ns, stat.st_size
        known = self._kept.get(path)
        if known is None or known[0] != stamp:
            known = self._kept[path] = stamp, _read(path, ticker)
        return known[1]


def _read(path: Path, ticker: str) -> ChainQuotes | NoChain:
    with path.open("rb") as file:
        data = file.read(FILE_BYTES_MAX + 1)
    if data[:2] == GZIP_MAGIC:
        try:
            with gzip.open(path) as plain:
                data = plain.read(FILE_BYTES_MAX + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            return NoChain(f"it is a damaged gzip file ({error}).")
    if len(data) > FILE_BYTES_MAX:
        return NoChain(f"it is larger than any chain (over {FILE_BYTES_MAX >> 20} MB).")
    quotes = chain_in(data)
    if isinstance(quotes, NoChain) or quotes.spot is None or quotes.at_utc is None:
        return quotes
    why = why_implausible(quotes, ticker)
    return quotes if why is None else NoChain(why)
