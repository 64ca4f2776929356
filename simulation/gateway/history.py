"""Historical and real-time bars of the underlyings, from the path that the simulated market has taken today."""

from __future__ import annotations

from typing import NamedTuple

from domain.instants import SECOND
from domain.units import Ticks, Utc
from simulation.gateway.clients import Clients, Handler
from simulation.gateway.connection import ApiClient, KeptBars
from simulation.gateway.contracts import NO_SECURITY, Catalogue, Underlying
from simulation.gateway.wire.frames import WireError, encode, epoch_s, instant_of, usd, wire_time
from simulation.gateway.wire.requests import FieldReader
from simulation.market.market import Market

NO_DATA = "Historical Market Data Service error message:HMDS query returned no data"
UNIT_S = {"sec": 1, "min": 60, "hour": 3_600, "day": 86_400}
DURATION_S = {"S": 1, "D": 86_400, "W": 7 * 86_400, "M": 30 * 86_400, "Y": 365 * 86_400}
KINDS = ("TRADES", "MIDPOINT")
EPOCH_S = 2  # the form of a bar's time
REAL_TIME_NS = 5 * SECOND  # of a real-time bar
SHARES_PER_S = 100  # a minute has 6,000, as the data provider's bars do


class Bar(NamedTuple):
    """One bar; `begin_utc` is where its first second is."""

    begin_utc: Utc
    open_ticks: Ticks
    high_ticks: Ticks
    low_ticks: Ticks
    close_ticks: Ticks
    average_ticks: float
    seconds: int


class History:
    """Serves reqHistoricalData and reqRealTimeBars; today alone is known, and nothing that is still to come."""

    def __init__(self, market: object, catalogue: Catalogue, clients: Clients) -> None:
        self._market = market
        self._catalogue = catalogue
        self._clients = clients
        self.handlers: dict[int, Handler] = {
            20: self._bars,
            25: self._cancel,
            50: self._real_time_bars,
            51: self._cancel_real_time_bars,
        }

    def report(self) -> None:
        """Send what has become of bars to the clients that keep them up to date, and real-time bars that are over."""
        market = self._market
        if not isinstance(market, Market):
            return
        for client in self._clients.admitted():
            for request, kept in client.kept_bars.items():
                bars = bars_of(market, kept.ticker, kept.from_utc, market.now_utc, kept.size_s)
                client.send(*(_update(request, bar, kept) for bar in bars))
                if bars:
                    client.kept_bars[request] = kept._replace(from_utc=bars[-1].begin_utc)
            for request, kept in client.real_time_bars.items():
                until_utc = Utc(market.now_utc - market.now_utc % REAL_TIME_NS)
                bars = bars_of(market, kept.ticker, kept.from_utc, until_utc, kept.size_s)
                client.send(*(_real_time(request, bar, kept) for bar in bars))
                client.real_time_bars[request] = kept._replace(from_utc=max(until_utc, kept.from_utc))

    def _real_time_bars(self, client: ApiClient, fields: list[str]) -> None:
        reader = FieldReader(fields, at=2)
        request, query = reader.number(), reader.contract()
        reader.skip(1)  # the size, which is five seconds whatever is asked for
        found, kind, market = self._catalogue.find(query), reader.text(), self._market
        if len(found) != 1:
            client.error(request, 200, NO_SECURITY)
        elif not isinstance(market, Market) or not isinstance(found[0], Underlying) or kind not in KINDS:
            client.error(request, 420, "Invalid Real-time Query")
        else:
            volume = 0 if found[0].sec_type == "IND" else SHARES_PER_S
            begin_utc = Utc(market.now_utc - market.now_utc % REAL_TIME_NS)
            size_s = REAL_TIME_NS // SECOND
            client.real_time_bars[request] = KeptBars(found[0].ticker, size_s, EPOCH_S, volume, begin_utc)

    def _cancel_real_time_bars(self, client: ApiClient, fields: list[str]) -> None:
        client.real_time_bars.pop(FieldReader(fields, at=2).number(), None)

    def _cancel(self, client: ApiClient, fields: list[str]) -> None:
        client.kept_bars.pop(FieldReader(fields, at=2).number(), None)

    def _bars(self, client: ApiClient, fields: list[str]) -> None:
        reader = FieldReader(fields)
        request, query = reader.number(), reader.contract()
        reader.skip(1)  # includeExpired
        end, size, duration, is_rth, kind = (reader.text() for _ in range(5))
        form = reader.number()
        if query.sec_type == "BAG":
            reader.skip(4 * reader.number())
        is_kept_up = reader.flag()
        found = self._catalogue.find(query)
        try:
            size_s, span_s, end_utc = _size_s(size), _span_s(duration), instant_of(end)
        except WireError as trouble:
            client.error(request, 321, f"Error validating request.-'': cause - {trouble}")
            return
        if len(found) != 1:
            client.error(request, 200, NO_SECURITY)
        elif is_kept_up and end_utc is not None:
            client.error(request, 321, "Error validating request.-'': cause - keepUpToDate takes no end.")
        elif not isinstance(self._market, Market) or not isinstance(found[0], Underlying) or kind not in KINDS:
            client.error(request, 162, NO_DATA)
        else:
            market = self._market
            last_utc = min(market.now_utc, end_utc if end_utc is not None else market.now_utc)
            first_utc = market.open_utc if is_rth == "1" else market.path.start_utc
            if span_s < UNIT_S["day"]:
                first_utc = max(first_utc, Utc(last_utc - span_s * SECOND))
            bars = bars_of(market, found[0].ticker, first_utc, last_utc, size_s)
            if not bars:
                client.error(request, 162, NO_DATA)
                return
            volume = 0 if found[0].sec_type == "IND" else SHARES_PER_S
            rows = (part for bar in bars for part in _row(bar, form, volume))
            span = wire_time(first_utc), wire_time(last_utc)
            client.send(encode(17, request, *span, len(bars), *rows))
            if is_kept_up:
                client.kept_bars[request] = KeptBars(found[0].ticker, size_s, form, volume, bars[-1].begin_utc)


