"""Who may connect: negotiate (V2) with its rules, tokens, and the connections that live on them."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable
from typing import Final

import orjson

from gateways.gexbot.codec import SPOT_CATEGORY, Group, parse_group
from simulation.hubs.connections import RECOVERY_S, HubConnection, Token
from simulation.hubs.http import Answer, Request

HUBS: Final = (
    "v2_classic",
    "v2_state_gex",
    "v2_state_greeks_zero",
    "v2_state_greeks_one",
    "v2_state_greeks",
    "v2_orderflow",
)
MEMBERSHIPS_MAX: Final = 150
TOKEN_LIFE_S: Final = 900.0
KEY_PREFIX: Final = "gexbot_custom_"
NEGOTIATE_PATH: Final = "/v2/negotiate"


def vendor_hub(name: str) -> str:
    """Return the vendor's name of a hub that may go by ours."""
    return name if name in HUBS else f"v2_{name}"


def hub_of(category: str) -> str | None:
    """Return the hub that publishes a category; `None` for spots, which every hub publishes."""
    if category == SPOT_CATEGORY:
        return None
    package, kind, *rest = category.split("_")
    if package == "classic":
        return "v2_classic"
    if package == "orderflow":
        return "v2_orderflow"
    if kind == "gex":
        return "v2_state_gex"
    return {"zero": "v2_state_greeks_zero", "one": "v2_state_greeks_one"}.get(rest[0], "v2_state_greeks")


