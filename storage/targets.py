"""Where copies go: a local folder, or any file system that pyarrow can open (`s3://bucket/prefix`), behind one class.

Credentials of a remote one come from the environment, as its own tools read them (`AWS_ACCESS_KEY_ID` ...), never from
an address or a setting.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pyarrow import fs

from storage.sqlite_file import sync

_CHUNK = 1 << 20
_CONNECT_S, _REQUEST_S = 10.0, 60.0


class TargetError(Exception):
    """A target that cannot be used; the text is one sentence with the remedy."""


class Target:
    """A folder of files, here or elsewhere; a name is a relative path with `/`, and a file has it once it is whole.

    Args:
        address: a path, `file:///path`, `s3://bucket/prefix?region=…&endpoint_override=host:port&scheme=http`, or what
            else `pyarrow.fs.FileSystem.from_uri` opens.

    Raises:
        TargetError: the address says nothing that can be opened.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._files, self._root = _opened(address)

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return isinstance(self._files, fs.LocalFileSystem)

    def put(self, name: str, source: Path) -> str:
        """Write a file, read it back, and return its SHA-256.

        Raises:
            TargetError: it cannot be written, or does not read back as what was written.
        """
        digest = hashlib.sha256()
        with source.open("rb") as data, self._failing(name):
            self._write(name, _hashed(data, digest))
        wanted = digest.hexdigest()
        if self.digest(name) != wanted:
            raise TargetError(f"{name} does not read back from {self.address} as it was written; look at its disk.")
        return wanted

    def put_bytes(self, name: str, data: bytes) -> None:
        """Write a small file and read it back.

        Raises:
            TargetError: it cannot be written, or does not read back as what was written.
        """
        with self._failing(name):
            self._write(name, iter((data,)))
        if self.get(name) != data:
            raise TargetError(f"{name} does not read back from {self.address} as it was written; look at its disk.")

    def get(self, name: str) -> bytes:
        """Return a file.

        Raises:
            TargetError: there is none, or it cannot be read.
        """
        return b"".join(self._read(name))

    def fetch(self, name: str, to: Path) -> None:
        """Copy a file to this machine.

        Raises:
            TargetError: there is none, or it cannot be read.
        """
        with to.open("wb") as out:
            for chunk in self._read(name):
                out.write(chunk)

    def digest(self, name: str) -> str:
        """Return the SHA-256 of what a file holds there.

        Raises:
            TargetError: there is none, or it cannot be read.
        """
        digest = hashlib.sha256()
        for chunk in self._read(name):
            digest.update(chunk)
        return digest.hexdigest()

    def has(self, name: str) -> bool:
        """Return whether there is a file of this name.

        Raises:
            TargetError: the target cannot be reached.
        """
        return self.size(name) is not None

    def size(self, name: str) -> int | None:
        """Return the size of a file in bytes; `None` where there is none.

        Raises:
            TargetError: the target cannot be reached.
        """
        with self._failing(name):
            found = self._files.get_file_info(self._path(name))
            return int(found.size) if found.type == fs.FileType.File else None

    def names(self, folder: str) -> tuple[str, ...]:
        """Return the names of the files in a folder of it, ascending; none where it is not there.

        Raises:
            TargetError: the target cannot be reached.
        """
        return tuple(self.sizes(folder))

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the files in a folder of it with their sizes in bytes, ascending by name; none where it is not there.

        Raises:
            TargetError: the target cannot be reached.
        """
        with self._failing(folder):
            found = self._files.get_file_info(fs.FileSelector(self._path(folder), allow_not_found=True))
            sizes = {f"{folder}/{info.base_name}": int(info.size) for info in found if info.type == fs.FileType.File}
            return dict(sorted(sizes.items()))

    def move(self, name: str, to: str) -> None:
        """Give a file another name.

        Raises:
            TargetError: it cannot be moved.
        """
        with self._failing(name):
            self._files.create_dir(self._path(to).rpartition("/")[0], recursive=True)
            self._files.move(self._path(name), self._path(to))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _write(self, name: str, chunks: Iterator[bytes]) -> None:
        path = self._path(name)
        if self.is_local:
            _write_here(Path(path), chunks)
            return
        try:
            with self._files.open_output_stream(path, compression=None) as out:
                for chunk in chunks:
                    out.write(chunk)
        except BaseException:
            self._files.delete_file(path)  # what is closed half written is there all the same
            raise

    def _read(self, name: str) -> Iterator[bytes]:
        with self._failing(name), self._files.open_input_stream(self._path(name), compression=None) as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    @contextmanager
    def _failing(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = " ".join(str(error).split())
            raise TargetError(f"{self.address} cannot be used for {name} ({why}); look at it, then again.") from None


def _opened(address: str) -> tuple[Any, str]:
    if "://" not in address:
        return fs.LocalFileSystem(), str(Path(address).expanduser().resolve())
    parts = urlsplit(address)
    if parts.username or parts.password:
        raise TargetError("An address carries no credentials; give them in the environment (AWS_ACCESS_KEY_ID ...).")
    try:
        if parts.scheme != "s3":
            files, root = fs.FileSystem.from_uri(address)
            return files, root.rstrip("/")
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        files = fs.S3FileSystem(connect_timeout=_CONNECT_S, request_timeout=_REQUEST_S, **options)
        return files, f"{parts.netloc}{parts.path}".rstrip("/")
    except (OSError, ValueError, TypeError, NotImplementedError) as error:
        raise TargetError(f"{address} is no target ({' '.join(str(error).split())}); name a folder or s3://…") from None


def _hashed(data: Any, digest: Any) -> Iterator[bytes]:
    while chunk := data.read(_CHUNK):
        digest.update(chunk)
        yield chunk


def _write_here(path: Path, chunks: Iterator[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with aside.open("wb") as out:
            for chunk in chunks:
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    sync(path.parent)
