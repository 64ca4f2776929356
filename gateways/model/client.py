"""The endpoint of a language model: one request, one reply; no redirect is followed, no answer is endless."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

import orjson
import urllib3

from gateways.model.shapes import SHAPES
from gateways.model.talk import ModelError, Reply, ToolSpec, Turn

_ANSWER_MAX: Final = 1_000_000  # bytes
_PIECE: Final = 65_536


class ModelClient:
    """A model behind an address.

    Args:
        shape: how the endpoint speaks, a name of `SHAPES`.
        url: its whole address.
        model: the model's name there.
        key: the secret that it wants; `None`: none is sent.

    Raises:
        ModelError: address or model are not named, or the key would travel in the clear.
    """

    def __init__(self, shape: str, url: str, model: str, key: str | None) -> None:
        self._shape = SHAPES[shape]
        self._url, self._model, self._key = url, model, key
        if not url or not model:
            raise ModelError("ask.url or ask.model of the settings is empty")
        where = urlsplit(url)
        if key is not None and where.scheme != "https" and not _is_loopback(where.hostname or ""):
            raise ModelError("ask.url begins with http://, so that the key would travel in the clear; write https://")
        self._http = urllib3.PoolManager(retries=False)

    def ask(self, system: str, turns: Sequence[Turn], tools: Iterable[ToolSpec], timeout_s: float) -> Reply:
        """Return the model's next reply.

        Raises:
            ModelError: there was none in time, or none that can be read.
        """
        body = orjson.dumps(self._shape.body(self._model, system, turns, tools))
        headers = {"Content-Type": "application/json"} | self._shape.headers(self._key)
        until_s = time.monotonic() + timeout_s
        try:
            answer = self._http.request(
                "POST", self._url, body=body, headers=headers, redirect=False, preload_content=False,
                timeout=urllib3.Timeout(total=max(0.05, timeout_s)),
            )  # fmt: skip
            raw = b""
            while piece := answer.read1(_PIECE):  # what comes drop by drop must not outlast the limit either
                raw += piece
                if len(raw) > _ANSWER_MAX:
                    raise ModelError("its answer was longer than 1 MB")
                if time.monotonic() > until_s:
                    raise ModelError("it did not answer in time")
            answer.release_conn()
        except urllib3.exceptions.NewConnectionError:  # a kind of timeout by its class, not by its nature
            raise ModelError("it could not be reached") from None
        except urllib3.exceptions.TimeoutError:
            raise ModelError("it did not answer in time") from None
        except urllib3.exceptions.HTTPError as error:
            raise ModelError(f"it could not be reached ({type(error).__name__})") from None
        if answer.status != 200:
            raise ModelError(f"it answered with the status {answer.status}")
        return self._shape.reply(raw)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
