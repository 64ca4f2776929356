"""The encrypted contents of backups in a target: each is named by the hash of what it holds, its size and its own hash.

So whoever has no identity sees which of them are damaged: the size by looking, the content by reading it back. Damaged
ones leave for `damaged/`, and the content is shipped again by the next backup that has it.
"""

from __future__ import annotations

import hashlib
import re
from datetime import date
from pathlib import Path
from typing import Final

from storage.targets import Target

OBJECTS: Final = "objects"
DAMAGED: Final = "damaged"
VERIFY_DAYS: Final = 30  # every object is read back once in so many days
_FOLDERS: Final = tuple(f"{n:02x}" for n in range(256))
_NAME: Final = re.compile(r"(?P<content>[0-9a-f]{64})\.(?P<size>\d+)\.(?P<sha256>[0-9a-f]{64})\.age")


class Objects:
    """The objects of a target.

    Args:
        target: where they are.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._whole: dict[str, dict[str, str]] = {}
        self.damaged: list[str] = []

    def has(self, content: str) -> bool:
        """Return whether an object of this content is there and has its size.

        Raises:
            TargetError: the target cannot be used.
        """
        return content in self._in(content[:2])

    def put(self, content: str, encrypted: Path) -> None:
        """Keep an object, read back.

        Raises:
            TargetError: it cannot be written, or does not read back as what was written.
            OSError: the file here cannot be read.
        """
        with encrypted.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        name = f"{OBJECTS}/{content[:2]}/{content}.{encrypted.stat().st_size}.{sha256}.age"
        self._target.put(name, encrypted)
        self._in(content[:2])[content] = name

    def verify(self, today: date) -> int:
        """Read back the share of the objects that is due today, and return how many those were.

        Raises:
            TargetError: the target cannot be used.
        """
        due = [folder for n, folder in enumerate(_FOLDERS) if (n - today.toordinal()) % VERIFY_DAYS == 0]
        read_n = 0
        for folder in due:
            for content, name in tuple(self._in(folder).items()):
                read_n += 1
                if self._target.digest(name) != name.rpartition(".age")[0].rpartition(".")[2]:
                    del self._in(folder)[content]
                    self._set_aside(content, name)
        return read_n

    def lost(self) -> tuple[str, ...]:
        """Return the contents that were damaged and have not been put again."""
        return tuple(content for content in self.damaged if not self.has(content))

    def _in(self, folder: str) -> dict[str, str]:
        """Return the whole objects of a folder by content; what has another size than its name says is set aside."""
        if folder not in self._whole:
            found = self._whole[folder] = {}
            for name, size in self._target.sizes(f"{OBJECTS}/{folder}").items():
                named = _NAME.fullmatch(name.rpartition("/")[2])
                if named is not None and int(named["size"]) == size:
                    found[named["content"]] = name
                elif named is not None:
                    self._set_aside(named["content"], name)
        return self._whole[folder]

    def _set_aside(self, content: str, name: str) -> None:
        self._target.move(name, f"{DAMAGED}/{name}")
        self.damaged.append(content)


def candidates(target: Target, content: str) -> tuple[str, ...]:
    """Return the objects that should hold a content, those of the size that their name says first.

    Before version 0.4 an object was named by its content alone; it counts as well.

    Raises:
        TargetError: the target cannot be used.
    """
    found = {
        name: size for name, size in target.sizes(f"{OBJECTS}/{content[:2]}").items()
        if name.rpartition("/")[2].startswith(f"{content}.")
    }  # fmt: skip

    def is_cut(name: str) -> bool:
        named = _NAME.fullmatch(name.rpartition("/")[2])
        return named is not None and int(named["size"]) != found[name]

    return tuple(sorted(found, key=lambda name: (is_cut(name), name)))
