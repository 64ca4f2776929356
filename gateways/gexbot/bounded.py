"""HTTP whose answers end in time: a peer that sends a byte now and then holds a thread no longer than others do.

A socket's timeout begins anew with each byte that comes, in the header and in the body alike; here one deadline holds
for both.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any, Final

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection

_BUFFER_BYTES: Final = 65_536


class _Deadlined(io.RawIOBase):
    """A socket's bytes up to an instant of the monotonic clock."""

    def __init__(self, link: socket.socket, until_s: float) -> None:
        self._link = link
        self._raw: Any = link.makefile("rb", buffering=0)
        self._until_s = until_s

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, into: Any) -> int | None:
        """Fill a buffer with what has come.

        Raises:
            TimeoutError: the deadline has passed.
        """
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the answer does not end")
        self._link.settimeout(left_s)
        count: int | None = self._raw.readinto(into)
        return count

    def close(self) -> None:
        """Close the file, and with it the socket's last reference."""
        self._raw.close()
        super().close()


class _Socket:
    """What `http.client` needs of a socket to read one answer."""

    def __init__(self, link: socket.socket, until_s: float) -> None:
        self._link = link
        self._until_s = until_s

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        """Return the answer's bytes."""
        return io.BufferedReader(_Deadlined(self._link, self._until_s), _BUFFER_BYTES)


def bounded_pools(total_s: float, **options: Any) -> PoolManager:
    """Return a pool that neither retries nor takes longer than `total_s` (real seconds) for an answer."""

    class Response(http.client.HTTPResponse):
        def __init__(self, sock: Any, *args: Any, **more: Any) -> None:
            super().__init__(_Socket(sock, time.monotonic() + total_s), *args, **more)  # type: ignore[arg-type]

    class Connection(HTTPConnection):
        response_class = Response

    class SecureConnection(HTTPSConnection):
        response_class = Response

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    manager = PoolManager(retries=False, timeout=Timeout(total=total_s), **options)
    manager.pool_classes_by_scheme = {"http": Pool, "https": SecurePool}
    return manager
