"""`main.py import FILE ...`: days, chains, bars and quotes of others, in the warehouse beside live days.

What a file is, its first bytes say; what they cannot say (the category of the vendor's history), its name must. Each
file is imported whole or not at all, and once: a second run, or one after a crash, passes by what is done.
"""

from __future__ import annotations

import gzip
import os
import re
import sys
import time
import zipfile
import zlib
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path, PurePosixPath
from typing import IO, Final

import numpy as np
import orjson
import pyarrow as pa

from commands.cli import CommandError
from commands.folder import DataFolder, settings_of
from commands.interrupted import kept
from config.settings import Settings
from domain.indices import INDICES
from domain.instants import MINUTE, NEW_YORK, SECOND, session_of, to_datetime
from domain.market import bars as bars_rules
from domain.market.bars import Bars
from domain.options.chain_bounds import why_too_large
from domain.options.chain_files import NoChain, chain_in
from domain.options.profile import Profile, Shape, shape_of
from domain.session import calendar
from domain.units import Utc
from gateways.gexbot import history
from gateways.gexbot.history import HistoryError, Named
from gateways.gexbot.history_days import FoldedDay, folded
from gateways.gexbot.rest_json import profile_of
from storage.disk_space import disk_text, is_full
from storage.imports import bar_files, series_days, sqlite_days
from storage.imports.journal import Imported, Journal, digest_of
from storage.imports.market_days import MarketDays
from storage.imports.tables import bar_table, chain_table
from storage.manifest import WarehouseRefusedError
from storage.series_rows import CHAINS, KINDS, QUOTES

WHOLE_BYTES_MAX: Final = 512 * 1024 * 1024  # of a file that is read at once (chains, bars)
MEMBERS_MAX: Final = 20_000
HEAD_BYTES: Final = 4_096
BARS_TELLING: Final = 2  # more of them tell how long a bar is
_DAY: Final = re.compile(r"(?<!\d)(20\d{2})[-_]?(\d{2})[-_]?(\d{2})(?!\d)")  # the first one of a name
_DAMAGED: Final = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)


class NotImportedError(Exception):
    """A file of which nothing was imported; one sentence with the remedy."""


@dataclass(slots=True)
class Done:
    """What became of one file."""

    name: str
    kind: str = ""
    days: set[date] = field(default_factory=set)
    read_n: int = 0
    new_n: int = 0
    known_n: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    why: str = ""
    seconds: float = 0.0
    is_skipped: bool = False


def act(arguments: Namespace) -> int:
    """Import files; 1 where one of them could not be."""
    settings = settings_of(arguments)
    folder = DataFolder(settings.data_dir)
    if bool(arguments.sqlite) != bool(arguments.map):
        raise CommandError("--sqlite and --map belong together: the database, and the file that names its tables.")
    files = [*_files(arguments.files), *([arguments.sqlite] if arguments.sqlite else [])]
    if not files:
        raise CommandError("Nothing to import: name files or folders, or --sqlite FILE --map FILE.")
    folder.make()
    journal = Journal(folder.root)
    results = []
    with ExitStack() as held:
        try:
            days = held.enter_context(MarketDays(folder.warehouse))
        except WarehouseRefusedError as error:
            raise CommandError(str(error), 3) from None
        for sentence in days.findings():
            print(sentence, file=sys.stderr)
        work = _Import(settings, folder, days, arguments)
        held.enter_context(kept("Files that were imported whole are kept: the same command goes on with the rest."))
        for n, file in enumerate(files, 1):
            results.append(_one(work, journal, file, f"[{n}/{len(files)}]"))
    if arguments.json:
        print(orjson.dumps([_as_json(done) for done in results], option=orjson.OPT_INDENT_2).decode())
    else:
        print("\n".join(_summary(results)))
    return 1 if any(done.why for done in results) else 0


def _files(named: list[Path]) -> Iterator[Path]:
    for path in named:
        if path.is_dir():
            if not os.access(path, os.R_OK | os.X_OK):
                raise CommandError(f"{path} cannot be read; mend its permissions.", 3)
            yield from sorted(
                entry for entry in path.rglob("*") if entry.is_file() and not _is_hidden(entry.relative_to(path))
            )
        elif path.exists():
            yield path
        else:
            raise CommandError(f"There is no file {path}.")


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "@", "_")) for part in path.parts)


