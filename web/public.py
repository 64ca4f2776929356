"""The public listener: what anybody may read, some time after it happened. It has no way to the supervisor at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request
from fastapi.responses import Response

from config.tree import PublicWeb
from domain.instants import MS
from domain.units import Utc
from web import lists, models
from web.answers import Limit, Masked, add_troubles, client_of, refusal
from web.guard import Rates, Refused, is_among, networks
from web.view import View


def make_public_app(view: View, rules: PublicWeb, rate_per_s: float) -> FastAPI:
    """Return the application of the public listener; nothing younger than the delay is told."""
    app = FastAPI(title="Zerohour, public", docs_url=None, redoc_url=None, default_response_class=Masked)
    add_troubles(app)
    rates, allowed = Rates(rate_per_s, 5 * rate_per_s), networks(rules.allowed_from)

    @app.middleware("http")
    async def check(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        try:
            if request.method not in ("GET", "HEAD"):
                raise Refused(405, "This address is for reading alone.")
            if not is_among(client_of(request), allowed):
                raise Refused(403, "This machine is not among those that may ask (web.public.allowed_from).")
            rates.check(client_of(request))
            if request.url.path.startswith("/api/") and not view.ledgers.is_read:
                raise Refused(503, "The ledgers are not read yet; ask again in a moment.", 1)
        except Refused as refused:
            return refusal(refused)
        return await go_on(request)

    def before_utc() -> Utc:
        return Utc(view.now_utc - rules.delay_ms * MS)

    @app.get("/healthz")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/api/alerts")
    async def alerts(limit: Limit = 50) -> list[models.Alert]:
        return lists.alerts(view, limit, before_utc())

    @app.get("/api/shadows")
    async def shadows(limit: Limit = 50) -> list[models.Alert]:
        return lists.shadows(view, limit, before_utc())

    @app.get("/api/trades")
    async def trades(limit: Limit = 50) -> list[models.Trade]:
        return lists.trades(view, limit, before_utc())

    @app.get("/api/fills")
    async def fills(limit: Limit = 50) -> list[models.Fill]:
        return lists.fills(view, limit, before_utc())

    @app.get("/api/weekly")
    async def weekly() -> list[models.Week]:
        return await view.weeks(with_today=rules.delay_ms == 0)

    return app
