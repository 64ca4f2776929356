"""The vendor's REST over the simulated market: newest profiles, days that are over, rates, refusals."""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Callable
from datetime import date
from typing import Any, Final

import orjson

from domain.instants import BUCKET_NS, SECOND, session_of
from domain.options.profile import SCALARS, Profile, Shape
from domain.ports import Clock
from domain.units import Utc
from simulation.hubs.faults import RefuseRest
from simulation.hubs.http import Answer, Request
from simulation.hubs.publisher import FeedMarket

BASE: Final = "/v2"
HISTORY_NS: Final = BUCKET_NS  # the simulated history has one object a bucket
_NAMED: Final = r"/(?P<ticker>[A-Z][A-Z0-9._]*)/(?P<package>classic|state|orderflow)/(?P<category>[a-z0-9_]+)"
_NEWEST: Final = re.compile(_NAMED)
_DAY: Final = re.compile(rf"/hist{_NAMED}/(?P<day>\d{{4}}-\d{{2}}-\d{{2}})")
_FILE: Final = re.compile(r"/files/(?P<name>[A-Za-z0-9_.-]+)")
_THEIRS: Final = {"major_call_gamma": "major_positive", "major_put_gamma": "major_negative"}


class RestDesk:
    """Answers the REST paths.

    Args:
        market: whose profiles are told; it is stepped to the clock first.
        clock: the market's time; the rates are counted in it.
        is_known: whether a key may ask.
        files_url: gives the URL of a history file by its name.
        now_s: the real clock: a second of it passes the rate as well, for a market may stand until it has its answer.
    """

    def __init__(
        self, market: FeedMarket, clock: Clock, is_known: Callable[[str], bool], files_url: Callable[[str], str],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._market = market
        self._clock = clock
        self._is_known = is_known
        self._files_url = files_url
        self.now_s = now_s
        self._asked: dict[tuple[str, str], tuple[Utc, float]] = {}
        self._faults: list[RefuseRest] = []
        self._files: dict[str, bytes] = {}
        self.answered_n = 0
        self.refused_n = 0

    def refuse(self, fault: RefuseRest) -> None:
        """Refuse the next requests that a fault names."""
        self._faults.append(fault)

    def put_day(self, ticker: str, category: str, day: date, profiles: list[Profile], *, zipped: bool = True) -> None:
        """Keep a day's history."""
        data = orjson.dumps([json_of(profile) for profile in profiles])
        self._files[_file_name(ticker, category, day)] = gzip.compress(data) if zipped else data

    def answer(self, request: Request) -> Answer:
        """Answer one request by the vendor's rules."""
        path = request.path.removeprefix(BASE)
        file = _FILE.fullmatch(path)
        if file is not None:  # the file's address is its own permission; a key does not belong there
            if "authorization" in request.headers or file["name"] not in self._files:
                return _error(403, "this address is not for you")
            return Answer(200, self._files[file["name"]])
        if request.method != "GET":
            return _error(405, "ask with GET")
        if not request.headers.get("user-agent"):
            return _error(400, "a User-Agent header is required")
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not self._is_known(key):
            return _error(401, "the key is not known")
        fault = self._next_fault(path)
        if fault is not None:
            return self._refused(fault.status, fault.retry_after_s)
        day = _DAY.fullmatch(path)
        if day is not None:
            try:
                name = _file_name(day["ticker"], _category(day), date.fromisoformat(day["day"]))
            except ValueError:
                return _error(400, f"{day['day']} is no date")
            return Answer(200, {"url": self._files_url(name)}) if name in self._files else _error(404, "no such day")
        newest = _NEWEST.fullmatch(path)
        if newest is None:
            return _error(404, f"there is nothing at {path}")
        return self._newest(key, path, newest)

    def _newest(self, key: str, path: str, found: re.Match[str]) -> Answer:
        now, now_s = self._clock.now_utc(), self.now_s()
        asked_utc, asked_s = self._asked.get((key, path), (Utc(now - SECOND), now_s))
        if now - asked_utc < SECOND and now_s - asked_s < 1.0:
            return self._refused(429, 1)
        self._market.step(max(now, self._market.now_utc))
        try:
            profile = self._market.profile(found["ticker"], _category(found))
        except (KeyError, ValueError):
            return _error(404, f"there is nothing at {path}")
        self._asked[key, path] = now, now_s
        self.answered_n += 1
        return Answer(200, json_of(profile))

    def _next_fault(self, path: str) -> RefuseRest | None:
        for at, fault in enumerate(self._faults):
            if path.startswith(fault.path):
                left = fault.count - 1
                rest = RefuseRest(status=fault.status, count=left, path=fault.path, retry_after_s=fault.retry_after_s)
                self._faults[at : at + 1] = [rest] if left else []
                return fault
        return None

    def _refused(self, status: int, retry_after_s: int) -> Answer:
        self.refused_n += 1
        headers = {"Retry-After": str(retry_after_s)} if retry_after_s else {}
        return Answer(status, {"error": "refused"}, headers)


def recorded(market: FeedMarket, ticker: str, category: str, day: date) -> list[Profile]:
    """Return what a simulated day had at the end of each bucket; the market is stepped through it."""
    found, at_utc = [], market.open_utc + BUCKET_NS - SECOND
    while at_utc < market.close_utc and session_of(Utc(at_utc)) == day:
        market.step(Utc(at_utc))
        found.append(market.profile(ticker, category))
        at_utc += HISTORY_NS
    return found


def json_of(profile: Profile) -> dict[str, Any]:
    """Return a profile as the vendor's REST tells it, in units."""
    shape = profile.shape
    names = SCALARS[shape][:8] if shape is Shape.GEX else SCALARS[shape]
    item: dict[str, Any] = {
        "timestamp": profile.source_utc // SECOND, "ticker": profile.ticker, "spot": profile.spot / 100,
    }  # fmt: skip
    item |= {
        _THEIRS.get(name, name): value / (1000 if name in ("sum_gex_vol", "sum_gex_oi", "delta_risk_reversal") else 100)
        for name, value in zip(names, profile.scalars, strict=False)
    }
    if shape is Shape.ORDERFLOW:
        return item
    scales = (100, 100) if shape is Shape.GEX else (1000, 1000, 100)
    rows = [
        [strike / 100, *(v / s for v, s in zip(values, scales, strict=True)), [p / 100 for p in priors]]
        for strike, values, priors in zip(
            profile.strikes.tolist(), profile.values.tolist(), profile.priors.tolist(), strict=True
        )
    ]
    item |= {"min_dte": 0, "sec_min_dte": 1}
    if shape is Shape.GREEK:
        return item | {"mini_contracts": [[*row, None, None] for row in rows]}
    pairs = zip(profile.scalars[8::2], profile.scalars[9::2], strict=True)
    return item | {"strikes": rows, "max_priors": [[strike / 100, change / 1000] for strike, change in pairs]}


def _category(found: re.Match[str]) -> str:
    package, category = found["package"], found["category"]
    return f"classic_gex_{category.removeprefix('gex_')}" if package == "classic" else f"{package}_{category}"


def _file_name(ticker: str, category: str, day: date) -> str:
    return f"{day.isoformat()}_{ticker}_{category}.json.gz"


def _error(status: int, sentence: str) -> Answer:
    return Answer(status, {"error": sentence})
