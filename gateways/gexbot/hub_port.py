"""One hub's port: keeps the WebSocket of each key, folds frames, and has silence covered by polling on command.

A drop is recovered here for 30 s with the reconnection token (memberships and missed frames come back). What
cannot be recovered is told as `HubDown`; whether and when to dial again is the actor's decision.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec
import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from domain.options.profile import Profile
from domain.units import Utc
from gateways.bucket_port import BucketPort, End, PortSetup
from gateways.gexbot.codec import Refused
from gateways.gexbot.negotiate import USER_AGENT, AddressBook, hidden
from gateways.gexbot.rest import NoAnswer, RestClient, RestPoller, is_polled
from messages import market

SUBPROTOCOL: Final = "json.reliable.webpubsub.azure.v1"
ACK_EVERY_N: Final = 50
ACK_WITHIN_S: Final = 0.1
RECOVERY_S: Final = 30.0  # the service keeps a dropped session about this long
RECOVERY_PAUSE_S: Final = 0.5  # the first pause between dials that recover; it doubles ...
RECOVERY_PAUSE_MAX_S: Final = 4.0  # ... up to this
LASTING_S: Final = 2.0  # a recovered connection that delivered for this long begins afresh
OPEN_TIMEOUT_S: Final = 5.0
WATCH_S: Final = 0.25
JOINED_AGAIN: Final = 10_000  # added to the ackId of a joining that is tried a second and last time
LEAP_MAX: Final = 10_000  # messages that may be missing at once: the service keeps a thousand
MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024
_POLICY_VIOLATION: Final = 1008  # the service does not know the session: only a fresh dial helps


class _Straight(connect):
    """A dial that follows no redirect: what another host says is not the vendor's."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Return the refusal as it is."""
        return exc


class _Link:
    """What must be known of a session to recover it."""

    def __init__(self) -> None:
        self.connection_id: str | None = None
        self.reconnection_token = ""
        self.largest = 0
        self.leapt = 0
        self.acked = 0
        self.frames = 0
        self.joins: dict[int, str] = {}

    def is_repeated(self, sequence: int) -> bool:
        """Return whether a message came before, and go on from it if not.

        A number that leaps counts once the next message goes on from it: a wild one would make repeats of all others.
        """
        if sequence <= self.largest:
            return True
        if sequence - self.largest > LEAP_MAX and not 0 < sequence - self.leapt <= LEAP_MAX:
            self.leapt = sequence
        else:
            self.largest, self.leapt = sequence, 0
        return False


class Cover(msgspec.Struct, frozen=True):
    """How a hub's port stands in for what its sessions do not deliver.

    `tickers` are those of each key; `always` those that no key has room for; `after_s` the real seconds without a frame
    that make a session quiet.
    """

    client: RestClient
    tickers: tuple[tuple[str, ...], ...]
    always: tuple[str, ...] = ()
    after_s: float = 15.0


