"""What views are made of: columns with units, instants on both clocks, and the columns that many views share."""

from __future__ import annotations

import msgspec


class Column(msgspec.Struct, frozen=True):
    """One column: its name, what it is measured in (empty: a name or a count), what it means."""

    name: str
    unit: str
    meaning: str


class View(msgspec.Struct, frozen=True):
    """One view: where it belongs, what a row of it is, its columns in order, its query and what that is made of."""

    name: str
    group: str
    row: str
    columns: tuple[Column, ...]
    sql: str
    needs: tuple[str, ...]


def instant(name: str, meaning: str) -> tuple[Column, Column]:
    """Return the columns of an instant, on both clocks."""
    return Column(f"{name}_utc", "UTC", meaning), Column(f"{name}_ny", "New York", "the same on New York's clock")


def clocks(column: str, name: str) -> str:
    """Return the select items of an instant that is stored in nanoseconds."""
    return f"utc({column}) AS {name}_utc, ny(utc({column})) AS {name}_ny"


USD = "USD"
SESSION = Column("session", "date", "exchange date in New York")
TICKER = Column("ticker", "", "the vendor's ticker (`SPX`, `ES_SPX`)")
BUCKET = instant("bucket", "start of the 30 s bucket")
SHAPES = ("base_gex", "base_greek", "base_orderflow")
DESK = Column("desk", "", "the desk")
ALERT_ID = Column("alert_id", "", "session-source-ticker-bucket-kind-version")
INTENT = Column("intent_id", "", "the intent: what an accepted attempt reserved")
STRATEGY = Column("strategy", "", "the strategy")
SOURCE = Column("source", "", "who found it (`gexwatch`, `advisor`)")
KIND = Column("kind", "", "kind of alert (`GAMMA_FLIP`)")
VERSION = Column("version", "", "version of the evaluator")
