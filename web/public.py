"""The public listener: what anybody may read, some time after it happened. It has no way to the supervisor at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request
from fastapi.responses import Response

from domain.instants import MS
from domain.units import Utc
from web import models
from web.answers import Limit, Masked, client_of, refusal
from web.guard import Rates, Refused
from web.view import View


def make_public_app(view: View, delay_ms: int, rate_per_s: float) -> FastAPI:
    """Return the application of the public listener; nothing younger than the delay is told."""
    app = FastAPI(title="Zerohour, public", docs_url=None, redoc_url=None, default_response_class=Masked)
    rates = Rates(rate_per_s, 5 * rate_per_s)

    @app.middleware("http")
    async def check(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        try:
            if request.method not in ("GET", "HEAD"):
                raise Refused(405, "This address is for reading alone.")
            rates.check(client_of(request))
        except Refused as refused:
            return refusal(refused)
        return await go_on(request)

    def before_utc() -> Utc:
        return Utc(view.now_utc - delay_ms * MS)

    @app.get("/healthz")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/api/alerts")
    async def alerts(limit: Limit = 50) -> list[models.Alert]:
        return view.alerts(limit, before_utc())

    @app.get("/api/shadows")
    async def shadows(limit: Limit = 50) -> list[models.Alert]:
        return [alert for alert in view.alerts(1_000, before_utc()) if alert.is_shadow][:limit]

    @app.get("/api/trades")
    async def trades(limit: Limit = 50) -> list[models.Trade]:
        return view.trades(limit, before_utc())

    @app.get("/api/fills")
    async def fills(limit: Limit = 50) -> list[models.Fill]:
        return view.fills(limit, before_utc())

    @app.get("/api/weekly")
    async def weekly() -> list[models.Week]:
        return await view.weeks(with_today=delay_ms == 0)

    return app