class Registry:
    """Tokens and connections.

    Args:
        url_of: gives the URL of a hub and a token.
        now_s: the real clock that tokens and recovery windows run on.
        keys: the keys that may negotiate; `None` lets any key of the vendor's form in.
    """

    def __init__(
        self,
        url_of: Callable[[str, str], str],
        now_s: Callable[[], float],
        *,
        keys: frozenset[str] | None = None,
        token_life_s: float = TOKEN_LIFE_S,
        recovery_s: float = RECOVERY_S,
    ) -> None:
        self._url_of = url_of
        self._now_s = now_s
        self._keys = keys
        self._token_life_s = token_life_s
        self._recovery_s = recovery_s
        self._tokens: dict[str, Token] = {}
        self.connections: dict[str, HubConnection] = {}
        self.ended: Callable[[HubConnection, str], None] = lambda _session, _why: None
        self.version = 0  # grows with every change of memberships
        self.negotiated_n = 0
        self.patch_refusals: list[int] = []
        self.prefix = "red"

    def answer(self, request: Request) -> Answer:
        """Answer a negotiate request by the vendor's rules."""
        if not request.path.endswith(NEGOTIATE_PATH):
            return _error(404, f"there is nothing at {request.path}")
        if request.method not in ("GET", "POST", "PATCH"):
            return _error(405, "negotiate with POST (or GET, the older way), change memberships with PATCH")
        if not request.headers.get("user-agent"):
            return _error(400, "a User-Agent header is required")
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not self.is_known(key):
            return _error(401, "the key is not known")
        if request.method == "GET":
            return self._get(key)
        try:
            groups = orjson.loads(request.body)["groups"]
        except (ValueError, KeyError, TypeError):
            return _error(400, 'the body must be JSON with a list "groups"')
        if not isinstance(groups, list):
            return _error(400, '"groups" must be a list')
        if len(groups) > MEMBERSHIPS_MAX:
            return _error(403, f"{len(groups)} memberships, a key has {MEMBERSHIPS_MAX}")
        return self._post(key, groups) if request.method == "POST" else self._patch(key, groups)

    def admit(self, hub: str, access_token: str) -> Token | None:
        """Return the token's rights on a hub; `None` when it is unknown, expired or of another hub."""
        token = self._tokens.get(access_token)
        if token is None or token.hub != hub or token.until_s <= self._now_s():
            return None
        return token

    def open(self, token: Token) -> HubConnection:
        """Start a connection with the token's memberships."""
        connection = HubConnection(token.key, token.hub, token.groups, is_legacy=token.is_legacy)
        self.connections[connection.connection_id] = connection
        self.version += 1
        return connection

    def recover(self, hub: str, connection_id: str, reconnection_token: str) -> HubConnection | None:
        """Return the connection that a dropped client names; `None` when it is not there (any more)."""
        self.forget_expired()
        connection = self.connections.get(connection_id)
        if connection is None or connection.hub != hub:
            return None
        return connection if connection.reconnection_token == reconnection_token else None

    def end(self, connection: HubConnection, why: str) -> None:
        """End a connection for good."""
        if self.connections.pop(connection.connection_id, None) is not None:
            self.version += 1
            self.ended(connection, why)

    def forget_expired(self) -> None:
        """End connections that were not recovered within the window."""
        now_s = self._now_s()
        for connection in list(self.connections.values()):
            if connection.dropped_s is not None and now_s - connection.dropped_s > self._recovery_s:
                self.end(connection, "not recovered in time")

    def kill_tokens(self) -> None:
        """Let every token expire."""
        self._tokens.clear()

    def is_known(self, key: str) -> bool:
        """Return whether a key may ask for anything."""
        if self._keys is not None:
            return key in self._keys
        return key.startswith(KEY_PREFIX) and len(key) > len(KEY_PREFIX)

    def _get(self, key: str) -> Answer:
        """Answer the older negotiation: every hub, nothing joined, and the colour that groups go by this time."""
        self._kill_key(key)
        self.negotiated_n += 1
        self.prefix = "red" if self.prefix == "blue" else "blue"
        until_s = self._now_s() + self._token_life_s
        urls = {}
        for hub in HUBS:
            access_token = secrets.token_urlsafe(24)
            self._tokens[access_token] = Token(key, hub, frozenset(), until_s, is_legacy=True)
            urls[hub.removeprefix("v2_")] = self._url_of(hub, access_token)
        return Answer(200, {"websocket_urls": urls, "prefix": self.prefix})

    def join(self, connection: HubConnection, group: str) -> str | None:
        """Let a connection of the older kind join a group; return the name of the error, `None` when it is joined.

        A group of another hub is joined as well, and nothing ever comes of it.
        """
        if not connection.is_legacy or parse_group(group) is None:
            return "Forbidden"
        if group in connection.groups:
            return "Duplicate"
        if len(connection.groups) >= MEMBERSHIPS_MAX:
            return "Forbidden"
        connection.groups |= {group}
        self.version += 1
        return None

    def _post(self, key: str, names: list[object]) -> Answer:
        groups: list[tuple[str, Group]] = []
        for name in names:
            group = parse_group(name) if isinstance(name, str) else None
            if group is None:
                return _error(400, f"group {name!r} is not known")
            groups.append((str(name), group))
        spots_n: dict[str, int] = defaultdict(int)
        for _, group in groups:
            spots_n[group.ticker] += group.category == SPOT_CATEGORY
        for ticker, count in spots_n.items():
            if count != 1:
                return _error(400, f"{ticker} needs exactly one {ticker}_spot, not {count}")
        by_hub: dict[str, set[str]] = defaultdict(set)
        for name, group in groups:
            hub = hub_of(group.category)
            if hub is not None:
                by_hub[hub] |= {name, f"{group.ticker}_{SPOT_CATEGORY}"}
        analysed = {group.ticker for _, group in groups if group.category != SPOT_CATEGORY}
        lone = {f"{ticker}_{SPOT_CATEGORY}" for ticker in spots_n if ticker not in analysed}
        if lone:  # an index of which only the price is wanted; any hub may carry it
            by_hub[next((hub for hub in HUBS if hub in by_hub), HUBS[0])] |= lone
        self._kill_key(key)
        self.negotiated_n += 1
        until_s = self._now_s() + self._token_life_s
        urls = {}
        for hub in HUBS:
            if hub in by_hub:
                access_token = secrets.token_urlsafe(24)
                self._tokens[access_token] = Token(key, hub, frozenset(by_hub[hub]), until_s)
                urls[hub] = self._url_of(hub, access_token)
        return Answer(200, {"websocket_urls": urls})

    def _patch(self, key: str, memberships: list[object]) -> Answer:
        if self.patch_refusals:
            return _error(self.patch_refusals.pop(0), "memberships cannot be changed now")
        by_hub: dict[str, set[str]] = defaultdict(set)
        for item in memberships:
            match item:
                case {"hub": str(hub), "group": str(group)} if hub in HUBS and parse_group(group) is not None:
                    by_hub[hub].add(group)
                case _:
                    return _error(400, f"{item!r} is no membership of a known hub")
        updated = 0
        for connection in self.connections.values():
            if connection.key == key:
                connection.groups = frozenset(by_hub.get(connection.hub, ()))
                updated += len(connection.groups)
        self.version += 1
        counts = {hub: len(groups) for hub, groups in by_hub.items()}
        return Answer(200, {"updated_groups": updated, "hubs": counts})

    def _kill_key(self, key: str) -> None:
        self._tokens = {t: token for t, token in self._tokens.items() if token.key != key}
        for connection in [s for s in self.connections.values() if s.key == key]:
            self.end(connection, "the key negotiated anew")


def _error(status: int, sentence: str) -> Answer:
    return Answer(status, {"error": sentence})
