"""A risk actor that is talked to, one message after the other; what it wants done is kept in order."""

from __future__ import annotations

from typing import TypeVar

from actors.risk.actor import RiskActor
from actors.risk.state import Risk
from config.settings import Settings
from domain.instants import MS
from domain.instruments import Contract, Quote
from messages import lifecycle, market, orders
from messages.base import Message
from supervision.effects import CancelTimer, Effects, SetTimer, Tell
from tests.testkit.desk_world import CALL, MORNING, NOW, QQQ_CALL, QQQ_SPOT, SETTINGS, SPOT, quote

M = TypeVar("M", bound=Message)


class Talk:
    """Keeps state, clock, armed timers and everything that was told."""

    def __init__(self, settings: Settings = SETTINGS, restored: lifecycle.Restored | None = None) -> None:
        self.actor = RiskActor("risk:paper", settings)
        self.state: Risk = self.actor.initial()
        self.now = NOW
        self.told: list[tuple[str, Message]] = []
        self.timers: dict[str, int] = {}
        self.asked_intent = ""
        self.hear(lifecycle.Started(name="risk:paper", incarnation=1, run_n=1, restored=restored))

    def morning(self) -> Talk:
        """Hear what a desk hears before its first signal."""
        self.hear(*MORNING)
        self.told.clear()
        return self

    def hear(self, *messages: Message) -> Talk:
        """Handle messages at the present instant."""
        for message in messages:
            self.state, effects = self.actor.decide(self.state, message, self.now)
            self._carry_out(effects)
        return self

    def _carry_out(self, effects: Effects) -> None:
        for effect in effects:
            match effect:
                case Tell(to=to, message=message):
                    self.told.append((to, message))
                    if isinstance(message, orders.ReserveEntry):
                        self.asked_intent = message.intent_id
                case SetTimer(key=key, at_utc=at_utc):
                    self.timers[key] = at_utc
                case CancelTimer(key=key):
                    self.timers.pop(key, None)

    def wait(self, ms: float) -> Talk:
        """Let time pass; timers that fall due fire in order, each at its instant."""
        until = self.now + int(ms * MS)
        while self.timers and min(self.timers.values()) <= until:
            key = min(self.timers, key=lambda k: (self.timers[k], k))
            self.now = max(self.now, self.timers.pop(key))
            self.hear(lifecycle.TimerFired(key=key, due_utc=self.now))
        self.now = until
        return self

    def all(self, kind: type[M], to: str | None = None) -> list[M]:
        """Give everything of a kind that was told, to one address or to any."""
        return [m for address, m in self.told if isinstance(m, kind) and to in (None, address)]

    def last(self, kind: type[M]) -> M:
        """Give the newest message of a kind."""
        return self.all(kind)[-1]

    # -- the other side of the conversation -----------------------------------------------------

    def offer(self, *offered: tuple[Contract, Quote], why: str | None = None, is_none_today: bool = False) -> Talk:
        """Answer the wish for contracts; without arguments with one good contract."""
        wanted = self.last(market.ContractsWanted)
        if wanted.ticker == "QQQ":
            spot, good = QQQ_SPOT, (QQQ_CALL, quote(900, 100, 104, self.now))
        else:
            spot, good = SPOT, (CALL, quote(at=self.now))
        quotes = offered or (() if why else (good,))
        return self.hear(
            market.ContractsOffered(
                request_id=wanted.request_id, quotes=quotes, spot=spot, why=why, is_none_today=is_none_today
            )
        )

    def fresh(self, given: Quote | None = None) -> Talk:
        """Answer the newest request for a quote."""
        asked = self.last(market.RequestQuote)
        contract = QQQ_CALL if asked.con_id == QQQ_CALL.con_id else CALL
        bid_ask = (100, 104) if contract is QQQ_CALL else (1_000, 1_030)
        read = given or quote(asked.con_id, *bid_ask, at=self.now)
        return self.hear(market.QuoteRead(request_id=asked.request_id, contract=contract, quote=read, spot=SPOT))

    def reserve(self) -> Talk:
        """Answer the newest reservation with success."""
        return self.hear(orders.EntryReserved(intent_id=self.asked_intent))

    @property
    def code(self) -> str:
        """Give the code of the newest denial."""
        return self.last(orders.EntryDenied).code.value
