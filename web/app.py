"""The HTTP API and the page: routes over what `View` knows; every answer is masked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Path, Query, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse
from prometheus_client import CollectorRegistry, generate_latest
from pydantic import BaseModel, ConfigDict, Field
from starlette.middleware.gzip import GZipMiddleware

from web import desk, holdings, lists, models
from web.answers import GUARDED, UNKNOWN, UNREADABLE, Limit, Masked, add_troubles, client_of, refusal
from web.desks import Desks, desk_lines
from web.front import PACKED_LEVEL, Front
from web.guard import COOKIE, Guard, Refused
from web.masking import masked
from web.metrics import ViewCollector
from web.questions import Ask, add_questions
from web.stream import Client, EventResponse, Stream, push_chart
from web.told import push_all, push_desks
from web.view import View

Control = Callable[[dict[str, Any]], dict[str, Any]]
DeskName = Annotated[str, Query(max_length=40, description="one of several desks; empty: that of `desk`")]
Ticker = Annotated[str, Query(max_length=12)]
Since = Annotated[int, Query(ge=-1, le=10_000)]
CELLS: dict[int | str, dict[str, Any]] = {200: {"content": {"application/octet-stream": {}}}}
REFUSED: dict[int | str, dict[str, Any]] = {
    status: {"model": models.Answer, "description": what}
    for status, what in ((409, "It was not carried out; `detail` says why."), (503, "Nobody answered."))
}
BUSY: dict[int | str, dict[str, Any]] = {503: {"description": "Too many pages follow already."}}
NO_DESK = {"denied": "desk_missing", "detail": "Name the desk whose entries are to start (desk; `/api/desks` has all)."}
NO_EPOCH = {
    "denied": "epoch_missing",
    "detail": "Name the kill epoch that you saw (expected_epoch; kill_epoch of /api/status): it may have been raised"
    " again since.",
}
ACTIONS = {"start": "resume", "stop": "kill", "close_all": "flatten", "kill": "kill"}


class Action(BaseModel):
    """What goes with an action: why; the level of `kill`, the kill epoch seen of `start`; an id to repeat it by.

    `desk`: of several, that one alone; empty: every one (`start` must name one).
    """

    reason: str = Field(default="", max_length=200)
    level: Literal[1, 2] = 1
    expected_epoch: int | None = None
    command_id: Annotated[str, Field(min_length=1, max_length=80)] | None = None
    desk: Annotated[str, Field(max_length=40)] = ""


class Signal(BaseModel):
    """A signal of a program of one's own: prices in USD of the underlying; `signal_id` is one to repeat it by."""

    model_config = ConfigDict(extra="forbid")

    signal_id: Annotated[str, Field(min_length=1, max_length=80)]
    ticker: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9._]{0,11}$")]
    kind: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,39}$")]
    version: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    direction: Literal[-1, 1]
    price: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
    target: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
    stop: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
    horizon_s: Annotated[int, Field(ge=60, le=23_400)] = 1_800


class Hello(models.Model):
    """What a page needs once: the run's token for its actions, and what can be looked at."""

    token: str | None
    run_n: int
    tickers: list[str]
    allows_actions: bool
    questions: list[str]


def view_of(request: Request, desk: DeskName = "") -> View:
    """Return the view of the desk that is asked for."""
    desks: Desks = request.app.state.desks
    found = desks.of(desk)
    if found is None:
        raise HTTPException(404, f"There is no desk {desk!r}; choose one of {', '.join(desks.names)}.")
    return found


Own = Annotated[View, Depends(view_of)]


