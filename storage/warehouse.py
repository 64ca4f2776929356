"""The warehouse's only writer: what is in hand becomes one record of the log, durable before anybody is told.

A batch of several hubs is one write and one sync, however long the day. What people query is made of it afterwards
(`show`): a hot Parquet file per hub and the entry of the newest buckets. A seal turns the log into sorted Parquet and
puts it in force by one swap of the manifest. A crash at any point leaves the old state or the new one; start-up deletes
files of our own names that neither manifest nor log name, and nothing else.
"""

from __future__ import annotations

import fcntl
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date
from itertools import count
from pathlib import Path
from typing import IO

import msgspec
import pyarrow as pa

from domain.instants import session_of
from domain.options.profile import Rows
from messages import market
from storage import bucket_columns, bucket_file, latest, manifest, plain_names
from storage.bucket_log import LogWriter
from storage.disk_space import is_full
from storage.downtime import downtime_before, downtime_until_close
from storage.entries import UNENCODABLE, Made, entry_of, refused_text, silent_of, without_unencodable
from storage.manifest import PARTS, SCHEMA, Entry, Manifest, Part, Silence, WarehouseRefusedError
from storage.recovery import recovered
from storage.seal import SealChild, Sealed, adopted
from storage.start_up import damaged_text, put_in_order, remake, set_aside, without_damaged, write_hot

NOT_STORED = "not stored"
_REMEDY = {True: "the disk is full, free some space", False: "look at the disk and the permissions of its folder"}

Outcome = market.BucketStored | market.BucketNotStored


