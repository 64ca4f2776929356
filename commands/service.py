"""How a running supervisor tells the service manager that it is ready, well, and stopping (systemd's notify protocol).

One datagram a word, to the socket that `NOTIFY_SOCKET` names; without that variable nobody is told anything. Well is
narrow on purpose: a process that hangs is started anew, one whose ledger is down is not (a new one would not start
either, and this one goes on with its exits).

Source: the manual page sd_notify(3).
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, MutableMapping
from typing import Final

from commands.live import Supervisor, money_names

_BEATS_A_LIMIT: Final = 3  # so that one beat may be late


class ServiceLine:
    """The line to the service manager.

    Args:
        address: of its socket; `@` stands for the zero byte of an abstract one.
        every_s: how often it is told that all is well; `None`: it does not watch.
        is_well: whether the process does its work.
    """

    def __init__(self, address: str, every_s: float | None, is_well: Callable[[], bool]) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._every_s = every_s
        self._is_well = is_well
        self._stop_wanted = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="service", daemon=True)

    def start(self) -> None:
        """Say that the supervisor is ready, and begin to say that it is well."""
        self._say("READY=1")
        self._thread.start()

    def close(self) -> None:
        """Say that it is stopping, and stop saying that it is well."""
        self._stop_wanted.set()
        self._thread.join()
        self._say("STOPPING=1")

    def _beat(self) -> None:
        if self._every_s is None:
            return
        while not self._stop_wanted.is_set():
            if self._is_well():
                self._say("WATCHDOG=1")
            self._stop_wanted.wait(self._every_s)

    def _say(self, words: str) -> None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.setblocking(False)  # a manager that does not listen holds nothing up here
            line.sendto(words.encode(), self._address)


def service_line(environment: MutableMapping[str, str], is_well: Callable[[], bool]) -> ServiceLine | None:
    """Return the line that the environment names, and take it out of there: children are not asked.

    `None` where there is no service manager.
    """
    address = environment.pop("NOTIFY_SOCKET", "")
    limit_us = environment.pop("WATCHDOG_USEC", "")
    watched = environment.pop("WATCHDOG_PID", "")
    if not address:
        return None
    is_watched = limit_us.isdecimal() and int(limit_us) > 0 and watched in ("", str(os.getpid()))
    return ServiceLine(address, int(limit_us) / 1e6 / _BEATS_A_LIMIT if is_watched else None, is_well)


def is_well(running: Supervisor) -> bool:
    """Return whether a supervisor goes on, and none of what handles orders and money has hung.

    One that is closed goes on until it has ended: the hard stop closes positions then, and no actor has a part in that.
    """
    money = ("supervisor", *money_names(running.desks))
    held = tuple(f"position:{desk}:" for desk in running.desks)
    is_money = (name in money or name.startswith(held) for name in running.watchdog.stuck())
    return running.runtime.ended is None and (running.is_closed or not any(is_money))