class HubPort(BucketPort):
    """The port of one of the vendor's hubs.

    Args:
        setup: as every port's.
        book: where the feed's port leaves the addresses.
        recovery_s: real seconds of trying to recover a dropped session.
        cover: how silence is covered; `None`: not at all.
    """

    def __init__(
        self, setup: PortSetup, *, book: AddressBook, recovery_s: float = RECOVERY_S, cover: Cover | None = None
    ) -> None:
        super().__init__(setup)
        self._book = book
        self._recovery_s = recovery_s
        self._cover = cover
        self._categories = frozenset(category for _, category in setup.expected)
        self._covered: set[int] = set()
        keys_n = len(cover.tickers) if cover is not None else 1
        self._flowed: list[tuple[float, Utc]] = [(0.0, Utc(0))] * keys_n
        self._quiet: set[int] = set()
        self._poller = None if cover is None else RestPoller(cover.client, setup.now_utc, self._take_polled)

    def begin(self) -> None:
        """Watch for silence, and poll what no key carries."""
        if self._cover is None or self._poller is None:
            return
        self._flowed = [(self.loop.time(), self.setup.now_utc())] * len(self._flowed)
        self._want()
        self.loop.create_task(self._poller.run())
        self.loop.create_task(self._watch(self._cover.after_s))

    def cover(self, command: market.CoverHub) -> None:
        """Begin or end to poll for the session with a key; silence that lasts is told anew."""
        if command.is_wanted:
            self._covered.add(command.key_n)
        else:
            self._covered.discard(command.key_n)
            self._quiet.discard(command.key_n)
        self._want()

    def follow(self, expected: tuple[tuple[str, str], ...]) -> None:
        """Take, and miss, these pairs from now on; what is polled follows, and so does what a fresh session joins."""
        super().follow(expected)
        self._categories = frozenset(category for _, category in expected)
        self._want()

    def not_polled(self, absent: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        """Return those of the absent pairs that polling leaves out."""
        polled = self._polled_tickers()
        return tuple(pair for pair in absent if pair[0] in polled and not is_polled(pair[1]))

    def _polled_tickers(self) -> frozenset[str]:
        if self._cover is None:
            return frozenset()
        covered = [ticker for key_n in self._covered for ticker in self._cover.tickers[key_n]]
        return frozenset((*covered, *self._cover.always))

    def _want(self) -> None:
        if self._poller is not None:
            polled = self._polled_tickers()
            wanted = {pair for pair in self.setup.expected if pair[0] in polled and is_polled(pair[1])}
            if wanted != self._poller.wanted:
                self._poller.want(wanted)

    def _take_polled(self, answer: Profile | Refused | NoAnswer) -> None:
        if isinstance(answer, Profile):
            self.keep(answer, is_cover=True)
        else:
            self.folder.count_refused(answer.code if isinstance(answer, NoAnswer) else f"rest_{answer.code}")

    async def _watch(self, after_s: float) -> None:
        """Tell which sessions deliver nothing."""
        while True:
            now_s = self.loop.time()
            for key_n, (flowed_s, flowed_utc) in enumerate(self._flowed):
                if now_s - flowed_s >= after_s and key_n not in self._quiet:
                    self._quiet.add(key_n)
                    self.tell(market.HubQuiet(hub=self.setup.hub, since_utc=flowed_utc, key_n=key_n))
            await asyncio.sleep(min(WATCH_S, after_s / 4))

    def _note_flow(self, key_n: int) -> None:
        """Take note of a frame; tell at once that a session which was quiet delivers again."""
        self._flowed[key_n] = self.loop.time(), self.setup.now_utc()
        if key_n in self._quiet:
            self._quiet.discard(key_n)
            self.tell(market.HubFlows(hub=self.setup.hub, key_n=key_n))

    async def hold(self, dial: market.DialHub) -> End:
        """Dial the address of the epoch, and recover what drops as long as the service keeps it."""
        url = self._book.url(dial.feed_epoch, self.setup.hub, dial.key_n)
        if url is None:
            return End("no address for this feed epoch", can_reuse=False)
        link = _Link()
        address, trying_since_s, pause_s = url, None, RECOVERY_PAUSE_S
        while True:
            dialled_s, frames_before = self.loop.time(), link.frames
            end = await self._connection(address, link, dial)
            end = msgspec.structs.replace(end, cause=hidden(end.cause, ""))
            self.note_down(dial.key_n)
            if link.connection_id is None or not end.can_recover:
                return msgspec.structs.replace(end, has_delivered=link.frames > 0)
            now_s = self.loop.time()
            if trying_since_s is None or (link.frames > frames_before and now_s - dialled_s >= LASTING_S):
                trying_since_s, pause_s = now_s, RECOVERY_PAUSE_S
            elif now_s - trying_since_s > self._recovery_s:
                cause = f"not recovered within {self._recovery_s:g} s: {end.cause}"
                return End(cause, has_delivered=link.frames > 0)
            if now_s - dialled_s < LASTING_S:  # at once only after a session that lasted
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, RECOVERY_PAUSE_MAX_S)
            address = _recovery_url(url, link)

    async def _connection(self, address: str, link: _Link, dial: market.DialHub) -> End:
        """Dial once and read until the connection ends."""
        is_recovery = link.connection_id is not None
        try:
            socket = await _Straight(
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
            return End(f"the hub refused the dial with {status}", can_recover=holds, can_reuse=holds)
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI, EOFError) as error:
            return End(f"the hub could not be reached: {error or type(error).__name__}")
        acknowledge = asyncio.Event()
        acker = self.loop.create_task(self._acknowledge(socket, link, acknowledge))
        try:
            return await self._read(socket, link, acknowledge, dial, is_recovery=is_recovery)
        finally:
            acker.cancel()
            await socket.close()

    async def _read(
        self,
        socket: ClientConnection,
        link: _Link,
        acknowledge: asyncio.Event,
        dial: market.DialHub,
        *,
        is_recovery: bool,
    ) -> End:
        farewell: str | None = None
        is_up = False
        try:
            while True:
                message = self._parse(await socket.recv(decode=False))
                if message is None:
                    continue
                if message.get("type") == "message":
                    if self._fold(message, link):
                        self._note_flow(dial.key_n)
                    if link.largest - link.acked >= ACK_EVERY_N:
                        await self._send_ack(socket, link)
                    elif link.largest > link.acked:
                        acknowledge.set()
                elif message.get("event") == "connected" and not is_up:  # said once on a socket; more is no new session
                    is_up = True
                    recovered = is_recovery and message.get("connectionId") == link.connection_id
                    self._note_up(message, link, dial, recovered=recovered)
                    if not recovered:
                        await self._join(socket, link, dial)
                elif message.get("type") == "ack":
                    await self._on_ack(socket, link, message)
                elif message.get("event") == "disconnected":
                    farewell = str(message.get("message", ""))[:200]
        except ConnectionClosed as closed:
            code = None if closed.rcvd is None else closed.rcvd.code
            if farewell is not None or code == _POLICY_VIOLATION:
                reason = farewell or (closed.rcvd.reason if closed.rcvd is not None else "")
                return End(f"the service ended the session: {reason}", can_recover=False)
            return End(f"the connection was lost ({code or 'no close frame'})")

    def _parse(self, text: bytes) -> dict[str, object] | None:
        try:
            message = orjson.loads(text)
        except ValueError:
            message = None
        if isinstance(message, dict):
            return message
        self.folder.refuse_envelope("a message is no JSON object")
        return None

    def _fold(self, message: dict[str, object], link: _Link) -> bool:
        """Take a data message; return whether it was a frame that can be used."""
        match message:
            case {"sequenceId": int(sequence)}:
                if link.is_repeated(sequence):
                    self.folder.count_repeated()
                    return False
            case _:
                sequence = 0
        match message:
            case {"group": str(group), "data": str(data)}:
                is_used = self.folder.fold(group, data, self.setup.now_utc(), sequence) is None
                link.frames += is_used
                self.note_whole()
                return is_used
            case _:
                self.folder.refuse_envelope("a message has no group or no data")
                return False

    def _note_up(self, message: dict[str, object], link: _Link, dial: market.DialHub, *, recovered: bool) -> None:
        link.acked = 0  # an acknowledgement may have died with the old socket
        if not recovered:
            link.largest = link.leapt = 0
        link.connection_id = str(message.get("connectionId", ""))
        link.reconnection_token = str(message.get("reconnectionToken") or link.reconnection_token)
        self.note_up(dial, recovered=recovered)

    async def _join(self, socket: ClientConnection, link: _Link, dial: market.DialHub) -> None:
        """Join the hub's groups where that is the client's to do."""
        link.joins = dict(enumerate(self._book.joins(dial.feed_epoch, dial.key_n, self._categories), start=1))
        for ack_id, group in link.joins.items():
            await socket.send(_joining(group, ack_id))

    async def _on_ack(self, socket: ClientConnection, link: _Link, message: dict[str, object]) -> None:
        """Take the answer to a joining: one that is there already is joined, a fault of the service is tried again."""
        match message:
            case {"ackId": int(_), "success": False, "error": {"name": "Duplicate"}}:
                pass  # joined
            case {"ackId": int(ack_id), "success": False}:
                name = _error_in(message)
                self.folder.count_refused(f"join_{name.lower()}")
                if name == "InternalServerError" and ack_id in link.joins:
                    group = link.joins.pop(ack_id)
                    await socket.send(_joining(group, ack_id + JOINED_AGAIN))
            case _:
                pass  # joined

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


def _error_in(message: dict[str, object]) -> str:
    """Return the name of an acknowledgement's error, `other` where it is no name."""
    match message:
        case {"error": {"name": str(name)}} if name.isalpha() and name.isascii() and len(name) <= 32:
            return name
    return "other"


def _joining(group: str, ack_id: int) -> str:
    return orjson.dumps({"type": "joinGroup", "group": group, "ackId": ack_id}).decode()


def _recovery_url(url: str, link: _Link) -> str:
    query = urlencode(
        {
            "awps_connection_id": link.connection_id or "",
            "awps_reconnection_token": link.reconnection_token,
        }
    )
    return urlunsplit(urlsplit(url)._replace(query=query))
