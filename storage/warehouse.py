"""The warehouse's only writer: each closed bucket a small Parquet file, made known by one swap of the manifest.

Nothing is appended to and no footerless file is held open, so a crash at any point leaves the old manifest or the new
one; start-up deletes files of our own names that the manifest does not name, and nothing else.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections import Counter, defaultdict
from datetime import date
from itertools import count
from pathlib import Path
from typing import IO

import msgspec
import pyarrow as pa

from domain.instants import session_of
from messages import market
from storage import bucket_file, manifest, plain_names
from storage.identities import violations_of
from storage.manifest import PARTS, Bucket, HubCounts, Manifest, Part, WarehouseRefusedError
from storage.seal import SealChild, Sealed, adopted
from storage.start_up import damaged_text, put_in_order, set_aside, without_damaged

NOT_STORED = "not stored"

Outcome = market.BucketStored | market.BucketNotStored


class Warehouse:
    """The `WarehouseStore` over a folder.

    Args:
        root: the warehouse's folder, one sub-folder per session.
        is_durable: False leaves out every fsync (simulated days that nobody resumes).
        seals: False starts no child processes (the stepped runtime: a child lives in real time).
        free_min_mb: less free disk than this is a fault that `disk_fault` names.
    """

    def __init__(self, root: Path, *, is_durable: bool = True, seals: bool = True, free_min_mb: int = 0) -> None:
        self._root = root
        self._seals = seals
        self._free_min_mb = free_min_mb
        self._is_durable = is_durable
        self._lock: IO[bytes] | None = None
        self._in_hand: list[market.StoreBucket] = []
        self._manifests: dict[date, Manifest] = {}
        self._unfinished: set[date] = set()
        self._findings: list[str] = []
        self._lost: defaultdict[date, list[market.StoreBucket]] = defaultdict(list)
        self._are_names_stale: set[date] = set()
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
        """Make everything in hand durable, with one swap per session, and return of each bucket what became of it.

        A full or unwritable disk gives the buckets up; their rows stay counted.
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

    def _manifest(self, session: date) -> Manifest:
        if session not in self._manifests:
            self._manifests[session] = manifest.load(self._root, session)
        return self._manifests[session]

    def _store(self, session: date, messages: list[market.StoreBucket]) -> list[Outcome]:
        written: list[Part] = []
        try:
            (manifest.folder_of(self._root, session) / PARTS).mkdir(parents=True, exist_ok=True)
            found = self._with_lost(self._manifest(session))
            for message in messages:
                if not _has(found, message):
                    parts_n = len(written)
                    self._write(found, message, written)
                    found = _with_bucket(found, message, written[parts_n:])
            if found is not self._manifest(session):
                if written and self._is_durable:
                    manifest.sync_folder(manifest.folder_of(self._root, session) / PARTS)
                manifest.swap(self._root, found, is_durable=self._is_durable)
        except (OSError, pa.ArrowException, OverflowError, WarehouseRefusedError) as error:
            self._give_up(session, written)
            self.rows_not_stored_n += sum(len(message.rows.rows) for message in messages)
            self._lost[session] += messages
            why = f"The warehouse could not keep the bucket ({error}); free or repair the disk."
            return [market.BucketNotStored(hub=m.hub, bucket_utc=m.bucket_utc, why=why) for m in messages]
        self._manifests[session] = found
        self._unfinished.add(session)
        self._lost.pop(session, None)
        self._show(session, found, written)
        self.rows_stored_n += sum(len(message.rows.rows) for message in messages)
        return [
            market.BucketStored(hub=m.hub, bucket_utc=m.bucket_utc, content_hash=m.rows.content_hash) for m in messages
        ]

    def _with_lost(self, found: Manifest) -> Manifest:
        """Return the manifest with a gap for every row of the buckets that could not be stored before."""
        gaps = found.gaps
        for message in self._lost[found.session]:
            silent = manifest.with_gaps(gaps, message.hub, message.bucket_utc, message.absent, message.why_absent)
            rows = tuple(dict.fromkeys((row.profile.ticker, row.profile.category) for row in message.rows.rows))
            gaps = manifest.with_gaps(silent, message.hub, message.bucket_utc, rows, NOT_STORED)
        return found if gaps is found.gaps else msgspec.structs.replace(found, gaps=gaps)

    def _show(self, session: date, found: Manifest, written: list[Part]) -> None:
        """Let a plain glob see what was stored; what fails here is made up for at the next store or start."""
        folder = manifest.folder_of(self._root, session)
        try:
            if session in self._are_names_stale:
                plain_names.show(folder, found)
            else:
                plain_names.show_parts(folder, written)
            self._are_names_stale.discard(session)
        except OSError:
            self._are_names_stale.add(session)

    def _write(self, found: Manifest, message: market.StoreBucket, written: list[Part]) -> None:
        """Write a bucket's files under their names and add them to `written`; nobody knows of them before the swap."""
        folder = manifest.folder_of(self._root, found.session)
        store_n = sum(b.bucket_utc == message.bucket_utc for b in found.buckets.get(message.hub, ()))
        for shape, rows in bucket_file.by_shape(message.rows.rows).items():
            table = bucket_file.table_of(shape, rows, found.session, message.bucket_utc, store_n)
            name = f"{PARTS}/hot-{message.hub}-{message.bucket_utc}-{store_n}-{shape.value}.part"
            slot = plain_names.free_slot((*found.parts, *written), message.hub, shape)
            aside = folder / f"{name}.tmp"
            bucket_file.write_table(table, shape, aside, {"content_hash": message.rows.content_hash})
            if self._is_durable:
                _sync(aside)
            aside.replace(folder / name)
            written.append(
                Part(
                    name, message.hub, shape, message.bucket_utc, message.bucket_utc, len(rows), store_n=store_n,
                    content_hash=message.rows.content_hash, slot=slot,
                )
            )  # fmt: skip

    def _give_up(self, session: date, written: list[Part]) -> None:
        """Go on from what the disk says (a swap that failed late may be in force); delete what it does not name."""
        self._manifests.pop(session, None)
        folder = manifest.folder_of(self._root, session)
        try:
            named = manifest.load(self._root, session).named()
            strays = (path.relative_to(folder).as_posix() for path in (folder / PARTS).glob("hot-*.tmp"))
            for name in (*(part.name for part in written), *strays):
                if name not in named:
                    (folder / name).unlink(missing_ok=True)
        except (OSError, WarehouseRefusedError):
            return  # the next start deletes them

    def disk_fault(self) -> str | None:
        """Return in one sentence that the disk is nearly full; `None` while it is not."""
        free_mb = shutil.disk_usage(self._root).free // 1_048_576
        if free_mb >= self._free_min_mb:
            return None
        return f"only {free_mb} MB of disk are free, {self._free_min_mb} are the least: free the disk, then resume"

    # -- sealing --------------------------------------------------------------------------------

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
        found = self._manifest(wanted)
        if found.is_whole or not found.parts:
            self._unfinished.discard(wanted)
            return False
        hot_n = Counter((part.hub, part.shape) for part in found.parts if not part.is_sealed)
        if not is_whole and max(hot_n.values(), default=0) < 2:
            return False
        self._child = SealChild(self._root, wanted, is_whole=is_whole)
        return True

    def poll_seal(self) -> str | None:
        """Take over what the child sealed; `None` while it runs, `""` when done, else why it failed."""
        if self._child is None:
            return ""
        ended = self._child.poll()
        if ended is None:
            return None
        session, is_whole = self._child.session, self._child.is_whole
        self._child = None
        if isinstance(ended, str):
            return ended
        try:
            self._adopt(session, ended, is_whole=is_whole)
        except (OSError, WarehouseRefusedError) as error:
            self._are_names_stale.add(session)
            return f"The sealed files of {session} could not be put in force ({error})."
        return damaged_text(session, ended.damaged) if ended.damaged else ""

    def wait_for_seal(self) -> str:
        """Wait for a running seal and take it over; return why it failed, empty when all is well."""
        if self._child is not None:
            self._child.wait()
        return self.poll_seal() or ""

    def _adopt(self, session: date, sealed: Sealed, *, is_whole: bool) -> None:
        """Put sealed files in force and take what they replace away, at once.

        Under the plain names the rows of a hub go before they come again: a glob in between counts none twice.
        """
        folder = manifest.folder_of(self._root, session)
        found = self._manifest(session)
        gone = {*sealed.replaced, *(lost.part.name for lost in sealed.damaged)}
        replaced = [part for part in found.parts if part.name in gone]
        plain_names.empty_slots(folder, replaced)
        aside = tuple(set_aside(folder, lost) for lost in sealed.damaged)
        found = without_damaged(found, aside, sealed.damaged)
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
                slot = plain_names.free_slot((*found.parts, *made), part.hub, part.shape)
                made.append(msgspec.structs.replace(part, slot=slot))
        found = adopted(found, tuple(made), sealed.replaced)
        manifest.swap(self._root, found, is_durable=self._is_durable)
        self._manifests[session] = found
        plain_names.show_parts(folder, made)
        if is_whole:
            plain_names.drop_empty(folder, found)
        if found.is_whole:
            self._unfinished.discard(session)
        for name in sealed.replaced:
            (folder / name).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _has(found: Manifest, message: market.StoreBucket) -> bool:
    """Return whether exactly this was stored before (a repeated delivery)."""
    digest = message.rows.content_hash
    stored = found.buckets.get(message.hub, ())
    return any(b.bucket_utc == message.bucket_utc and b.content_hash == digest for b in stored)


def _with_bucket(found: Manifest, message: market.StoreBucket, parts: list[Part]) -> Manifest:
    hub, counts = message.hub, message.counts
    stored = found.buckets.get(hub, ())
    store_n = sum(b.bucket_utc == message.bucket_utc for b in stored)
    rows = message.rows
    before = found.hubs.get(hub, HubCounts())
    after = HubCounts(
        rows=before.rows + len(rows.rows),
        accepted=before.accepted + counts.accepted,
        repeated=before.repeated + counts.repeated,
        late=before.late + counts.late,
        refused=_added(before.refused, dict(counts.refused)),
        violations=_added(before.violations, violations_of(rows.rows)),
    )
    return msgspec.structs.replace(
        found,
        parts=(*found.parts, *parts),
        buckets=found.buckets | {hub: (*stored, Bucket(message.bucket_utc, store_n, rows.content_hash))},
        gaps=manifest.with_gaps(found.gaps, hub, message.bucket_utc, message.absent, message.why_absent),
        hubs=found.hubs | {hub: after},
    )


def _added(a: dict[str, int], b: dict[str, int]) -> dict[str, int]:
    return {key: a.get(key, 0) + b.get(key, 0) for key in sorted(a.keys() | b.keys())}
