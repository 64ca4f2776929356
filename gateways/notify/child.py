"""The process that sends: one thread a target, so that one which hangs holds up no other. It keeps nothing."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import msgspec

from config.secrets import secret
from config.settings import SettingsError
from gateways.notify.sender import Sender, ping
from gateways.notify.talk import HEARTBEAT, Answer, Beginning, Job, Ping, Result, Wanted, line_of, said_of

NICENESS = 10


def serve(link: socket.socket) -> None:
    """Send what the supervisor asks for until it is gone; it says first what is wanted."""
    with suppress(OSError):
        os.nice(NICENESS)
    lock = threading.Lock()

    def answer(said: Answer) -> None:
        with lock, suppress(OSError):
            link.sendall(line_of(said))

    lines = link.makefile("rb")
    wanted = said_of(next(lines))
    if not isinstance(wanted, Wanted):
        raise TypeError("the supervisor did not say what is wanted first")
    senders, unusable = made(wanted)
    answer(Beginning(unusable))
    heartbeat = _found(wanted.heartbeat_env)
    pools = {name: ThreadPoolExecutor(1, f"to-{name}") for name in (*senders, HEARTBEAT)}

    def run(target: str, work: Callable[[], Result]) -> None:
        pools[target].submit(lambda: answer(work()))

    for line in lines:
        with suppress(msgspec.DecodeError):
            match said_of(line):
                case Job() as job if job.target in senders:
                    run(job.target, lambda job=job: senders[job.target].send(job.title, job.body, job.severity))  # type: ignore[misc]
                case Ping() if heartbeat is not None:
                    run(HEARTBEAT, lambda: ping(heartbeat, wanted.timeout_s))
                case _:
                    pass
    os._exit(0)  # the supervisor is gone: what hangs is not waited for


def made(wanted: Wanted) -> tuple[dict[str, Sender], dict[str, str]]:
    """Return the senders by target, and why others cannot be used."""
    senders: dict[str, Sender] = {}
    unusable: dict[str, str] = {}
    for name, variable in wanted.url_envs.items():
        try:
            url = secret(variable)
            if url is None:
                unusable[name] = f"{variable} is not set"
            else:
                senders[name] = Sender(name, url, wanted.timeout_s)
        except (ValueError, SettingsError) as error:
            unusable[name] = f"{variable}: {error}"
    return senders, unusable


def _found(variable: str) -> str | None:
    try:
        return secret(variable)
    except SettingsError:
        return None
