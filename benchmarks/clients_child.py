"""Pages of a dashboard, as its server sees them: some read the stream, some have opened it and never read."""

from __future__ import annotations

import selectors
import socket
import sys
import time

_CHUNK = 262_144


def main() -> None:
    """Open the streams, say when they flow, read until the input ends; print the bytes of a reader and the seconds."""
    port, readers_n, stuck_n = (int(word) for word in sys.argv[1:4])
    stuck = [_opened(port) for _ in range(stuck_n)]
    readers = [_opened(port) for _ in range(readers_n)]
    for reader in readers:  # what is told first stands for the process that has started
        if not reader.recv(_CHUNK).startswith(b"HTTP/1.1 200"):
            raise RuntimeError("the dashboard did not open the stream")
    print("open", flush=True)
    began_s, read = time.monotonic(), 0
    with selectors.DefaultSelector() as selector:
        for reader in readers:
            reader.setblocking(False)
            selector.register(reader, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    print(f"{read / max(1, readers_n):.0f} {time.monotonic() - began_s:.3f}", flush=True)
                    for one in (*readers, *stuck):
                        one.close()
                    return
                if isinstance(key.fileobj, socket.socket):
                    read += len(key.fileobj.recv(_CHUNK))


def _opened(port: int) -> socket.socket:
    link = socket.create_connection(("127.0.0.1", port), timeout=60)
    link.sendall(f"GET /events?ticker=SPX HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    return link


if __name__ == "__main__":
    main()