def _one(work: _Import, journal: Journal, file: Path, count: str) -> Done:
    """Import one file and say what became of it."""
    done = Done(file.name)
    begun_s = time.monotonic()
    try:
        digest = digest_of(file, f"{work.asked}|{file.name}")  # the name may say what no byte does
        before = None if work.arguments.again else journal.find(digest)
        if before is not None:
            done.kind, done.known_n, done.is_skipped = before.kind, before.new_n + before.known_n, True
            done.refused = Counter(before.refused)
        else:
            work.take(file, done, f"{count} {file.name}")
            journal.write(
                Imported(digest, file.name, done.kind, done.new_n, done.known_n, dict(sorted(done.refused.items())))
            )
    except (NotImportedError, HistoryError, bar_files.NoBarsError, sqlite_days.MapError) as error:
        done.why = str(error)
    except _DAMAGED as error:
        done.why = f"it cannot be read or kept ({error})"
        if isinstance(error, OSError) and is_full(error):
            done.why = disk_text(error, work.folder.root)
    done.seconds = time.monotonic() - begun_s
    _progress("")
    if not work.is_quiet:
        print(f"{count} {_line(done)}", flush=True)
    return done


@dataclass(slots=True)
class _Import:
    """What an import works with."""

    settings: Settings
    folder: DataFolder
    days: MarketDays
    arguments: Namespace

    @property
    def is_quiet(self) -> bool:
        """Whether only the JSON may be printed."""
        return bool(self.arguments.json)

    @property
    def ticker(self) -> str | None:
        """The ticker that was named, in capitals."""
        return self.arguments.ticker.upper() if self.arguments.ticker else None

    @property
    def asked(self) -> str:
        """What was asked of files: the same file asked for otherwise is another import."""
        told = self.arguments.map.read_text("utf-8", errors="replace") if self.arguments.map else ""
        return f"{self.ticker}|{self.arguments.category}|{told}"

    def take(self, file: Path, done: Done, label: str) -> None:
        """Import one file.

        Raises:
            NotImportedError, HistoryError, NoBarsError, MapError: nothing of it was imported.
        """
        if file == self.arguments.sqlite:
            self._sqlite(file, done)
            return
        with file.open("rb") as opened:
            magic = opened.read(4)
        if magic == history.ZIP_MAGIC:
            self._zip(file, done, label)
        elif magic == b"PAR1":
            self._bars(bar_files.of_parquet(_whole(file), self.ticker), done)
        elif magic == b"SQLi":
            raise NotImportedError("it is an SQLite database: name it with --sqlite, and its tables with --map.")
        else:
            with file.open("rb") as opened, history.unpacked(opened) as plain:
                head = plain.read(HEAD_BYTES).decode("utf-8", errors="replace").lstrip("\ufeff \t\r\n")
            if head.startswith("["):
                self._history_file(file, done, label)
            elif head.startswith("{") or not _has_bars(head):
                self._chain(_whole(file), done)
            else:
                text = _whole(file).decode("utf-8-sig", errors="replace").lstrip()
                self._bars(bar_files.of_csv(text, self.ticker), done)

    # -- the vendor's history ---------------------------------------------------------------------

    def _history_file(self, file: Path, done: Done, label: str) -> None:
        done.kind = "history"
        of = history.named(file.name)
        if self.arguments.category:
            ticker = self.ticker or (None if of is None else of.ticker)
            of = None if ticker is None else Named(ticker, self.arguments.category)
        if of is None:
            raise NotImportedError(
                "its name does not say which category it holds (2026-11-20_SPX_classic_gex_zero.json.gz does): "
                "name it with --ticker and --category."
            )
        with file.open("rb") as opened:
            found = self._folded(opened, of, done, label)
        other = _other_day(file.name, found.session)
        if other is not None:
            raise NotImportedError(f"{other}: see which is right, and rename the file if its content is.")
        self._keep([found], done)

    def _zip(self, file: Path, done: Done, label: str) -> None:
        with zipfile.ZipFile(file) as packed:
            infos = [info for info in packed.infolist() if not info.is_dir()]
            names = [PurePosixPath(info.filename).name for info in infos]
            if len(infos) > MEMBERS_MAX:
                raise NotImportedError(f"it has {len(infos)} members, more than any file that is known.")
            if any(bar_files.LEAN_BARS.fullmatch(name) or bar_files.LEAN_QUOTES.fullmatch(name) for name in names):
                self._lean(packed, infos, done)
                return
            found = []
            for info in history.members(packed):
                of = history.named(info.filename)
                if of is None:
                    done.refused["member of unknown name"] += 1
                    continue
                with packed.open(info) as member:
                    day = self._folded(member, of, done, f"{label}: {of.category}")
                other = _other_day(info.filename, day.session)
                if other is None:
                    found.append(day)
                else:
                    done.refused["member of another day than its name says"] += 1
                    done.notes.append(f"{PurePosixPath(info.filename).name}: {other}; it was left out")
        if not found:
            raise NotImportedError("no member is a day of the vendor's, nor of LEAN's layout.")
        done.kind = "end of day"
        self._keep(found, done)

    def _folded(self, file: IO[bytes], of: Named, done: Done, label: str) -> FoldedDay:
        begun_s = time.monotonic()

        def progress(n: int) -> None:
            if not self.is_quiet:
                _progress(f"{label}: {n:,} objects, {n / max(time.monotonic() - begun_s, 1e-3):,.0f} a second")

        with history.unpacked(file) as plain:
            found = folded(history.objects_in(plain), of.ticker, of.category, self._hub(of.category), progress)
        done.read_n += found.objects_n
        done.refused.update(found.refused)
        return found

    def _keep(self, found: list[FoldedDay], done: Done) -> None:
        by_day: dict[date, list[FoldedDay]] = {}
        for day in found:
            if day.session is not None:
                by_day.setdefault(day.session, []).append(day)
        if not by_day:
            raise NotImportedError("no object lies within the regular hours of a session.")
        for session, parts in sorted(by_day.items()):
            added = self.days.add(session, (pair for part in parts for pair in part.rows))
            done.days.add(session)
            done.new_n += added.new_n
            done.known_n += added.known_n

    def _hub(self, category: str) -> str:
        """Return the hub that delivers a category in the settings, else the vendor's for its kind."""
        for hub, wanted in self.settings.feed.hubs.items():
            if category in wanted:
                return hub
        shape, end = shape_of(category), category.rpartition("_")[2]
        if shape is Shape.ORDERFLOW:
            return "orderflow"
        if shape is Shape.GEX:
            return "classic" if category.startswith("classic") else "state_gex"
        return f"state_greeks_{end}" if end in ("zero", "one") else "state_greeks"

    # -- chains, bars, quotes ---------------------------------------------------------------------

    def _chain(self, data: bytes, done: Done) -> None:
        done.kind = "chain"
        quotes = chain_in(data)
        if isinstance(quotes, NoChain):
            raise NotImportedError(quotes.why)
        if quotes.at_utc is None:
            raise NotImportedError("it does not say when it was taken; a chain without an instant belongs to no day.")
        large = why_too_large(quotes)
        if large is not None:
            raise NotImportedError(large)
        other = _other_day(done.name, session_of(quotes.at_utc))
        if other is not None:
            done.notes.append(f"{done.name}: {other}; the content counts")
        ticker = self.ticker or quotes.symbol
        good = np.isfinite(quotes.strikes) & (quotes.strikes > 0.0)
        done.refused.update({"unreadable": quotes.unreadable_n, "bad_strike": int((~good).sum())})
        done.refused = +done.refused
        table = chain_table(quotes, ticker, np.flatnonzero(good))
        done.read_n = len(quotes.strikes) + quotes.unreadable_n
        self._add(session_of(quotes.at_utc), CHAINS, table, done)

    def _bars(self, read: bar_files.Read, done: Done) -> None:
        done.kind = "bars"
        done.read_n += read.unreadable_n
        done.refused.update({"unreadable": read.unreadable_n} if read.unreadable_n else {})
        for told in read.bars:
            begins = np.unique(told.begin_utc)
            apart_ns = int(np.diff(begins).min()) if len(begins) > BARS_TELLING else MINUTE
            if apart_ns > MINUTE:
                raise NotImportedError(
                    f"the bars of {told.ticker} lie {apart_ns / MINUTE:g} min apart: only bars of one minute are taken,"
                    " since what a bar closed at is known once it is over."
                )
        for told in read.bars:
            done.read_n += len(told)
            bars, refused = bars_rules.checked(told)
            done.refused.update({why.value: n for why, n in refused.items()})
            sessions = np.array([session_of(Utc(int(at))).toordinal() for at in bars.begin_utc], np.int64)
            for ordinal in np.unique(sessions):
                session = date.fromordinal(int(ordinal))
                part = bars.taken(sessions == ordinal)
                self._add(session, series_days.BARS, bar_table(part), done)
                done.notes += _holes(part, session)

    def _lean(self, packed: zipfile.ZipFile, infos: list[zipfile.ZipInfo], done: Done) -> None:
        quotes: dict[date, list[dict[str, object]]] = {}
        for info in infos:
            name = PurePosixPath(info.filename).name
            if info.file_size > WHOLE_BYTES_MAX:
                raise NotImportedError(f"{name} unpacks to more than a day of minute bars.")
            text = packed.read(info).decode("ascii", errors="replace")
            if bar_files.LEAN_BARS.fullmatch(name):
                self._bars(bar_files.of_lean(name, text), done)
            elif bar_files.LEAN_QUOTES.fullmatch(name):
                _lean_quotes(name, text, quotes, done)
            else:
                done.refused["member of unknown name"] += 1
        for session, rows in sorted(quotes.items()):
            self._add(session, QUOTES, pa.Table.from_pylist(rows, schema=KINDS[QUOTES].schema), done)
        done.kind = "LEAN quotes" if quotes else "LEAN bars"

    def _sqlite(self, file: Path, done: Done) -> None:
        done.kind = "SQLite"
        read = sqlite_days.read(file, self.arguments.map, self._hub, _object_of)
        done.refused.update(read.refused)
        done.read_n = read.read_n
        for session, rows in sorted(read.market.items()):
            added = self.days.add(session, rows)
            done.days.add(session)
            done.new_n += added.new_n
            done.known_n += added.known_n
        for kind, by_day in read.tables.items():
            for session, table in sorted(by_day.items()):
                self._add(session, kind, table, done)

    def _add(self, session: date, kind: str, table: pa.Table, done: Done) -> None:
        done.days.add(session)
        if series_days.add(self.folder.series, session, kind, table):
            done.new_n += table.num_rows
        else:
            done.known_n += table.num_rows