class Warehouse:
    """The `WarehouseStore` over a folder.

    Args:
        root: the warehouse's folder, one sub-folder per session.
        is_durable: False leaves out every fsync (simulated days that nobody resumes).
        seals: False starts no child processes (the stepped runtime: a child lives in real time).
        free_min_mb: less free disk than this is a fault that `disk_fault` names.
        shows: False writes no files for those who query: the log holds the rows, and the next start makes them good.
    """

    def __init__(
        self, root: Path, *, is_durable: bool = True, seals: bool = True, free_min_mb: int = 0, shows: bool = True
    ) -> None:
        self._root = root
        self._seals = seals
        self._shows = shows
        self._free_min_mb = free_min_mb
        self._is_durable = is_durable
        self._lock: IO[bytes] | None = None
        self._logs: dict[date, LogWriter] = {}
        self._to_show: defaultdict[date, Made] = defaultdict(list)
        self._in_hand: list[market.StoreBucket] = []
        self._manifests: dict[date, Manifest] = {}
        self._unfinished: set[date] = set()
        self._findings: list[str] = []
        self._lost: defaultdict[date, list[market.StoreBucket]] = defaultdict(list)
        self._are_names_stale: set[date] = set()
        self._begun: set[tuple[date, str]] = set()  # what this process stored of already
        self._refusals_said: set[str] = set()  # what comes in every bucket is said once
        self._to_tidy: set[date] = set()
        self._child: SealChild | None = None
        self.rows_stored_n = 0
        self.rows_not_stored_n = 0

    def open(self) -> None:
        """Take the lock, put every day's folder in order and find out which days are not sealed whole yet.

        Raises:
            WarehouseRefusedError: another writer, an unwritable folder, or a manifest of a newer version.
        """
        self.close()
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            self._lock = (self._root / "writer.lock").open("ab")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise WarehouseRefusedError(
                f"Another process writes to the warehouse {self._root}; stop it or name another data folder."
            ) from error
        except OSError as error:
            raise WarehouseRefusedError(
                f"The warehouse {self._root} cannot be written ({error}); name another data folder."
            ) from error
        self._manifests.clear()
        self._to_show.clear()
        self._unfinished.clear()
        for session in manifest.sessions_in(self._root):
            self._put_in_order(session)

    def _put_in_order(self, session: date) -> None:
        """Put one day's folder in order; what is wrong with one day never stops another."""
        try:
            found, said = put_in_order(self._root, session)
        except (OSError, pa.ArrowException) as error:
            self._findings.append(f"The day {session} cannot be read ({error}); nothing of it was changed.")
            return
        self._findings += said
        if not found.is_whole:
            self._unfinished.add(session)

    def take_findings(self) -> tuple[str, ...]:
        """Return what people should know of the folders, in sentences, once."""
        said, self._findings = tuple(self._findings), []
        return said

    def close(self) -> None:
        """Stop a running seal and release the lock; what is in hand stays in hand for the next `open`."""
        if self._child is not None:
            self._child.stop()
            self._child = None
        self.tidy()
        for session in tuple(self._logs):
            self._close_log(session)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def in_hand(self) -> int:
        """Buckets taken but neither stored nor given up."""
        return len(self._in_hand)

    def take(self, message: market.StoreBucket) -> None:
        """Take one bucket in hand."""
        self._in_hand.append(message)

    def flush(self) -> tuple[Outcome, ...]:
        """Make everything in hand durable, one write per session, and return of each bucket what became of it.

        A full or unwritable disk gives the buckets up; their rows stay counted. `show` lets people query the others.
        """
        by_session: defaultdict[date, list[market.StoreBucket]] = defaultdict(list)
        # Whatever happens below, a bucket is tried once: one that cannot be written must not hold up the next ones.
        taken, self._in_hand = self._in_hand, []
        for message in taken:
            by_session[session_of(message.bucket_utc)].append(message)
        outcomes: list[Outcome] = []
        for session, messages in by_session.items():
            outcomes += self._store(session, messages)
        return tuple(outcomes)

    def show(self) -> None:
        """Let people query what was stored; what fails here is made up for at the next call or start."""
        for session in (*self._to_show, *(self._are_names_stale - self._to_show.keys())):
            folder, shown = manifest.folder_of(self._root, session), self._to_show.get(session, [])
            try:
                found = self._manifest(session)
                tables = [(part, bucket_file.table_of(columns)) for part, columns in shown]
                for part, table in tables:
                    write_hot(folder, part, table)
                if session in self._are_names_stale:
                    remake(folder, manifest.logged_parts(folder, found.log_n))
                    plain_names.show(folder, found)
                else:
                    plain_names.show_parts(folder, (part for part, _ in shown))
                latest.write(folder, tables)
            except (OSError, pa.ArrowException, WarehouseRefusedError):
                self._are_names_stale.add(session)
            else:
                self._are_names_stale.discard(session)
                self._to_show.pop(session, None)

    def _manifest(self, session: date) -> Manifest:
        if session not in self._manifests:
            self._manifests[session] = manifest.load(self._root, session)
        return self._manifests[session]

    def _store(self, session: date, messages: list[market.StoreBucket]) -> list[Outcome]:
        made: Made = []
        try:
            found = self._manifest(session)
            entries = [*self._lost_entries(session), *self._downtime(session, found, messages)]
            kept = [self._encoded(found, entries, message, made) for message in messages]
            if entries:
                bodies = [bucket_columns.to_bytes(columns) for _, columns in made]
                self._log(session).append(manifest.encode_entries(entries), bodies)
        except (OSError, WarehouseRefusedError) as error:
            self._give_up(session)
            self.rows_not_stored_n += sum(len(message.rows.rows) for message in messages)
            self._lost[session] += messages
            why = f"The warehouse could not keep the bucket ({error}); {_REMEDY[is_full(error)]}."
            return [market.BucketNotStored(hub=m.hub, bucket_utc=m.bucket_utc, why=why) for m in messages]
        self._manifests[session] = manifest.folded(found, entries)
        self._unfinished.add(session)
        self._lost.pop(session, None)
        self._begun |= {(session, message.hub) for message in messages}
        if made and self._shows:
            self._to_show[session] += made
        self.rows_stored_n += sum(len(rows.rows) for rows in kept)
        return [
            market.BucketStored(hub=m.hub, bucket_utc=m.bucket_utc, content_hash=rows.content_hash)
            for m, rows in zip(messages, kept, strict=True)
        ]

    def _encoded(self, found: Manifest, entries: list[Entry], message: market.StoreBucket, made: Made) -> Rows:
        """Add what a bucket brings to the log, and return its rows that can be stored: one bad row costs no other."""
        try:
            new, parts = entry_of(found, entries, made, message)
        except UNENCODABLE:
            message, refused = without_unencodable(message)
            new, parts = entry_of(found, entries, made, message, refused)
            self.rows_not_stored_n += len(refused)
            said = refused_text(message, refused)
            if said not in self._refusals_said:
                self._refusals_said.add(said)
                self._findings.append(said)
        if new is not None:
            entries.append(new)
            made += parts
        return message.rows

    def _lost_entries(self, session: date) -> Iterator[Entry]:
        """Return a gap for every row of the buckets that could not be stored before."""
        for message in self._lost[session]:
            rows = tuple(dict.fromkeys((row.profile.ticker, row.profile.category) for row in message.rows.rows))
            silent = (*silent_of(message, is_stored=False), Silence(rows, NOT_STORED))
            yield Entry(message.hub, message.bucket_utc, silent=silent)

    def _downtime(self, session: date, found: Manifest, messages: list[market.StoreBucket]) -> Iterator[Entry]:
        """Return the gap before the first bucket of each hub since the start of this process."""
        begun = {hub for day, hub in self._begun if day == session}
        for message in messages:
            if message.hub not in begun:
                begun.add(message.hub)
                gap = downtime_before(found, message)
                if gap is not None:
                    yield gap

    def _log(self, session: date) -> LogWriter:
        """Return the file of the log that is written to, a new one at the start and after each seal."""
        if session not in self._logs:
            folder = manifest.folder_of(self._root, session)
            (folder / PARTS).mkdir(parents=True, exist_ok=True)
            # A program that cannot read what is about to be written refuses the day instead of calling it damaged.
            if manifest.version_of(self._root, session) != SCHEMA:
                manifest.swap(self._root, manifest.load_base(self._root, session), is_durable=self._is_durable)
            first_n = self._manifest(session).log_n
            number = max((n + 1 for n, _ in manifest.logs_of(folder)), default=first_n)
            path = folder / PARTS / manifest.log_name(max(number, first_n))
            self._logs[session] = LogWriter(path, is_durable=self._is_durable)
            if self._is_durable:
                manifest.sync_folder(folder / PARTS)
        return self._logs[session]

    def _close_log(self, session: date) -> None:
        log = self._logs.pop(session, None)
        if log is not None:
            log.close()

    def _give_up(self, session: date) -> None:
        """Go on from what the disk says, in a new file of the log."""
        self._close_log(session)
        self._manifests.pop(session, None)
        self._are_names_stale.add(session)

    def add_sealed(self, session: date, made: Iterable[Part]) -> None:
        """Put sealed files of an import in force, which lie in the day's folder, synced, under names that are free.

        Raises:
            OSError: nothing changed.
            WarehouseRefusedError: the day's manifest cannot be used; nothing changed.
        """
        base = manifest.load_base(self._root, session)
        manifest.swap(self._root, msgspec.structs.replace(base, parts=(*base.parts, *made)))
        self._manifests[session] = manifest.load(self._root, session)
        self._unfinished.add(session)

    def disk_fault(self) -> str | None:
        """Return in one sentence that the disk is nearly full; `None` while it is not."""
        free_mb = shutil.disk_usage(self._root).free // 1_048_576
        if free_mb >= self._free_min_mb:
            return None
        return f"only {free_mb} MB of disk are free, {self._free_min_mb} are the least: free the disk, then resume"

    # -- sealing --------------------------------------------------------------------------------

    def end_day(self, session: date) -> None:
        """Put what a day that is over lacks up to its close on record: nobody ran any more.

        What fails here is made up for at the next call.
        """
        try:
            found = self._manifest(session)
            entries = downtime_until_close(manifest.folder_of(self._root, session), found)
            if entries:
                self._log(session).append(manifest.encode_entries(entries), [])
                self._manifests[session] = manifest.folded(found, entries)
                self._unfinished.add(session)
        except (OSError, WarehouseRefusedError):
            self._give_up(session)

    def start_seal(self, session: date | None = None) -> bool:
        """Start a child that merges hot files; with `session` all of that day into one file per hub and shape.

        Without it, a day before the newest that is not sealed whole yet comes first.
        """
        if not self._seals or self._child is not None:
            return False
        newest = max((*self._manifests, *self._unfinished), default=None)
        earlier = sorted(day for day in self._unfinished if newest is not None and day < newest)
        wanted = session or next(iter(earlier), newest)
        if wanted is None:
            return False
        is_whole = session is not None or wanted in earlier
        if wanted in earlier:
            self.end_day(wanted)
        self.show()
        found = self._manifest(wanted)
        if found.is_whole or not found.parts:
            self._unfinished.discard(wanted)
            return False
        if not is_whole and all(part.is_sealed for part in found.parts):
            return False
        self._close_log(wanted)
        numbers = [n for n, _ in manifest.logs_of(manifest.folder_of(self._root, wanted), found.log_n)]
        self._child = SealChild(self._root, wanted, max(numbers, default=found.log_n - 1), is_whole=is_whole)
        return True

    def poll_seal(self) -> str | None:
        """Take over what the child sealed; `None` while it runs, `""` when done, else why it failed."""
        if self._child is None:
            return ""
        ended = self._child.poll()
        if ended is None:
            return None
        session, until_log_n, is_whole = self._child.session, self._child.until_log_n, self._child.is_whole
        self._child = None
        if isinstance(ended, str):
            return ended
        try:
            self._adopt(session, ended, until_log_n, is_whole=is_whole)
        except (OSError, WarehouseRefusedError) as error:
            self._give_up(session)
            self._drop_unnamed(session)
            return f"The sealed files of {session} could not be put in force ({error}); what they hold stays as it was."
        said = [damaged_text(session, ended.damaged)] if ended.damaged else []
        return " ".join([*said, *self.take_findings()])

    def _drop_unnamed(self, session: date) -> None:
        """Delete the files of a seal that are not in force; what fails here is made up for at the next start."""
        folder = manifest.folder_of(self._root, session)
        with suppress(OSError, WarehouseRefusedError):
            named = manifest.load(self._root, session).named()
            for path in (*folder.glob("whole-*.parquet"), *folder.glob(f"{PARTS}/sealed-*")):
                if path.relative_to(folder).as_posix() not in named:
                    path.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Take the plain names away that show nothing since their day was sealed whole.

        Not at once: a glob that has listed them is to find them. What fails here is made up for at the next start.
        """
        for session in tuple(self._to_tidy):
            self._to_tidy.discard(session)
            with suppress(OSError, WarehouseRefusedError):
                found = manifest.load(self._root, session)
                plain_names.drop_empty(manifest.folder_of(self._root, session), found)

    def wait_for_seal(self) -> str:
        """Wait for a running seal and take it over; return why it failed, empty when all is well."""
        if self._child is not None:
            self._child.wait()
        return self.poll_seal() or ""

    def _adopt(self, session: date, sealed: Sealed, until_log_n: int, *, is_whole: bool) -> None:
        """Put sealed files in force and take what they replace away, at once.

        Under the plain names the rows of a hub go before they come again: a glob in between counts none twice.
        """
        folder = manifest.folder_of(self._root, session)
        found = manifest.load(self._root, session, until_log_n)
        gone = {*sealed.replaced, *(lost.part.name for lost in sealed.damaged)}
        plain_names.empty_slots(folder, [part for part in found.parts if part.name in gone])
        aside = tuple(set_aside(folder, lost) for lost in sealed.damaged)
        again = recovered(folder, found, manifest.load(self._root, session))
        self._findings += again.said
        found = without_damaged(again.manifest, aside, sealed.damaged)
        made: list[Part] = []
        for part in sealed.made:
            if is_whole:
                stem = f"whole-{part.hub}-{part.shape.value}"
                # A day whose manifest was made anew counts from 1 again: a name that is taken is never written over.
                names = (f"{stem}-{n}.parquet" for n in count(found.seal_n + 1))
                name = next(name for name in names if not (folder / name).exists())
                (folder / part.name).replace(folder / name)
                made.append(msgspec.structs.replace(part, name=name))
            else:
                slot = plain_names.free_slot((*self._manifest(session).parts, *made), part.hub, part.shape)
                made.append(msgspec.structs.replace(part, slot=slot))
        manifest.swap(
            self._root, adopted(found, tuple(made), sealed.replaced, until_log_n + 1), is_durable=self._is_durable
        )
        self._manifests[session] = found = manifest.load(self._root, session)
        plain_names.show_parts(folder, made)
        if is_whole:
            self._to_tidy.add(session)
        if found.is_whole:
            self._unfinished.discard(session)
        for name in sealed.replaced:
            (folder / name).unlink(missing_ok=True)
        for n, path in manifest.logs_of(folder):
            if n <= until_log_n:
                path.unlink(missing_ok=True)