def make_app(desks: Desks, stream: Stream, guard: Guard, control: Control, ask: Ask) -> Front:
    """Return the application over what is known, who follows, who may, the way to the supervisor, and who answers."""
    responses = GUARDED | UNKNOWN  # every route but a few has a desk, and there may be none of its name
    app = FastAPI(title="Zerohour", docs_url=None, redoc_url=None, default_response_class=Masked, responses=responses)
    app.state.desks = desks
    app.add_middleware(GZipMiddleware, minimum_size=800, compresslevel=PACKED_LEVEL)
    add_troubles(app)
    _add_reads(app, desks)
    _add_records(app, desks)
    _add_market(app, desks.first)
    _add_stream(app, desks, stream)
    _add_actions(app, desks, control)
    _add_signals(app, control)
    add_questions(app, ask, desks.names)
    _add_house(app, desks, stream, guard)
    return Front(app, guard, lambda name: first_told(desks, name))


def first_told(desks: Desks, name: str) -> bytes:
    """Return what the page's bar shows before anything was fetched, by kind of message, as JSON.

    `name` is the desk that the page asks for; where there is none of it, the first one is told.
    """
    try:
        view = desks.of(name) or desks.first
        told: dict[str, Any] = {"status": desk.status(view).model_dump()}
        if len(desks.names) > 1:
            told["desks"] = [line.model_dump() for line in desk_lines(desks)]
        told["market"] = desk.market(view).model_dump()
        told["alarms"] = [line.model_dump() for line in desk.alarm_lines(*desks)]
        if view.ledgers.is_read:
            told["performance"] = holdings.performance(view).model_copy(update={"curve": []}).model_dump()
        return masked(orjson.dumps(told))
    except Exception:  # a bug must not take the page away, on which Stop stands: the stream says what is wrong
        return b"{}"


def _add_reads(app: FastAPI, desks: Desks) -> None:
    @app.get("/api/desks")
    async def each() -> list[models.DeskLine]:
        """Every desk in a line."""
        return desk_lines(desks)

    @app.get("/api/status")
    async def status(view: Own) -> models.Status:
        return desk.status(view)

    @app.get("/api/pipeline")
    async def pipeline(view: Own) -> list[models.Stage]:
        return desk.pipeline(view)

    @app.get("/api/account")
    async def account(view: Own) -> models.Account:
        return desk.account(view)

    @app.get("/api/market")
    async def market(view: Own) -> models.Market:
        return desk.market(view)

    @app.get("/api/gaps", responses=UNREADABLE)
    async def gaps() -> list[models.GapRow]:
        return await desks.first.gaps()

    @app.get("/api/actors")
    async def actors() -> models.Actors:
        return desk.actors(desks.first)

    @app.get("/api/alarms")
    async def alarms() -> list[models.AlarmLine]:
        """Those of every desk, newest first."""
        return desk.alarm_lines(*desks)

    @app.get("/api/why/{ref:path}", responses=UNKNOWN | UNREADABLE)
    async def why(view: Own, ref: Annotated[str, Path(max_length=200)]) -> models.Story:
        """The chain of an alert id, an order reference or a position id: at the desk, else at whichever knows it."""
        for known in (view, *(other for other in desks if other is not view)):
            found = await known.story(ref)
            if found is not None:
                return found
        raise HTTPException(404, "No ledger knows this; /api/trades and /api/alerts list what there is.")


