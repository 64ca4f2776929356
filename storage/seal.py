"""Sealing: what the log holds becomes one sorted file per hub and shape, in a child process.

The child only writes new files under `_parts`, where no glob looks, and says what they replace; the writer puts them in
force, so the manifest keeps its one author. What is replaced is deleted at once: a reader that still holds the old
manifest misses its file and reads the next one. Rows come from the log; where it is damaged, and for files of versions
without one, from the hot file. What cannot be read at all holds up nothing: it is left out and named.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from datetime import date
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from domain.options.profile import Shape
from storage import bucket_file, bucket_log, manifest
from storage.aside import written_aside
from storage.disk_space import disk_text
from storage.manifest import PARTS, Damaged, LoggedPart, Manifest, Part
from storage.ticker_columns import of_ticker

REPO = Path(__file__).resolve().parents[1]
_UNREADABLE = (pa.ArrowException, OSError, ValueError)


class Sealed(msgspec.Struct, frozen=True):
    """What a child did: files made, the files that they replace, and those that could not be read."""

    made: tuple[Part, ...]
    replaced: tuple[str, ...]
    damaged: tuple[Damaged, ...] = ()


class SealChild:
    """A running `python -m storage.seal`."""

    def __init__(self, root: Path, session: date, until_log_n: int, *, is_whole: bool) -> None:
        self.session = session
        self.until_log_n = until_log_n
        self.is_whole = is_whole
        options = ["--whole"] if is_whole else []
        words = [
            sys.executable, "-m", "storage.seal", str(root.resolve()), session.isoformat(), str(until_log_n), *options,
        ]  # fmt: skip
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
        return f"Sealing {self.session} failed, the hot files stay: {why}"

    def wait(self) -> None:
        """Wait for the child's end."""
        self._process.wait()

    def stop(self) -> None:
        """End the child; what it wrote is deleted at the next start."""
        self._process.kill()
        self._process.wait()
        self._out.close()
        self._err.close()


def seal(root: Path, session: date, until_log_n: int, *, is_whole: bool) -> Sealed:
    """Make one sorted file per hub and shape of what the log's files up to a number hold, and of older hot files.

    With `is_whole` the sealed files are merged too.
    """
    found = manifest.load(root, session, until_log_n)
    folder = manifest.folder_of(root, session)
    logged = {one.part.name: one for one in manifest.logged_parts(folder, found.log_n, until_log_n)}
    groups: defaultdict[tuple[str, Shape], list[Part]] = defaultdict(list)
    for part in found.parts:
        if is_whole or not part.is_sealed:
            groups[part.hub, part.shape].append(part)
    made: list[Part] = []
    replaced: list[str] = []
    damaged: list[Damaged] = []
    (folder / PARTS).mkdir(exist_ok=True)
    for (hub, shape), parts in sorted(groups.items()):
        if is_whole and len(parts) == 1 and parts[0].is_sealed and parts[0].slot is None:
            continue
        whole, hot, lost = _readable(folder, parts, logged)
        damaged += lost
        if not whole:
            continue
        # The process id keeps the files of a child that outlived its parent apart from those of the next one.
        name = f"{PARTS}/sealed-{hub}-{shape.value}-{found.seal_n + 1}-{os.getpid()}.part"
        sealed = [folder / part.name for part in whole if part.is_sealed]
        try:
            rows_n = _merge(shape, sealed, hot, folder / name)
            hot.clear()  # not in memory beside those of the next hub
        except OSError:
            for part in made:
                (folder / part.name).unlink(missing_ok=True)
            raise
        if rows_n != (expected_n := sum(part.rows for part in whole)):
            raise RuntimeError(f"{name} has {rows_n} rows of {expected_n}")
        first_utc, last_utc = min(p.first_utc for p in whole), max(p.last_utc for p in whole)
        columns_n = bucket_file.COLUMNS
        made.append(Part(name, hub, shape, first_utc, last_utc, rows_n, is_sealed=True, columns_n=columns_n))
        replaced += [part.name for part in whole]
    manifest.sync_folder(folder / PARTS)
    return Sealed(tuple(made), tuple(replaced), tuple(damaged))


