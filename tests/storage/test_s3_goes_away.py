"""An S3 endpoint that dies while something is written to it: it is said, nothing half counts, and it is made good."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyrage
import pytest
from moto.server import ThreadedMotoServer

from domain.units import Utc
from storage import targets
from storage.archive import archive, indexed, retire, units
from storage.backup import back_up, backups
from storage.restore import restore
from storage.second_copy import SecondCopy
from storage.targets import Target, TargetError
from tests.storage.test_series import DAY

pytestmark = pytest.mark.slow

NOW = Utc(1_795_000_000_000_000_000)
IDENTITY = pyrage.x25519.Identity.generate()


class Endpoint:
    """A server of our own that speaks S3, and can go away and come back with what it holds."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
        self._server.start()
        _, self._port = self._server.get_host_and_port()
        self.is_up = True
        where = f"endpoint_override=127.0.0.1:{self._port}&scheme=http&region=us-east-1"
        Target(f"s3://?{where}&allow_bucket_creation=true")._files.create_dir("kept")
        self.address = f"s3://kept/desk-{uuid4().hex}?{where}"  # what one test keeps is none of another's

    def leave(self) -> None:
        if self.is_up:
            self._server.stop()
        self.is_up = False

    def come_back(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self._port)
        self._server.start()
        self.is_up = True


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setattr(targets, "_CONNECT_S", 2.0)
    monkeypatch.setattr(targets, "_REQUEST_S", 2.0)
    made = Endpoint()
    yield made
    made.leave()


def leaving_in(patch: pytest.MonkeyPatch, endpoint: Endpoint, writes_n: int) -> None:
    """Let the endpoint go away while the n-th object is written to it."""
    left, written = [writes_n], Target._write

    def write(self: Target, name: str, chunks: Iterator[bytes]) -> None:
        left[0] -= 1

        def told() -> Iterator[bytes]:
            for chunk in chunks:
                yield chunk[: len(chunk) // 2]
                if left[0] == 0:
                    endpoint.leave()
                yield chunk[len(chunk) // 2 :]

        written(self, name, told())

    patch.setattr(Target, "_write", write)


def broken_off(patch: pytest.MonkeyPatch, endpoint: Endpoint, writes_n: int, act: Callable[[], Any]) -> None:
    with patch.context() as patched:
        leaving_in(patched, endpoint, writes_n)
        with pytest.raises(TargetError) as refused:
            act()
    assert "cannot be used for" in str(refused.value) and "\n" not in str(refused.value)
    assert not endpoint.is_up
    endpoint.come_back()


@pytest.mark.parametrize("writes_n", [1, 3])
def test_a_backup_whose_target_dies_is_none_and_the_next_one_brings_everything_back(
    root: Path, tmp_path: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, writes_n: int
) -> None:
    broken_off(
        monkeypatch, endpoint, writes_n,
        lambda: back_up(root, Target(endpoint.address), IDENTITY.to_public(), NOW),
    )  # fmt: skip
    assert backups(Target(endpoint.address)) == ()
    made = back_up(root, Target(endpoint.address), IDENTITY.to_public(), NOW)
    found = restore(Target(endpoint.address), IDENTITY, tmp_path / "again")
    assert (found.lost, len(found.index.files)) == ((), made.files_n)
    trace = f"traces/{DAY}/run-1.jsonl.zst"
    assert (tmp_path / "again" / trace).read_bytes() == (root / trace).read_bytes()


def test_an_archive_whose_target_dies_deletes_nothing_here_and_is_made_whole(
    root: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    (unit,) = (unit for unit in units(root) if unit.kind == "series")
    broken_off(monkeypatch, endpoint, 1, lambda: retire(unit, Target(endpoint.address)))
    assert all(path.exists() for path in unit.files)
    target = Target(endpoint.address)
    assert indexed(target, unit.name) is None
    archive(unit, target)
    index = indexed(target, unit.name)
    assert index is not None
    assert [target.get(f"{unit.name}/{file.name}") for file in index.files] == [p.read_bytes() for p in unit.files]


def test_a_second_copy_whose_target_dies_ships_what_is_missing_once_it_is_back(
    root: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = SecondCopy(root, Target(endpoint.address))
    broken_off(monkeypatch, endpoint, 3, lambda: copy.refresh(DAY))
    assert copy.refresh(DAY) > 0
    target = Target(endpoint.address)
    for path in (path for unit in units(root) for path in unit.files):
        assert target.get(path.relative_to(root).as_posix()) == path.read_bytes()
