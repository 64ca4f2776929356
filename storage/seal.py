"""Sealing: small hot files become one sorted file per hub and shape, in a child process.

The child only writes new files under `_parts`, where no glob looks, and says what they replace; the writer puts them in
force, so the manifest keeps its one author. What is replaced is deleted at once: a reader that still holds the old
manifest misses its file and reads the next one. A file that cannot be read holds up nothing: it is left out and named.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from datetime import date
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from domain.options.profile import Shape
from storage import bucket_file, manifest
from storage.manifest import PARTS, Damaged, Manifest, Part

REPO = Path(__file__).resolve().parents[1]
_UNREADABLE = (pa.ArrowException, OSError, ValueError)


class Sealed(msgspec.Struct, frozen=True):
    """What a child did: files made, the files that they replace, and those that could not be read."""

    made: tuple[Part, ...]
    replaced: tuple[str, ...]
    damaged: tuple[Damaged, ...] = ()


class SealChild:
    """A running `python -m storage.seal`."""

    def __init__(self, root: Path, session: date, *, is_whole: bool) -> None:
        self.session = session
        self.is_whole = is_whole
        options = ["--whole"] if is_whole else []
        words = [sys.executable, "-m", "storage.seal", str(root.resolve()), session.isoformat(), *options]
        # Files, not pipes: nobody reads while the child runs, and a full pipe would hold it up for ever.
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(words, cwd=REPO, stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._err)

    def poll(self) -> Sealed | str | None:
        """Return what was sealed, why not in one sentence, or `None` while the child runs."""
        if self._process.poll() is None:
            return None
        with self._out as out, self._err as err:
            out.seek(0)
            err.seek(0)
            if self._process.returncode == 0:
                return msgspec.json.decode(out.read(), type=Sealed)
            why = (err.read().decode(errors="replace").strip().splitlines() or ["no word"])[-1]
        return f"Sealing {self.session} failed ({why}); the hot files stay."

    def wait(self) -> None:
        """Wait for the child's end."""
        self._process.wait()

    def stop(self) -> None:
        """End the child; what it wrote is deleted at the next start."""
        self._process.kill()
        self._process.wait()
        self._out.close()
        self._err.close()


def seal(root: Path, session: date, *, is_whole: bool) -> Sealed:
    """Merge the hot files of a session (with `is_whole` the sealed ones too) into one sorted file per hub and shape."""
    found = manifest.load(root, session)
    folder = manifest.folder_of(root, session)
    groups: defaultdict[tuple[str, Shape], list[Part]] = defaultdict(list)
    for part in found.parts:
        if is_whole or not part.is_sealed:
            groups[part.hub, part.shape].append(part)
    made: list[Part] = []
    replaced: list[str] = []
    damaged: list[Damaged] = []
    (folder / PARTS).mkdir(exist_ok=True)
    for (hub, shape), parts in sorted(groups.items()):
        if _is_done(parts, is_whole=is_whole):
            continue
        whole, lost = _readable(folder, shape, parts)
        damaged += lost
        if not whole:
            continue
        # The process id keeps the files of a child that outlived its parent apart from those of the next one.
        name = f"{PARTS}/sealed-{hub}-{shape.value}-{found.seal_n + 1}-{os.getpid()}.part"
        rows_n = _merge(folder, shape, whole, name)
        first_utc, last_utc = min(p.first_utc for p in whole), max(p.last_utc for p in whole)
        made.append(Part(name, hub, shape, first_utc, last_utc, rows_n, is_sealed=True))
        replaced += [part.name for part in whole]
    manifest.sync_folder(folder / PARTS)
    return Sealed(tuple(made), tuple(replaced), tuple(damaged))


def _is_done(parts: list[Part], *, is_whole: bool) -> bool:
    """Return whether there is nothing to merge: a single file, for a whole day one that was sealed as such."""
    return len(parts) == 1 and (not is_whole or (parts[0].is_sealed and parts[0].slot is None))


def _readable(folder: Path, shape: Shape, parts: list[Part]) -> tuple[list[Part], list[Damaged]]:
    """Part the files that can be read to their end from those that cannot."""
    whole, lost = [], []
    for part in parts:
        try:
            with pq.ParquetFile(folder / part.name) as file:
                rows_n = sum(batch.num_rows for batch in file.iter_batches(bucket_file.ROW_GROUP))
            if rows_n != part.rows:
                raise ValueError(f"{rows_n} rows of {part.rows}")
            whole.append(part)
        except _UNREADABLE as error:
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            lost.append(Damaged(part, why))
    return whole, lost


def _merge(folder: Path, shape: Shape, parts: list[Part], name: str) -> int:
    """Write one file ticker by ticker, so that a day needs the memory of one ticker; return the number of rows."""
    schema = bucket_file.schema_of(shape)
    hot = [pq.read_table(folder / part.name, schema=schema) for part in parts if not part.is_sealed]
    recent = pa.concat_tables([schema.empty_table(), *hot])
    sealed = [folder / part.name for part in parts if part.is_sealed]
    tickers = set(recent["ticker"].to_pylist())
    for path in sealed:
        tickers.update(pq.read_table(path, columns=["ticker"], partitioning=None)["ticker"].to_pylist())
    aside, rows_n = folder / f"{name}.tmp", 0
    with pq.ParquetWriter(aside, schema, **bucket_file.write_options(shape, level=3)) as writer:
        for ticker in sorted(tickers):
            pieces = [pq.read_table(path, filters=[("ticker", "=", ticker)], partitioning=None) for path in sealed]
            pieces.append(recent.filter(pc.equal(recent["ticker"], ticker)))
            whole = pa.concat_tables([piece.cast(schema) for piece in pieces])
            writer.write_table(whole.sort_by([(key, "ascending") for key in bucket_file.SORT]), bucket_file.ROW_GROUP)
            rows_n += whole.num_rows
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    aside.replace(folder / name)
    expected_n = sum(part.rows for part in parts)
    if rows_n != expected_n:
        raise RuntimeError(f"{name} has {rows_n} rows of {expected_n}")
    return rows_n


def adopted(found: Manifest, made: tuple[Part, ...], replaced: tuple[str, ...]) -> Manifest:
    """Return the manifest with sealed files in force."""
    gone = set(replaced)
    parts = (*made, *(part for part in found.parts if part.name not in gone))
    return msgspec.structs.replace(found, parts=parts, seal_n=found.seal_n + 1)


def main(arguments: list[str]) -> None:
    """Seal as told on the command line (`ROOT SESSION [--whole]`) and print what was done as JSON."""
    root, session, *options = arguments
    sealed = seal(Path(root), date.fromisoformat(session), is_whole="--whole" in options)
    sys.stdout.write(msgspec.json.encode(sealed).decode())


if __name__ == "__main__":
    main(sys.argv[1:])