def _readable(
    folder: Path, parts: list[Part], logged: dict[str, LoggedPart]
) -> tuple[list[Part], list[pa.Table], list[Damaged]]:
    """Return the parts that can be read to their end, the rows of the hot ones among them, and the others."""
    whole, hot, lost = [], [], []
    for part in parts:
        try:
            if part.is_sealed:
                with pq.ParquetFile(folder / part.name) as file:
                    groups = range(file.num_row_groups)
                    rows_n = sum(file.read_row_group(n, use_threads=False).num_rows for n in groups)
            else:
                hot.append(hot_table(folder, part, logged.get(part.name)))
                rows_n = hot[-1].num_rows
            if rows_n != part.rows:
                raise ValueError(f"{rows_n} rows of {part.rows}")
            whole.append(part)
        except _UNREADABLE as error:
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            lost.append(Damaged(part, why))
    return whole, hot, lost


def hot_table(folder: Path, part: Part, logged: LoggedPart | None) -> pa.Table:
    """Return a hot part's rows, from the log if it holds them whole, else from its file.

    Raises:
        OSError, pa.ArrowException: neither can be read.
    """
    raw = bucket_log.body(logged.path, logged.record, logged.body_n) if logged is not None else None
    return bucket_file.from_bytes(raw, part.shape) if raw is not None else bucket_file.read(
        folder / part.name, part.shape
    )  # fmt: skip


def _merge(shape: Shape, sealed: list[Path], hot: list[pa.Table], path: Path) -> int:
    """Write one file ticker by ticker, so that a day needs the memory of one ticker; return the number of rows."""
    schema = bucket_file.schema_of(shape)
    recent = pa.concat_tables([schema.empty_table(), *hot])
    rows_n, options = 0, bucket_file.write_options(shape, level=3)
    with ExitStack() as stack:
        files = [stack.enter_context(pq.ParquetFile(one)) for one in sealed]
        aside = stack.enter_context(written_aside(path, is_durable=True))
        writer = stack.enter_context(pq.ParquetWriter(aside, schema, **options))
        told = (recent, *(file.read(columns=["ticker"], use_threads=False) for file in files))
        for ticker in sorted({word for table in told for word in table["ticker"].unique().to_pylist()}):
            pieces = [of_ticker(_row_groups(file, ticker), ticker) for file in files]
            pieces.append(of_ticker(recent, ticker))
            whole = pa.concat_tables([bucket_file.conformed(piece, shape) for piece in pieces])
            writer.write_table(whole.sort_by([(key, "ascending") for key in bucket_file.SORT]), bucket_file.ROW_GROUP)
            rows_n += whole.num_rows
    return rows_n


def _row_groups(file: pq.ParquetFile, ticker: str) -> pa.Table:
    return file.read_row_groups(bucket_file.row_groups_of(file.metadata, ticker), use_threads=False)


def adopted(found: Manifest, made: tuple[Part, ...], replaced: tuple[str, ...], log_n: int) -> Manifest:
    """Return the manifest with sealed files in force; `log_n` is the first file of the log that they do not hold."""
    gone = set(replaced)
    parts = (*made, *(part for part in found.parts if part.name not in gone))
    return msgspec.structs.replace(found, parts=parts, seal_n=found.seal_n + 1, log_n=log_n)


def main(arguments: list[str]) -> None:
    """Seal as told on the command line (`ROOT SESSION LOG [--whole]`) and print what was done as JSON."""
    root, session, until_log_n, *options = arguments
    try:
        sealed = seal(Path(root), date.fromisoformat(session), int(until_log_n), is_whole="--whole" in options)
    except OSError as error:
        raise SystemExit(disk_text(error, root)) from None
    sys.stdout.write(msgspec.json.encode(sealed).decode())


if __name__ == "__main__":
    main(sys.argv[1:])
