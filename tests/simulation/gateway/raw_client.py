"""A TWS client of bare bytes: what the gateway writes, field by field, with no library between."""

from __future__ import annotations

import asyncio

from simulation.gateway.wire.frames import Framer, encode, fields_of, frame


class RawClient:
    """One connection at a server version; every frame comes back as its fields."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._framer = Framer()
        self._read: list[list[str]] = []

    @classmethod
    async def connect(cls, port: int, client_id: int = 9, version: int = 176) -> RawClient:
        """Connect and leave the greeting behind."""
        it = cls(*await asyncio.open_connection("127.0.0.1", port))
        it.begin(client_id, version)
        await it.next()  # the server version
        await it.ask()
        return it

    def begin(self, client_id: int, version: int = 176) -> None:
        """Say hello, and which client this is."""
        self._writer.write(b"API\0" + frame(f"v157..{version}".encode()) + encode(71, 2, client_id, ""))

    async def next(self) -> list[str]:
        """Return the next frame."""
        while not self._read:
            data = await asyncio.wait_for(self._reader.read(1 << 16), 60)
            assert data, "the gateway closed the connection"
            self._read += [fields_of(payload) for payload in self._framer.feed(data)]
        return self._read.pop(0)

    async def ask(self, *fields: object) -> list[list[str]]:
        """Send a request and return what comes until the gateway has answered a later one."""
        self._writer.write((encode(*fields) if fields else b"") + encode(49, 1))
        heard: list[list[str]] = []
        while (row := await self.next())[0] != "49":
            heard.append(row)
        return heard

    def close(self) -> None:
        """Leave."""
        self._writer.close()
