"""What the HTTP API answers: field names, types and units. Money and prices are USD, instants ISO 8601 in New York.

`None` means not known, never zero. The first six are those of the systems that this one replaces, with more fields.
"""

from web.models.base import Model
from web.models.desk import (
    Account,
    DeskLine,
    Fill,
    GreeksOf,
    Market,
    NearestExit,
    Performance,
    Position,
    Stage,
    Status,
    Trade,
)
from web.models.house import ActorRow, Actors, AlarmLine, Answer, Reply
from web.models.record import BrokerBreak, GapRow, Lifetime, Week
from web.models.signals import (
    Alert,
    Context,
    Correlation,
    Derived,
    Force,
    Gates,
    Rate,
    Reading,
    Refusal,
    Story,
    StoryStep,
)

__all__ = [
    "Account",
    "ActorRow",
    "Actors",
    "AlarmLine",
    "Alert",
    "Answer",
    "BrokerBreak",
    "Context",
    "Correlation",
    "Derived",
    "DeskLine",
    "Fill",
    "Force",
    "GapRow",
    "Gates",
    "GreeksOf",
    "Lifetime",
    "Market",
    "Model",
    "NearestExit",
    "Performance",
    "Position",
    "Rate",
    "Reading",
    "Refusal",
    "Reply",
    "Stage",
    "Status",
    "Story",
    "StoryStep",
    "Trade",
    "Week",
]