def _other_day(name: str, session: date | None) -> str | None:
    """Return in words that a file's name says another day than its content; `None`: it does not."""
    found = _DAY.search(PurePosixPath(name).name)
    if found is None or session is None:
        return None
    try:
        told = date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:  # digits that are no date
        return None
    return None if told == session else f"its name says {told}, its content is of {session}"


def _object_of(ticker: str, category: str, item: object) -> Profile | str:
    found = profile_of(ticker, category, item)
    return found if isinstance(found, Profile) else found.code.value


def _has_bars(head: str) -> bool:
    first = next((line for line in head.splitlines() if line.strip()), "")
    return bar_files.is_bars_header(first.split(","))


def _whole(file: Path) -> bytes:
    """Return a file's plain bytes, as far as any chain or set of bars goes.

    Raises:
        NotImportedError: it is larger.
    """
    if file.stat().st_size > WHOLE_BYTES_MAX:
        raise NotImportedError(f"it is larger than {WHOLE_BYTES_MAX >> 20} MB; split it.")
    data = file.read_bytes()
    if data[:2] != history.GZIP_MAGIC:
        return data
    with gzip.open(file) as plain:
        data = plain.read(WHOLE_BYTES_MAX + 1)
    if len(data) > WHOLE_BYTES_MAX:
        raise NotImportedError(f"it unpacks to more than {WHOLE_BYTES_MAX >> 20} MB; split it.")
    return data