def _add_records(app: FastAPI, desks: Desks) -> None:
    """Add what stands in the ledgers; before they were read nobody knows it, and none is not the same as nothing."""

    def is_read(view: Own) -> None:
        if not view.ledgers.is_read:
            raise HTTPException(503, view.ledgers.trouble or "The ledgers are not read yet; ask again in a moment.")

    routes = APIRouter(dependencies=[Depends(is_read)], responses=UNREADABLE)

    @routes.get("/api/positions")
    async def positions(view: Own) -> list[models.Position]:
        return holdings.positions(view)

    @routes.get("/api/performance")
    async def performance(view: Own) -> models.Performance:
        return holdings.performance(view)

    @routes.get("/api/trades")
    async def trades(view: Own, limit: Limit = 50) -> list[models.Trade]:
        return lists.trades(view, limit)

    @routes.get("/api/alerts")
    async def alerts(view: Own, limit: Limit = 50) -> list[models.Alert]:
        return lists.alerts(view, limit)

    @routes.get("/api/gates")
    async def gates(view: Own, limit: Limit = 50) -> models.Gates:
        return lists.gates(view, limit)

    @routes.get("/api/fills")
    async def fills(view: Own, limit: Limit = 50) -> list[models.Fill]:
        return lists.fills(view, limit)

    @routes.get("/api/shadows")
    async def shadows(view: Own, limit: Limit = 50) -> list[models.Alert]:
        return lists.shadows(view, limit)

    @routes.get("/api/rates")
    async def rates() -> list[models.Rate]:
        return desks.first.outcomes.rates()

    @routes.get("/api/weekly")
    async def weekly(view: Own) -> list[models.Week]:
        return await view.weeks()

    @routes.get("/api/lifetime")
    async def lifetime(view: Own) -> models.Lifetime:
        return await view.lifetime()

    app.include_router(routes)


def _add_market(app: FastAPI, view: View) -> None:
    async def chart(ticker: str) -> Any:
        if ticker not in view.settings.tickers:
            raise HTTPException(404, _not_followed(view, ticker))
        if view.chart(ticker) is None:
            raise HTTPException(404, "There is no session to show yet.")
        if view.days[ticker].last < 0:
            await view.read_market(ticker)
        return view.days[ticker]

    @app.get("/api/day", response_model=dict[str, Any], responses=UNKNOWN)
    async def day(own: Own, ticker: Ticker, since: Since = -1) -> Response:
        """Bars, zero gamma and walls of a ticker's session by 30 s bucket, after the bucket `since`."""
        shown = await chart(ticker)
        return Masked(shown.whole(since) | {"marks": lists.marks_of(own, ticker)})

    @app.get("/api/heat", response_class=Response, responses=UNKNOWN | CELLS)
    async def heat(ticker: Ticker, since: Since = -1) -> Response:
        """Gamma by strike, one signed byte a cell, bucket by bucket after `since`: 127 is the bucket's `scale`."""
        shown = await chart(ticker)
        headers = {"x-last": str(shown.last), "x-grid": str(shown.grid_n)}
        return Response(shown.cells(since), media_type="application/octet-stream", headers=headers)

    @app.get("/api/context", responses=UNKNOWN | UNREADABLE)
    async def context() -> models.Context:
        """Correlations against their baseline, and the derived series of each symbol."""
        found = await view.context()
        if found is None:
            raise HTTPException(404, "There is no session to show yet.")
        return found

    @app.get("/api/reading", responses=UNKNOWN)
    async def reading(ticker: Ticker) -> models.Reading:
        found = desk.reading(view, ticker)
        if found is None:
            raise HTTPException(404, "There is no reading of this ticker yet.")
        return found


def _not_followed(view: View, ticker: str) -> str:
    return f"{ticker!r} is not followed; choose one of {', '.join(view.settings.tickers)}."


def _add_stream(app: FastAPI, desks: Desks, stream: Stream) -> None:
    @app.get("/events", response_class=StreamingResponse, responses=UNKNOWN | BUSY)
    async def events(
        view: Own, ticker: Ticker = "", since: Since = -1, grid: Annotated[int, Query(ge=0)] = 0
    ) -> Response:
        """Server-sent events: the whole of what is known of a desk, then the newest of each kind as it changes."""
        if ticker and ticker not in view.settings.tickers:
            raise HTTPException(404, _not_followed(view, ticker))
        if stream.is_full:
            return refusal(Refused(503, "Too many pages follow already (web.clients_max); close some.", 5))
        client = Client(view.settings.desk, ticker, since, grid)
        push_all(view, stream)
        push_desks(desks, stream)
        push_chart(view, stream, ticker)
        return EventResponse(stream.follow(client, desks.first))


