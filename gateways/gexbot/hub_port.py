"""One hub's port: a thread with its own loop that keeps the WebSocket, folds frames, and seals buckets on command.

A drop is recovered here for 30 s with the reconnection token (memberships and missed frames come back). What
cannot be recovered is told as `HubDown`; whether and when to dial again is the actor's decision.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable
from typing import Final, assert_never
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec
import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from domain.instants import bucket_of
from domain.options.profile import Row, Rows
from domain.units import Utc
from gateways.gexbot.codec import PAYLOAD_BYTES_MAX
from gateways.gexbot.folding import BucketFolder
from gateways.gexbot.negotiate import USER_AGENT, AddressBook, Tell
from messages import market

SUBPROTOCOL: Final = "json.reliable.webpubsub.azure.v1"
ACK_EVERY_N: Final = 50
ACK_WITHIN_S: Final = 0.1
RECOVERY_S: Final = 30.0  # the service keeps a dropped session about this long
RECOVERY_PAUSE_S: Final = 0.5
OPEN_TIMEOUT_S: Final = 5.0
MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024
_POLICY_VIOLATION: Final = 1008  # the service does not know the session: only a fresh dial helps

Command = market.DialHub | market.SealBucket


class _Link:
    """What must be known of a session to recover it."""

    def __init__(self) -> None:
        self.connection_id: str | None = None
        self.reconnection_token = ""
        self.largest = 0
        self.acked = 0


class _End(msgspec.Struct, frozen=True):
    """How a connection (or the attempt at one) ended."""

    cause: str
    was_up: bool = False
    can_recover: bool = True
    can_reuse: bool = True


class HubPort:
    """The port of one hub.

    Args:
        hub: our name of the hub (`classic`); facts go to `hub:<hub>`.
        expected: the (ticker, category) pairs that it delivers.
        book: where the feed's port leaves the addresses.
        tell: takes an address and a message; called from this port's thread.
        now_utc: the clock that frames are received by.
        recovery_s: real seconds of trying to recover a dropped session.
        frame_bytes_max: decompressed size above which a frame is refused.
        on_whole: is called, in this port's thread, when a bucket is whole; of use to who paces a simulated market.
        whole_from_ns: a bucket is whole once each expected pair has a frame of this part of it, or later.
    """

    def __init__(
        self,
        hub: str,
        expected: Iterable[tuple[str, str]],
        *,
        book: AddressBook,
        tell: Tell,
        now_utc: Callable[[], Utc],
        recovery_s: float = RECOVERY_S,
        frame_bytes_max: int = PAYLOAD_BYTES_MAX,
        on_whole: Callable[[str, Utc], None] | None = None,
        whole_from_ns: int = 0,
    ) -> None:
        self.name = f"port:hub:{hub}"
        self._on_whole = on_whole
        self._whole_utc = Utc(0)
        self._hub = hub
        self._owner = f"hub:{hub}"
        self._folder = BucketFolder(hub, expected, frame_bytes_max, whole_from_ns)
        self._book = book
        self._tell = tell
        self._now_utc = now_utc
        self._recovery_s = recovery_s
        self._is_up = False
        self._was_down = True
        self._keeper: asyncio.Task[None] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def post(self, command: Command) -> None:
        """Take a command; never blocks. After `close` it is dropped."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._take, command)

    def close(self, timeout_s: float = 5.0) -> None:
        """Close the connection in good order and end the thread."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._loop.run_forever()
            if self._keeper is not None:
                self._keeper.cancel()
                self._loop.run_until_complete(asyncio.wait([self._keeper]))
        finally:
            self._loop.close()

    def _take(self, command: Command) -> None:
        match command:
            case market.SealBucket():
                self._seal(command.bucket_utc)
            case market.DialHub():
                self._keeper = self._loop.create_task(self._keep(command.feed_epoch, self._keeper))
            case _:
                assert_never(command)

    def _seal(self, bucket_utc: Utc) -> None:
        sealed = self._folder.seal(bucket_utc)
        was_down, self._was_down = self._was_down, not self._is_up
        self._tell(
            self._owner,
            market.BucketSealed(
                hub=self._hub,
                bucket_utc=bucket_utc,
                rows=sealed.rows,
                absent=sealed.absent,
                counts=market.FrameCounts(
                    accepted=sealed.accepted,
                    repeated=sealed.repeated,
                    late=sealed.late_n,
                    refused=sealed.refused,
                ),
                why_absent="disconnected" if was_down else "silent",
                late=self._by_bucket(sealed.late),
            ),
        )

    def _by_bucket(self, late: tuple[Row, ...]) -> tuple[Rows, ...]:
        """Return rows of earlier buckets, parted by their bucket."""
        buckets: dict[Utc, list[Row]] = {}
        for row in late:
            buckets.setdefault(bucket_of(row.last_utc), []).append(row)
        return tuple(Rows(f"{self._hub}/{utc}/late", tuple(rows)) for utc, rows in sorted(buckets.items()))

    async def _keep(self, feed_epoch: int, older: asyncio.Task[None] | None) -> None:
        """Hold one session from its dial to its loss; tell `HubDown` when it cannot be kept."""
        if older is not None:
            older.cancel()
            await asyncio.wait([older])
        try:
            end = await self._hold(feed_epoch)
        except asyncio.CancelledError:
            self._note_down()
            raise
        except Exception as error:  # a bug must not leave a hub silent for ever
            end = _End(f"fault in the port: {error!r}")
        self._note_down()
        self._tell(
            self._owner,
            market.HubDown(hub=self._hub, feed_epoch=feed_epoch, cause=end.cause, can_reuse=end.can_reuse),
        )

    async def _hold(self, feed_epoch: int) -> _End:
        url = self._book.url(feed_epoch, self._hub)
        if url is None:
            return _End("no address for this feed epoch", can_reuse=False)
        link = _Link()
        dropped_s = 0.0
        address = url
        while True:
            dialled_s = self._loop.time()
            end = await self._connection(address, link, feed_epoch)
            self._note_down()
            if link.connection_id is None or not end.can_recover:
                return end
            now_s = self._loop.time()
            if end.was_up:
                dropped_s = now_s
            elif now_s - dropped_s > self._recovery_s:
                return _End(f"not recovered within {self._recovery_s:g} s: {end.cause}")
            if now_s - dialled_s < RECOVERY_PAUSE_S:  # at once only after a session that lasted
                await asyncio.sleep(RECOVERY_PAUSE_S)
            address = _recovery_url(url, link)

    async def _connection(self, address: str, link: _Link, feed_epoch: int) -> _End:
        """Dial once and read until the connection ends."""
        is_recovery = link.connection_id is not None
        try:
            socket = await connect(
                address,
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                compression=None,
                user_agent_header=USER_AGENT,
                proxy=True if address.startswith("wss:") else None,
                open_timeout=OPEN_TIMEOUT_S,
                close_timeout=1,
                max_size=MESSAGE_BYTES_MAX,
            )
        except InvalidStatus as error:
            status = error.response.status_code
            holds = status not in (401, 403)
            return _End(f"the hub refused the dial with {status}", can_recover=holds, can_reuse=holds)
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI, EOFError) as error:
            return _End(f"the hub could not be reached: {error or type(error).__name__}")
        acknowledge = asyncio.Event()
        acker = self._loop.create_task(self._acknowledge(socket, link, acknowledge))
        try:
            return await self._read(socket, link, acknowledge, feed_epoch, is_recovery=is_recovery)
        finally:
            acker.cancel()
            await socket.close()

    async def _read(
        self,
        socket: ClientConnection,
        link: _Link,
        acknowledge: asyncio.Event,
        feed_epoch: int,
        *,
        is_recovery: bool,
    ) -> _End:
        farewell: str | None = None
        try:
            while True:
                message = self._parse(await socket.recv(decode=False))
                if message is None:
                    continue
                if message.get("type") == "message":
                    self._fold(message, link)
                    if link.largest - link.acked >= ACK_EVERY_N:
                        await self._send_ack(socket, link)
                    elif link.largest > link.acked:
                        acknowledge.set()
                elif message.get("event") == "connected":
                    recovered = is_recovery and message.get("connectionId") == link.connection_id
                    self._note_up(message, link, feed_epoch, recovered=recovered)
                elif message.get("event") == "disconnected":
                    farewell = str(message.get("message", ""))[:200]
        except ConnectionClosed as closed:
            code = None if closed.rcvd is None else closed.rcvd.code
            if farewell is not None or code == _POLICY_VIOLATION:
                reason = farewell or (closed.rcvd.reason if closed.rcvd is not None else "")
                return _End(f"the service ended the session: {reason}", can_recover=False)
            return _End(f"the connection was lost ({code or 'no close frame'})", was_up=self._is_up)

    def _parse(self, text: bytes) -> dict[str, object] | None:
        try:
            message = orjson.loads(text)
        except ValueError:
            message = None
        if isinstance(message, dict):
            return message
        self._folder.refuse_envelope("a message is no JSON object")
        return None

    def _fold(self, message: dict[str, object], link: _Link) -> None:
        match message:
            case {"sequenceId": int(sequence)}:
                if sequence <= link.largest:
                    self._folder.count_repeated()
                    return
                link.largest = sequence
            case _:
                sequence = 0
        match message:
            case {"group": str(group), "data": str(data)}:
                self._folder.fold(group, data, self._now_utc(), sequence)
                if self._on_whole is not None and self._folder.whole_utc > self._whole_utc:
                    self._whole_utc = self._folder.whole_utc
                    self._on_whole(self._hub, self._whole_utc)
            case _:
                self._folder.refuse_envelope("a message has no group or no data")

    def _note_up(self, message: dict[str, object], link: _Link, feed_epoch: int, *, recovered: bool) -> None:
        link.acked = 0  # an acknowledgement may have died with the old socket
        if not recovered:
            link.largest = 0
        link.connection_id = str(message.get("connectionId", ""))
        link.reconnection_token = str(message.get("reconnectionToken") or link.reconnection_token)
        self._is_up = True
        self._tell(self._owner, market.HubUp(hub=self._hub, feed_epoch=feed_epoch, recovered=recovered))

    def _note_down(self) -> None:
        self._is_up = False
        self._was_down = True

    async def _acknowledge(self, socket: ClientConnection, link: _Link, acknowledge: asyncio.Event) -> None:
        """Acknowledge what came within the last 100 ms (busy hubs acknowledge every 50 messages besides)."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                await acknowledge.wait()
                await asyncio.sleep(ACK_WITHIN_S)
                acknowledge.clear()
                if link.largest > link.acked:
                    await self._send_ack(socket, link)

    async def _send_ack(self, socket: ClientConnection, link: _Link) -> None:
        link.acked = link.largest
        await socket.send(f'{{"type":"sequenceAck","sequenceId":{link.largest}}}')


def _recovery_url(url: str, link: _Link) -> str:
    query = urlencode(
        {
            "awps_connection_id": link.connection_id or "",
            "awps_reconnection_token": link.reconnection_token,
        }
    )
    return urlunsplit(urlsplit(url)._replace(query=query))
