"""Every request of the TWS protocol up to server version 178, and what this gateway does with it.

What is answered is what the server has a handler for. A refusal is an error with the request's id where it has one;
what is ignored needs no answer from a real gateway either.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Treatment(StrEnum):
    """What becomes of a request."""

    ANSWERED = "answered"
    REFUSED = "refused"
    IGNORED = "ignored"


class Request(msgspec.Struct, frozen=True):
    """A request; `id_place` is the field of a refused one that holds its id, `None` where it has none (-1 is sent)."""

    name: str
    treatment: Treatment = Treatment.ANSWERED
    note: str = ""
    code: int = 0
    text: str = ""
    id_place: int | None = None


def _ignored(name: str, note: str) -> Request:
    return Request(name, Treatment.IGNORED, note)


def _refused(name: str, id_place: int | None, code: int = 321, text: str = "") -> Request:
    """Return a request that is refused; without a text of IB's it is said that it is not simulated."""
    text = text or f"Error validating request.-'': cause - {name} is not simulated."
    return Request(name, Treatment.REFUSED, code=code, text=text, id_place=id_place)


NO_HISTORY = "Historical Market Data Service error message:"
REQUESTS: dict[int, Request] = {
    1: Request("reqMktData", note="index, stock, option; also snapshots; generic tick 101"),
    2: Request("cancelMktData"),
    3: Request("placeOrder", note="see Orders"),
    4: Request("cancelOrder"),
    5: Request("reqOpenOrders", note="those of the client id"),
    6: Request("reqAccountUpdates", note="of one account at a time; another one's ends it with 2100"),
    7: Request("reqExecutions", note="of the session, by client id, account, time and symbol"),
    8: Request("reqIds"),
    9: Request("reqContractDetails", note="one contract, or every match of a partial one"),
    10: _refused("reqMarketDepth", 2, 354, "Requested market data is not subscribed"),
    11: _ignored("cancelMktDepth", "there is none"),
    12: _ignored("reqNewsBulletins", "there are none"),
    13: _ignored("cancelNewsBulletins", "there are none"),
    14: _ignored("setServerLogLevel", "a real gateway says nothing either"),
    15: Request(
        "reqAutoOpenOrders", note="of client id 0 alone (else 327): a person's orders are its own from then on"
    ),
    16: Request("reqAllOpenOrders", note="those of every client id"),
    17: Request("reqManagedAccts", note="every account of the login"),
    18: _refused("requestFA", None),
    19: _refused("replaceFA", 4),
    20: Request("reqHistoricalData", note="underlyings, TRADES or MIDPOINT, of today (else 162); also kept up to date"),
    21: _refused("exerciseOptions", 2),
    22: _refused("reqScannerSubscription", 1),
    23: _ignored("cancelScannerSubscription", "there is none"),
    24: _refused("reqScannerParameters", None),
    25: Request("cancelHistoricalData"),
    49: Request("reqCurrentTime", note="the market's instant"),
    50: Request("reqRealTimeBars", note="of five seconds, of underlyings, TRADES or MIDPOINT; else 420"),
    51: Request("cancelRealTimeBars"),
    52: _refused("reqFundamentalData", 2, 430, "The fundamentals data for the security specified is not available."),
    53: _ignored("cancelFundamentalData", "there is none"),
    54: _refused("calculateImpliedVolatility", 2),
    55: _refused("calculateOptionPrice", 2),
    56: _ignored("cancelCalculateImpliedVolatility", "there is none"),
    57: _ignored("cancelCalculateOptionPrice", "there is none"),
    58: Request("reqGlobalCancel", note="every order of every client id"),
    59: Request("reqMarketDataType", note="taken; the account has live data, and live goes before delayed"),
    61: Request("reqPositions", note="of every account of the login"),
    62: Request("reqAccountSummary", note="once; of every account of the login"),
    63: Request("cancelAccountSummary"),
    64: Request("cancelPositions"),
    65: _refused("verifyRequest", None),
    66: _refused("verifyMessage", None),
    67: _refused("queryDisplayGroups", 2),
    68: _refused("subscribeToGroupEvents", 2),
    69: _refused("updateDisplayGroup", 2),
    70: _ignored("unsubscribeFromGroupEvents", "there are none"),
    71: Request("startApi", note="the handshake: client id, then account and next order id"),
    72: _refused("verifyAndAuthRequest", None),
    73: _refused("verifyAndAuthMessage", None),
    74: Request("reqPositionsMulti", note="once; of one account, or of all"),
    75: _ignored("cancelPositionsMulti", "they are sent once"),
    76: Request("reqAccountUpdatesMulti", note="once; of one account, or of all"),
    77: _ignored("cancelAccountUpdatesMulti", "they are sent once"),
    78: Request("reqSecDefOptParams"),
    79: _refused("reqSoftDollarTiers", 1),
    80: _refused("reqFamilyCodes", None),
    81: _refused("reqMatchingSymbols", 1),
    82: _refused("reqMktDepthExchanges", None),
    83: _refused("reqSmartComponents", 1),
    84: _refused("reqNewsArticle", 1),
    85: _refused("reqNewsProviders", None),
    86: _refused("reqHistoricalNews", 1),
    87: _refused("reqHeadTimeStamp", 1, 162, f"{NO_HISTORY}No head time stamp"),
    88: _refused("reqHistogramData", 1),
    89: _ignored("cancelHistogramData", "there are none"),
    90: _ignored("cancelHeadTimeStamp", "there are none"),
    91: Request("reqMarketRule"),
    92: Request("reqPnL", note="at once, then every three seconds"),
    93: Request("cancelPnL"),
    94: Request("reqPnLSingle", note="of a contract that is held (else 2150); at once, then every three seconds"),
    95: Request("cancelPnLSingle"),
    96: _refused("reqHistoricalTicks", 1, 162, f"{NO_HISTORY}HMDS query returned no data"),
    97: Request(
        "reqTickByTickData", note="both sides and mids of options and stocks, prices of underlyings; else 10189"
    ),
    98: Request("cancelTickByTickData"),
    99: Request("reqCompletedOrders", note="without order id and client id, as IB sends them"),
    100: _refused("reqWshMetaData", 1),
    101: _ignored("cancelWshMetaData", "there are none"),
    102: _refused("reqWshEventData", 1),
    103: _ignored("cancelWshEventData", "there are none"),
    104: _refused("reqUserInfo", 1),
}
START_API = 71  # served by the handshake, before any handler