def _holes(bars: Bars, session: date) -> list[str]:
    """Return the minutes that a session lacks, in one sentence."""
    day = calendar.day(session)
    found = () if day is None else bars_rules.holes(bars, day)
    if not found:
        return []
    minutes = sum((to_utc - from_utc) // (60 * SECOND) for from_utc, to_utc in found)
    begin, end = max(found, key=lambda hole: hole[1] - hole[0])
    clock = [to_datetime(at).astimezone(NEW_YORK).strftime("%H:%M") for at in (begin, end)]
    return [f"{bars.ticker} {session}: {minutes} min of the session are missing, most of them {clock[0]} to {clock[1]}"]


def _lean_quotes(name: str, text: str, into: dict[date, list[dict[str, object]]], done: Done) -> None:
    found = bar_files.LEAN_QUOTES.fullmatch(name)
    expiry = None if found is None else bar_files.day_of(found[5])
    if found is None or expiry is None:
        done.refused["member of unknown name"] += 1
        return
    trading_class = found[2].upper()
    root = trading_class.removesuffix("W").removesuffix("P")
    ticker = root if root in INDICES else trading_class
    for quote in bar_files.lean_quotes(name, text):
        done.read_n += 1
        if quote is None:
            done.refused["unreadable"] += 1
            continue
        at_utc, bid, ask, bid_size, ask_size = quote
        if ask <= 0 or bid > ask:
            done.refused["crossed_quote" if bid > ask > 0 else "empty_quote"] += 1
            continue
        into.setdefault(session_of(Utc(at_utc)), []).append(
            {
                "at_utc": at_utc, "ticker": ticker, "trading_class": trading_class, "expiry": expiry.isoformat(),
                "strike": int(found[4]) // 100, "right": found[3][0].upper(), "bid": bid, "ask": ask,
                "bid_size": bid_size, "ask_size": ask_size, "quote_utc": at_utc, "data_type": 1,
            }
        )  # fmt: skip


# -- what is said ---------------------------------------------------------------------------------


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text[:78]}", end="", file=sys.stderr, flush=True)


