"""Who may read and who may act: host names, origins, tokens and rates, checked before any route is reached.

On loopback everybody on this machine may read; nobody else reaches the socket, and a page of another site that points
its own name at this address is refused by the name it asks for. Beyond loopback every read needs the token of the
environment. An action needs a token always: the run's own, which only a page of this origin can read, or that one.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from web.feed import is_loopback

RUN_TOKEN = "x-zerohour-token"
COOKIE = "zerohour"
OPEN_TO_ALL = frozenset({"/healthz", "/login"})
OF_PEOPLE = frozenset({"/", "/login"})  # a link on another page may lead here
OF_THE_PAGE = "/static/"  # small, in memory, and many at once when a page is opened
ACTIONS_PER_S = 1.0
ACTIONS_BURST = 5.0
QUESTIONS_PER_S = 0.5  # each may read whole traces, or be put to a model that is paid by the word
QUESTIONS_BURST = 5.0
CLIENTS_KEPT = 1_000

Network = IPv4Network | IPv6Network


@dataclass
class Refused(Exception):  # noqa: N818 - a refusal is no error of ours
    """A request that is not carried out: the HTTP status, and why in one sentence with the remedy."""

    status: int
    why: str
    retry_after_s: int | None = None


@dataclass
class Rates:
    """How fast each client may ask: `burst` at once, `per_s` lasting."""

    per_s: float
    burst: float
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)

    def check(self, client: str) -> None:
        """Let one request pass.

        Raises:
            Refused: too many, with the pause.
        """
        now_s = time.monotonic()
        if len(self._left) > CLIENTS_KEPT:
            self._left.clear()
        tokens, at_s = self._left.get(client, (self.burst, now_s))
        tokens = min(self.burst, tokens + (now_s - at_s) * self.per_s)
        if tokens < 1:
            self._left[client] = tokens, now_s
            raise Refused(429, "Too many requests; wait a moment.", max(1, round(1 / self.per_s)))
        self._left[client] = tokens - 1, now_s


@dataclass
class Guard:
    """The checks of one server.

    Args:
        host: the address that it is bound to.
        run_token: what a page of ours shows when it acts; new with every run.
        remote_token: what other machines show; `None` where there is none.
        rate_per_s: requests a second of one client.
        allows_actions: whether anything may be changed.
        allowed_from: the networks of those who may ask beyond loopback.
        signals_token: what programs show that offer signals; `None` where none may.
    """

    host: str
    run_token: str
    remote_token: str | None
    rate_per_s: float
    allows_actions: bool
    allowed_from: tuple[str, ...] = ()
    signals_token: str | None = None
    _acts: Rates = field(default_factory=lambda: Rates(ACTIONS_PER_S, ACTIONS_BURST))
    _signals: Rates = field(default_factory=lambda: Rates(ACTIONS_PER_S, ACTIONS_BURST))
    _questions: Rates = field(default_factory=lambda: Rates(QUESTIONS_PER_S, QUESTIONS_BURST))
    _failed: Rates = field(default_factory=lambda: Rates(ACTIONS_PER_S, ACTIONS_BURST))

    def __post_init__(self) -> None:
        """Give every client its burst."""
        self._reads = Rates(self.rate_per_s, 5 * self.rate_per_s)
        self._networks = networks(self.allowed_from)

    def check_reach(self, path: str, client: str, headers: Mapping[str, str]) -> None:
        """Let a request pass that comes from where it may, by the name that is ours.

        Raises:
            Refused: it may not.
        """
        if is_loopback(self.host):
            if not is_loopback(_host_of(headers.get("host", ""))):
                raise Refused(421, "This address is asked for by a name that is not its own; open it as printed.")
        elif not is_among(client, self._networks):
            raise Refused(403, "This machine is not among those that may ask (web.allowed_from).")
        if path not in OF_PEOPLE and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise Refused(403, "A page of another site may neither read nor act here.")

    def check_read(self, path: str, client: str, headers: Mapping[str, str]) -> None:
        """Let a request pass that `check_reach` let pass.

        Raises:
            Refused: it may not.
        """
        if not path.startswith(OF_THE_PAGE):
            self._reads.check(client)
        if not is_loopback(self.host) and path not in OPEN_TO_ALL and not self.is_remote_token(_shown(headers)):
            raise Refused(401, "Show the token: Authorization: Bearer ..., or sign in at /login.")

    def check_question(self, path: str, client: str, headers: Mapping[str, str]) -> None:
        """Let a question pass that `check_reach` let pass: it reads, at a rate of its own.

        Raises:
            Refused: it may not.
        """
        self.check_read(path, client, headers)
        _check_origin(headers)
        self._questions.check(client)

    def check_action(self, client: str, headers: Mapping[str, str]) -> None:
        """Let an action pass that `check_reach` let pass.

        What is refused counts by itself, so that nobody who has no token takes the turn of one who has.

        Raises:
            Refused: it may not.
        """
        try:
            self._check_action(headers)
        except Refused:
            self._failed.check(client)
            raise
        self._acts.check(client)

    def _check_action(self, headers: Mapping[str, str]) -> None:
        if not self.allows_actions:
            raise Refused(403, "Actions are switched off here (web.allows_actions); use `main.py`.")
        _check_origin(headers)
        is_ours = _is_equal(headers.get(RUN_TOKEN, ""), self.run_token)
        if not is_ours and not self.is_remote_token(_bearer(headers)):
            raise Refused(401, "An action needs a token: the page has one, other programs show Authorization: Bearer.")

    def check_signal(self, client: str, headers: Mapping[str, str]) -> None:
        """Let a signal from outside pass that `check_reach` let pass: it has a token of its own, which acts on nothing.

        Raises:
            Refused: it may not.
        """
        try:
            if self.signals_token is None:
                raise Refused(403, "Signals from outside are switched off (lanes.outside).")
            _check_origin(headers)
            if not _is_equal(_bearer(headers), self.signals_token):
                raise Refused(401, "A signal needs its token: Authorization: Bearer ... (outside.token_env).")
        except Refused:
            self._failed.check(client)
            raise
        self._signals.check(client)

    def is_remote_token(self, shown: str) -> bool:
        """Return whether this is the token of the environment."""
        return self.remote_token is not None and _is_equal(shown, self.remote_token)


def networks(allowed: Iterable[str]) -> tuple[Network, ...]:
    """Return the networks of a list.

    Raises:
        ValueError: one is none, as `10.0.0.0/8` or `192.168.1.7` are.
    """
    return tuple(ip_network(text, strict=False) for text in allowed)


def is_among(client: str, allowed: Iterable[Network]) -> bool:
    """Return whether an address is in one of the networks."""
    try:
        found = ip_address(client)
    except ValueError:  # a socket without addresses
        return False
    mapped = getattr(found, "ipv4_mapped", None) or found
    return mapped.is_loopback or any(mapped in network for network in allowed)


def _check_origin(headers: Mapping[str, str]) -> None:
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2] != headers.get("host"):
        raise Refused(403, "This comes from the dashboard itself, not from another page.")
    if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refused(415, "Send JSON (content-type: application/json).")


def _is_equal(shown: str, wanted: str) -> bool:
    return hmac.compare_digest(shown.encode(), wanted.encode())


def _shown(headers: Mapping[str, str]) -> str:
    return _bearer(headers) or _cookie(headers)


def _bearer(headers: Mapping[str, str]) -> str:
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _cookie(headers: Mapping[str, str]) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _host_of(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:  # no host at all, as `[`
        return ""
