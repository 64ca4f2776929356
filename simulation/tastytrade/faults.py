"""What goes wrong at the simulated REST broker, as switches that a test, a script or the control port turns."""

from __future__ import annotations

import random
from enum import StrEnum
from typing import Any

import msgspec


class Request(StrEnum):
    """What a request is about, for whoever lets it fail."""

    TOKEN = "token"
    ACCOUNTS = "accounts"
    PLACE = "place"
    DRY_RUN = "dry_run"
    REPLACE = "replace"
    CANCEL = "cancel"
    ORDERS = "orders"
    POSITIONS = "positions"
    BALANCES = "balances"
    TRANSACTIONS = "transactions"


class Trouble(msgspec.Struct, frozen=True):
    """What happens to the next request of a kind.

    `status` is answered in place of the true one (`None`: the true one), `is_cut` ends the connection without an
    answer, `is_done` says that the work is done all the same; `after_s` real seconds pass first, or before the answer
    where the work is done.
    """

    request: Request
    status: int | None = None
    is_cut: bool = False
    is_done: bool = False
    after_s: float = 0.0


class TastytradeFaults(msgspec.Struct, forbid_unknown_fields=True):
    """Switches of a running server; each holds until it is turned again, `troubles` are used up one by one.

    `is_silent`: the stream tells of nothing; `is_mute`: it does not even answer heartbeats; `repeats`: it tells
    everything twice; `shuffles`: what it has to tell at once comes in any order; `delay_s`: it tells so much later;
    `replace_s`: market seconds for which a replacement waits for its original; `refuses_cancels`, `rejects_orders`: so
    many of the next ones; `pieces`: sizes of the fills of the next order; `hides_s`: a new order stands in no list for
    so many market seconds; `page_size`: items in one page of a list; `spoils_rows`: so many of the next orders told
    cannot be read; `strange_orders`: rows that the list of orders begins with, as they are; `token_life_s`: how long a
    token is good.
    """

    troubles: list[Trouble] = []
    is_silent: bool = False
    is_mute: bool = False
    repeats: bool = False
    shuffles: bool = False
    delay_s: float = 0.0
    replace_s: float = 0.0
    refuses_cancels: int = 0
    rejects_orders: int = 0
    pieces: tuple[int, ...] = ()
    hides_s: float = 0.0
    page_size: int = 0
    spoils_rows: int = 0
    strange_orders: list[dict[str, Any]] = []
    token_life_s: float = 900.0
    seed: int = 1

    def trouble_of(self, request: Request) -> Trouble | None:
        """Return what happens to this request, and use it up."""
        found = next((trouble for trouble in self.troubles if trouble.request is request), None)
        if found is not None:
            self.troubles.remove(found)
        return found

    def spoiled(self, told: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return notifications as they are sent."""
        sent = [row for row in told for _ in range(2 if self.repeats else 1)]
        if self.shuffles:
            random.Random(self.seed * 7_919 + len(sent)).shuffle(sent)
        for row in sent:
            if self.spoils_rows and row["type"] == "Order":
                self.spoils_rows -= 1
                row["data"] = row["data"] | {"legs": None}
        return sent
