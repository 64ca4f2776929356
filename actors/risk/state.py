"""The state of `risk`: its read model, the queue of intents and the one attempt in hand."""

from __future__ import annotations

import msgspec

from domain.instruments import Contract, Quote, Spot
from domain.risk.desk_view import DeskView
from domain.risk.entry_stages import Stage
from domain.risk.gates.types import Intent, Verdict
from domain.risk.kill import Watch


class Queued(msgspec.Struct, frozen=True):
    """An intent that waits its turn; at `deadline_utc` it is stale."""

    intent: Intent
    deadline_utc: int


class Attempt(msgspec.Struct, frozen=True):
    """The one entry that goes through the gates.

    `untried` are the offered candidates, the one being tried first; `contract` and `decision` are set when one passed.
    `kill_epoch` and `session_epoch` are those of the last look, `order_deadline_utc` is when the entry order must end.
    """

    intent: Intent
    deadline_utc: int
    stage: Stage
    stage_n: int
    request_id: str
    verdicts: tuple[Verdict, ...] = ()
    untried: tuple[tuple[Contract, Quote], ...] = ()
    tried: int = 0
    spot: Spot | None = None
    contract: Contract | None = None
    decision: Quote | None = None
    qty: int = 0
    sizing: str = ""
    fresh_from_utc: int | None = None
    limit_ticks: int = 0
    kill_epoch: int = 0
    session_epoch: int = 0
    order_deadline_utc: int = 0


class Risk(msgspec.Struct, frozen=True):
    """Everything that `risk` knows.

    `stage_n` counts stages of this incarnation (timers and requests carry it), `asked_level` is the kill level that was
    asked for and not yet heard of.
    """

    view: DeskView = DeskView()
    queue: tuple[Queued, ...] = ()
    attempt: Attempt | None = None
    incarnation: int = 0
    stage_n: int = 0
    watch: Watch = Watch()
    asked_level: int = 0
    has_asked_lock: bool = False
    has_told_flat: bool = False
    has_recorded_day: bool = False
