"""The dashboard's figures for Prometheus, read at the moment of the scrape."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from web import desk, holdings
from web.desks import Desks, desk_lines
from web.stream import Stream


class ViewCollector(Collector):
    """Everything as gauges: what is counted is counted elsewhere."""

    def __init__(self, desks: Desks, stream: Stream) -> None:
        self._desks = desks
        self._view = desks.first
        self._stream = stream

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the figures; what is not known is left out."""
        status = desk.status(self._view)
        if self._view.ledgers.is_read:
            money = holdings.performance(self._view)
            yield from _plain((
                ("realized_usd", "The session's realised result, net of fees.", money.daily_realized_pnl),
                ("unrealized_usd", "What is held has gained so far.", money.unrealized_pnl),
                ("hard_stop_usd", "The result at which the day is locked.", money.hard_stop),
            ))  # fmt: skip
        yield from _plain((
            ("supervisor_answers", "The supervisor answers.", float(not self._view.ended and not self._view.silence)),
            ("trading", "Entries are allowed now.", float(status.is_trading)),
            ("connected", "The order session stands.", float(status.is_connected)),
            ("kill_level", "Kill level in force.", status.kill_level),
            ("open_positions", "Positions held.", status.open_positions),
            ("trades_today", "Positions closed in the session.", status.trades_today),
            ("dead_letters", "Messages that nobody could handle.", self._view.process.get("dead_letters")),
            ("resident_mb", "Memory of the supervisor.", self._view.process.get("rss_mb")),
            ("dashboard_clients", "Pages that follow.", len(self._stream.clients)),
            ("dashboard_sent_bytes", "Bytes pushed to pages.", self._stream.bytes_sent),
        ))  # fmt: skip
        if len(self._desks.names) > 1:
            yield from self._each_desk()
        yield from self._actors()

    def _each_desk(self) -> Iterator[GaugeMetricFamily]:
        """Yield the figures of several desks, each under its name; those without one are of the first."""
        labels = ("desk", "kind")
        figures = {
            name: GaugeMetricFamily(f"zerohour_desk_{name}", what, labels=labels)
            for name, what in (
                ("total_usd", "The session's result so far, with what is held."),
                ("open_positions", "Positions held."),
                ("kill_level", "Kill level in force."),
                ("connected", "The order session stands."),
                ("trading", "Entries are allowed now."),
            )
        }
        for line in desk_lines(self._desks):
            known = {
                "total_usd": line.total_pnl, "open_positions": line.open_positions, "kill_level": line.kill_level,
                "connected": line.is_connected, "trading": line.is_trading,
            }  # fmt: skip
            for name, value in known.items():
                if value is not None:
                    figures[name].add_metric((line.desk, line.kind), float(value))
        yield from figures.values()

    def _actors(self) -> Iterator[GaugeMetricFamily]:
        mail = GaugeMetricFamily("zerohour_actor_mail", "Messages that wait.", labels=["actor"])
        up = GaugeMetricFamily("zerohour_actor_up", "The actor stands.", labels=["actor"])
        conflated = GaugeMetricFamily(
            "zerohour_actor_conflated", "Prices that a newer one took the place of unread.", labels=["actor"]
        )
        restarts = GaugeMetricFamily("zerohour_actor_restarts", "Restarts in this run.", labels=["actor"])
        p99 = GaugeMetricFamily("zerohour_actor_p99_seconds", "99 of 100 messages are faster.", labels=["actor"])
        for row in desk.actors(self._view).rows:
            mail.add_metric([row.name], row.mail)
            up.add_metric([row.name], float(row.is_up))
            restarts.add_metric([row.name], row.restarts)
            if row.p99_ms is not None:
                p99.add_metric([row.name], row.p99_ms / 1000)
        for told in self._view.actor_rows:
            conflated.add_metric([told["name"]], told["conflated"])
        yield from (mail, up, restarts, conflated, p99)


def _plain(figures: tuple[tuple[str, str, float | None], ...]) -> Iterator[GaugeMetricFamily]:
    for name, what, value in figures:
        if value is not None:
            yield GaugeMetricFamily(f"zerohour_{name}", what, value=value)
