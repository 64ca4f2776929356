"""The views that `main.py sql`, notebooks and the API query: what each is, its columns with units, and its SQL.

One row a fact, prices and money in US dollars, every instant twice: `_utc`, and `_ny` on New York's clock (both without
a zone, cut to the microsecond). `NULL` is "not told" or "not computed", never zero. What a view is made of are bases
(`needs`): files of the warehouse, series, tables of the ledgers, lines of the traces; only those that a query uses are
read.
"""

from __future__ import annotations

from domain.options.profile import GEX_SCALARS, GREEK_SCALARS, ORDERFLOW_SCALARS
from storage.views.subjects.earlier import ALERT_LOG, DAILY_SUMMARY, GEX_EXECUTION_LOG, SYSTEM_STATE, TRADES
from storage.views.subjects.operations import COMMANDS, KILLS, MODES, TRACE
from storage.views.subjects.prices import BARS, CHAINS, DERIVED, QUOTES, UNDERLYINGS, longer_bars
from storage.views.subjects.signals import ALERTS, FEATURES, FORCES, IMPORTED_ALERTS, OUTCOMES, READINGS
from storage.views.subjects.trades import (
    ATTEMPTS,
    DAYS,
    EXIT_CHANGES,
    FILLS,
    GATES,
    IMPORTED_TRADES,
    ORDER_EVENTS,
    ORDERS,
    POSITIONS,
    SHADOW_EXITS,
    STRUCTURES,
)
from storage.views.subjects.vendor import ALL_ROWS, DAILY, GAPS, PROFILE, ROWS, vendor_view

ALL = (
    READINGS,
    FEATURES,
    FORCES,
    ALERTS,
    OUTCOMES,
    IMPORTED_ALERTS,
    ROWS,
    ALL_ROWS,
    vendor_view("gex", "base_gex", "one stored row of gamma (`classic_gex_*`, `state_gex_*`)", GEX_SCALARS),
    vendor_view("greeks", "base_greek", "one stored row of a greek (`state_gamma_zero` ...)", GREEK_SCALARS),
    vendor_view("orderflow", "base_orderflow", "one stored row of orderflow", ORDERFLOW_SCALARS),
    PROFILE,
    BARS,
    longer_bars("bars_5m", 5, "five minutes"),
    longer_bars("bars_1h", 60, "one hour"),
    QUOTES,
    CHAINS,
    UNDERLYINGS,
    DERIVED,
    DAILY,
    GAPS,
    ATTEMPTS,
    GATES,
    ORDERS,
    ORDER_EVENTS,
    FILLS,
    POSITIONS,
    STRUCTURES,
    EXIT_CHANGES,
    SHADOW_EXITS,
    DAYS,
    IMPORTED_TRADES,
    TRACE,
    KILLS,
    MODES,
    COMMANDS,
    TRADES,
    DAILY_SUMMARY,
    SYSTEM_STATE,
    GEX_EXECUTION_LOG,
    ALERT_LOG,
)
VIEWS = {view.name: view for view in ALL}
GROUPS = {
    "signals": "What was read and found",
    "market": "Market data",
    "trades": "Gates, orders and money",
    "operations": "The system itself",
    "compatibility": "Names of the systems before",
}