def _add_actions(app: FastAPI, desks: Desks, control: Control) -> None:
    @app.post("/api/action/{what}", response_model=models.Answer, responses=REFUSED)
    async def act(what: Literal["start", "stop", "close_all", "kill"], asked: Action, request: Request) -> Any:
        """Start or stop entries, close everything, raise the kill level: on record with who asked and why."""
        if desks.of(asked.desk) is None:
            detail = f"There is no desk {asked.desk!r}; name one of {', '.join(desks.names)}."
            return _answer({"denied": "unknown_desk", "detail": detail})
        if what == "start" and asked.expected_epoch is None:
            return _answer(NO_EPOCH)
        if what == "start" and not asked.desk and len(desks.names) > 1:
            return _answer(NO_DESK)
        wanted: dict[str, Any] = {
            "do": ACTIONS[what], "by": f"dashboard ({client_of(request)})",
            "reason": asked.reason or f"{what.replace('_', ' ')} on the dashboard", "command_id": asked.command_id,
        }  # fmt: skip
        if what == "start":
            wanted |= {"level": 0, "expected_epoch": asked.expected_epoch}
        elif what != "close_all":
            wanted["level"] = asked.level if what == "kill" else 1
        if asked.desk and len(desks.names) > 1:
            wanted["desk"] = asked.desk
        answered = await _asked(control, wanted)
        desks.answered(await _asked(control, {"do": "status"}))
        return _answer(answered)


def _add_signals(app: FastAPI, control: Control) -> None:
    @app.post("/api/signals", response_model=models.Answer, responses=REFUSED)
    async def offer(signal: Signal) -> Any:
        """Offer a signal: it becomes an alert on record and passes the gates, a shadow unless its kind is promoted."""
        answered = await _asked(control, {
            "do": "signal", "signal_id": signal.signal_id, "ticker": signal.ticker, "kind": signal.kind,
            "version": signal.version, "direction": signal.direction, "entry_ticks": round(signal.price * 100),
            "target_ticks": round(signal.target * 100), "stop_ticks": round(signal.stop * 100),
            "horizon_ms": signal.horizon_s * 1_000,
        })  # fmt: skip
        return _answer(answered)


async def _asked(control: Control, wanted: dict[str, Any]) -> dict[str, Any]:
    try:
        return await asyncio.to_thread(control, wanted)
    except Exception as error:  # nobody is there, or nobody answers: the sentence says which
        return {"error": str(error)}


def _answer(answered: dict[str, Any]) -> Masked:
    status = 200 if "done" in answered else 409 if "denied" in answered else 503
    return Masked(models.Answer(**answered).model_dump(), status)


def _add_house(app: FastAPI, desks: Desks, stream: Stream, guard: Guard) -> None:
    view, registry = desks.first, CollectorRegistry()
    registry.register(ViewCollector(desks, stream))

    @app.get("/healthz")
    async def health() -> dict[str, str]:
        supervisor = "ended" if view.ended else "ok" if view.silence is None else "does not answer"
        return {"status": "ok", "supervisor": supervisor}

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/api/hello")
    async def hello(own: Own) -> Hello:
        """What a page needs once; another site's page cannot read it."""
        token = guard.run_token if guard.allows_actions else None
        return Hello(
            token=token, run_n=view.run_n, tickers=list(view.settings.tickers), allows_actions=guard.allows_actions,
            questions=list(lists.questions(own)),
        )  # fmt: skip

    @app.post("/login", include_in_schema=False)
    async def signed_in(request: Request) -> Response:
        shown = (await request.body()).decode(errors="replace").partition("token=")[2].strip()
        if not guard.is_remote_token(shown):
            return refusal(Refused(401, "That is not the token."))
        response = RedirectResponse("/", 303)
        is_tls = request.url.scheme == "https"
        response.set_cookie(COOKIE, shown, httponly=True, samesite="strict", max_age=86_400, secure=is_tls)
        return response