def _line(done: Done) -> str:
    if done.why:
        return f"{done.name}: not imported: {done.why}"
    if done.is_skipped:
        return f"{done.name}: {done.kind}, imported before ({done.known_n:,} rows; --again stores what is lost)"
    rate = f", {done.read_n / done.seconds:,.0f} a second" if done.seconds > 0.5 else ""
    known = f", {done.known_n:,} were there" if done.known_n else ""
    return f"{done.name}: {done.kind}, {done.read_n:,} read, {done.new_n:,} rows stored{known}{rate}"


def _summary(results: list[Done]) -> list[str]:
    days = sorted({day for done in results for day in done.days})
    span = "" if not days else f" of {days[0]}" + (f" to {days[-1]}" if len(days) > 1 else "")
    refused: Counter[str] = sum((done.refused for done in results if not done.is_skipped), Counter())
    failed = [done for done in results if done.why]
    lines = [f"{sum(done.new_n for done in results):,} rows stored{span}."]
    lines += [f"  {note}" for done in results for note in done.notes]
    if refused:
        lines.append(f"{sum(refused.values()):,} refused:")
        lines += [f"  {n:>9,}  {why.replace('_', ' ')}" for why, n in refused.most_common()]
    if failed:
        lines.append(f"{len(failed)} of {len(results)} files were not imported, see above.")
    return lines


def _as_json(done: Done) -> dict[str, object]:
    return {
        "file": done.name, "kind": done.kind, "days": sorted(day.isoformat() for day in done.days),
        "read": done.read_n, "stored": done.new_n, "known": done.known_n, "refused": dict(sorted(done.refused.items())),
        "notes": done.notes, "was_imported_before": done.is_skipped, "error": done.why or None,
    }  # fmt: skip
