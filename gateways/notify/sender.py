"""One target: an address of Apprise (Discord, Telegram, e-mail and many others), and what it answered.

Apprise says whether a message was taken, not with which status: the requests that it makes are listened to, so that a
429 with its Retry-After is known, and none is repeated behind our back.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, Final

import apprise
import requests

from domain.alarm import Severity
from gateways.notify.talk import HEARTBEAT, Result

_REFUSED: Final = frozenset((400, 413, 422))  # the message is at fault: the next one may go
_KINDS: Final = {
    Severity.INFO: apprise.NotifyType.INFO,
    Severity.WARNING: apprise.NotifyType.WARNING,
    Severity.HIGH: apprise.NotifyType.FAILURE,
    Severity.CRITICAL: apprise.NotifyType.FAILURE,
}


@dataclass(slots=True)
class _Seen:
    """What the last request of this message came to."""

    status: int | None = None
    retry_after_s: float | None = None
    error: str = ""


_SEEN: ContextVar[_Seen | None] = ContextVar("seen", default=None)


class _TooManyError(requests.RequestException):
    """The target wants a pause: ends Apprise's own attempts."""


class _HeardSession(requests.Session):
    """A session of the library that also tells us what was answered."""

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        seen = _SEEN.get()
        if seen is None:
            return super().request(*args, **kwargs)
        seen.status, seen.retry_after_s, seen.error = None, None, ""
        kwargs["allow_redirects"] = False  # the address is a secret, and goes nowhere else
        try:
            response = super().request(*args, **kwargs)
        except requests.RequestException as error:
            seen.error = _words(error)
            raise
        seen.status = response.status_code
        if response.status_code == requests.codes.too_many_requests:
            seen.retry_after_s = retry_after(response.headers.get("Retry-After"), time())
            raise _TooManyError
        return response


class Sender:
    """Sends to one address.

    Args:
        name: the target's name.
        url: its address, a secret.
        timeout_s: how long it may take to connect, and to go on answering.

    Raises:
        ValueError: the address is none that Apprise knows.
    """

    def __init__(self, name: str, url: str, timeout_s: float) -> None:
        requests.sessions.Session = _HeardSession  # type: ignore[misc] # where the library makes its own
        logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it would print addresses that it cannot read
        asset = apprise.AppriseAsset(
            app_id="Zerohour", app_desc="Zerohour", app_url="", image_url_mask="", storage_mode="memory"
        )
        made = apprise.Apprise.instantiate(url, asset=asset)
        if not isinstance(made, apprise.NotifyBase):
            raise ValueError("it is no address that Apprise knows")
        made.socket_connect_timeout = made.socket_read_timeout = timeout_s
        made.request_rate_per_sec = 0  # the pauses are ours
        self.name = name
        self.service = str(made.service_name)
        self._apprise = apprise.Apprise(asset=asset)
        self._apprise.add(made)

    def send(self, title: str, body: str, severity: Severity) -> Result:
        """Send one message; whatever goes wrong is in the result."""
        seen = _Seen()
        token = _SEEN.set(seen)
        try:
            is_ok = bool(
                self._apprise.notify(
                    body=body, title=title, notify_type=_KINDS[severity], body_format=apprise.NotifyFormat.TEXT
                )
            )
        except Exception as error:  # a plugin of the library: this message failed, and nothing else
            return Result(self.name, False, f"the library failed ({type(error).__name__})")
        finally:
            _SEEN.reset(token)
        if is_ok:
            return Result(self.name, True)
        why = seen.error or (f"HTTP {seen.status}" if seen.status is not None else "it was not taken")
        return Result(self.name, False, why, seen.retry_after_s, seen.status in _REFUSED)


def ping(url: str, timeout_s: float) -> Result:
    """Ask the heartbeat's address."""
    try:
        response = requests.get(url, timeout=timeout_s, allow_redirects=False, stream=True)
        response.close()
    except (requests.RequestException, ValueError) as error:
        return Result(HEARTBEAT, False, _words(error))
    if response.status_code >= 300:
        return Result(HEARTBEAT, False, f"HTTP {response.status_code}")
    return Result(HEARTBEAT, True)


def retry_after(text: str | None, now_s: float) -> float | None:
    """Return the pause that a Retry-After header asks for, in seconds: a number, or a date; `None` where it is none."""
    if text is None:
        return None
    try:
        return max(0.0, float(text)) if float(text) == float(text) else None
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s)
    except (TypeError, ValueError, OverflowError):
        return None


def _words(error: Exception) -> str:
    """Return an error as a clause that holds no address."""
    if isinstance(error, requests.Timeout):
        return "it did not answer in time"
    if isinstance(error, requests.ConnectionError):
        return "it cannot be reached"
    return f"the request failed ({type(error).__name__})"