def bars_of(market: Market, ticker: str, first_utc: Utc, last_utc: Utc, size_s: int) -> list[Bar]:
    """Return the bars that begin in a stretch; the last one ends where the stretch does."""
    path = market.path
    end_utc = min(last_utc, Utc(path.start_utc + path.end_s * SECOND))
    step_ns = size_s * SECOND
    # a bar begins at a multiple of its size since the start of the path, which is a full hour
    begin_utc = first_utc - (first_utc - path.start_utc) % step_ns
    bars: list[Bar] = []
    for at_utc in range(begin_utc, end_utc, step_ns):
        begin = max(at_utc, first_utc, path.start_utc)
        low_s, high_s = ((to - path.start_utc) // SECOND for to in (begin, min(at_utc + step_ns, end_utc)))
        prices = [Ticks(round(float(price) * 100)) for price in path.spots[ticker][low_s:high_s]]
        if prices:
            average = sum(prices) / len(prices)
            bars.append(Bar(Utc(at_utc), prices[0], max(prices), min(prices), prices[-1], average, len(prices)))
    return bars


def _update(request: int, bar: Bar, kept: KeptBars) -> bytes:
    """Write historicalDataUpdate (90), whose prices stand in an order of their own."""
    begin, first, high, low, last, volume, average, count = _row(bar, kept.form, kept.volume_per_s)
    return encode(90, request, count, begin, first, last, high, low, average, volume)


def _real_time(request: int, bar: Bar, kept: KeptBars) -> bytes:
    """Write realTimeBar (50)."""
    *prices, volume, average, count = _row(bar, kept.form, kept.volume_per_s)
    return encode(50, 3, request, *prices, volume, average, count)


def _row(bar: Bar, form: int, volume_per_s: int) -> tuple[object, ...]:
    """Return the eight fields of a bar; form 2 is the epoch's seconds."""
    begin = epoch_s(bar.begin_utc) if form == EPOCH_S else wire_time(bar.begin_utc)
    prices = (bar.open_ticks, bar.high_ticks, bar.low_ticks, bar.close_ticks)
    volume = volume_per_s * bar.seconds
    return (begin, *map(usd, prices), volume, f"{bar.average_ticks / 100:.4f}", bar.seconds)


def _size_s(text: str) -> int:
    """Read the size of a bar, as `5 mins`.

    Raises:
        WireError: it is none that is known.
    """
    count, _, unit = text.partition(" ")
    seconds = UNIT_S.get(unit.removesuffix("s"))
    if seconds is None or not count.isdigit() or not int(count):
        raise WireError(f"{text!r} is no bar size; expected as 5 secs, 1 min or 1 hour")
    return int(count) * seconds


def _span_s(text: str) -> int:
    """Read a duration, as `1 D`.

    Raises:
        WireError: it is none that is known.
    """
    count, _, unit = text.partition(" ")
    if unit not in DURATION_S or not count.isdigit():
        raise WireError(f"{text!r} is no duration; expected as 1800 S or 1 D")
    return int(count) * DURATION_S[unit]
