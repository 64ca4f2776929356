"""A risk actor on a probe, with the other side of its conversations at hand."""

from __future__ import annotations

from typing import Self, TypeVar

from actors.risk import RiskActor
from actors.risk.state import RiskState
from config.settings import Settings
from domain.instants import MS
from domain.instruments import Contract, Quote
from domain.risk.reject import RejectCode
from domain.units import Utc
from messages import entries, market
from messages.base import Event, Message
from messages.restored import Restored
from supervision.effects import Publish, Tell
from tests.testkit.desk_world import CALL, FRESH, MORNING, NOW, QQQ_CALL, QQQ_SPOT, SETTINGS, SPOT, quote
from tests.testkit.probe import Outbox, Probe

M = TypeVar("M", bound=Message)
E = TypeVar("E", bound=Event)


class DeskTalk(Probe[RiskState]):
    """A desk that has started; methods that answer it return the desk, so that a history is one line."""

    def __init__(self, settings: Settings = SETTINGS, restored: Restored | None = FRESH) -> None:
        super().__init__(RiskActor("risk:paper", settings), NOW)
        self.asked_intent = ""
        self.start(restored)

    def feed(self, message: Message, at: Utc | None = None) -> Outbox:
        """Handle one message, and remember which reservation was asked for last."""
        sent = super().feed(message, at)
        for asked in sent.told(entries.ReserveEntry):
            self.asked_intent = asked.intent.intent_id
        return sent

    def morning(self) -> Self:
        """Hear what a desk hears before its first signal."""
        self.hear(*MORNING)
        self.sent.effects.clear()
        return self

    def hear(self, *messages: Message) -> Self:
        """Handle messages at the present instant."""
        for message in messages:
            self.feed(message)
        return self

    def wait(self, ms: float) -> Self:
        """Let time pass; timers that fall due fire in order, each at its instant."""
        self.advance(self.now + int(ms * MS))
        return self

    def told(self, kind: type[M], to: str | None = None) -> list[M]:
        """Return the messages of a kind that were told, to one address or to any."""
        return self.sent.told(kind, to)

    def published(self, kind: type[E]) -> list[E]:
        """Return the events of a kind."""
        return self.sent.published(kind)

    def last(self, kind: type[M]) -> M:
        """Return the newest message of a kind."""
        return [message for message in self.sent.messages if isinstance(message, kind)][-1]

    def names(self) -> list[tuple[str, str]]:
        """Return (to whom, what) of everything that was told or published; an event goes to nobody in particular."""
        found = []
        for effect in self.sent.effects:
            if isinstance(effect, Tell):
                found.append((effect.to, type(effect.message).__name__))
            elif isinstance(effect, Publish):
                found.append(("", type(effect.event).__name__))
        return found

    @property
    def denied(self) -> entries.EntryDenied:
        """The newest denial."""
        return self.last(entries.EntryDenied)

    @property
    def code(self) -> RejectCode:
        """The code of the newest denial."""
        return self.denied.code

    # -- the other side of the conversation -----------------------------------------------------

    def offer(self, *offered: tuple[Contract, Quote], why: str | None = None, is_none_today: bool = False) -> Self:
        """Answer the request for contracts; without arguments with one good contract."""
        asked = self.last(market.RequestContracts)
        if asked.ticker == "QQQ":
            spot, good = QQQ_SPOT, (QQQ_CALL, quote(900, 100, 104, self.now))
        else:
            spot, good = SPOT, (CALL, quote(at=self.now))
        quotes = offered or (() if why else (good,))
        return self.hear(
            market.ContractsOffered(
                request_id=asked.request_id, quotes=quotes, spot=spot, why=why, is_none_today=is_none_today
            )
        )

    def fresh(self, given: Quote | None = None) -> Self:
        """Answer the newest request for a quote."""
        asked = self.last(market.RequestQuote)
        contract = QQQ_CALL if asked.con_id == QQQ_CALL.con_id else CALL
        bid, ask = (100, 104) if contract is QQQ_CALL else (1_000, 1_030)
        read = given or quote(asked.con_id, bid, ask, at=self.now)
        return self.hear(market.QuoteRead(request_id=asked.request_id, contract=contract, quote=read, spot=SPOT))

    def reserve(self) -> Self:
        """Answer the newest reservation with success."""
        return self.hear(entries.EntryReserved(intent_id=self.asked_intent))
