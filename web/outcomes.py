"""What became of the session's alerts: as recorded; what is under way is followed in the spots of the warehouse."""

from __future__ import annotations

from collections.abc import Iterable

from domain.session.calendar import TradingDay
from domain.signals.alert import Alert, AlertKey
from domain.signals.outcome import First, Outcome, OutcomeState
from domain.signals.rates import rates_by_version
from domain.units import Ticks, Utc
from storage.alert_outcomes import outcomes_in
from storage.queries import Found
from storage.warehouse_reader import WarehouseReader
from web import models

MINUTE_MS = 60_000


class Outcomes:
    """The outcomes by alert id; those that are over are not measured again."""

    def __init__(self) -> None:
        self.known: dict[str, Outcome] = {}

    def read(
        self, reader: WarehouseReader, day: TradingDay, alerts: Iterable[Found], recorded: Iterable[Outcome] = ()
    ) -> None:
        """Take what is recorded, and follow the other alerts that are not over, as far as there are spots.

        Raises:
            Exception: a file is damaged, or gone meanwhile.
        """
        self.known |= {outcome.alert.key.alert_id: outcome for outcome in recorded}
        self.known |= outcomes_in(reader, day, [_alert(row) for row in alerts if self._is_open(row["alert_id"])])

    def _is_open(self, alert_id: str) -> bool:
        known = self.known.get(alert_id)
        return known is None or known.state is OutcomeState.FOLLOWED

    def rates(self) -> list[models.Rate]:
        """Return the session's rates by source, kind and version, a shadow beside the live one."""
        return [
            models.Rate(
                source=source, kind=kind, version=version, is_shadow=is_shadow, n=rate.n, wins=rate.wins,
                losses=rate.losses, unresolved=rate.unresolved, followed=rate.followed, rate=rate.rate,
                lower=rate.lower, upper=rate.upper,
            )
            for (source, kind, version, is_shadow), rate in rates_by_version(self.known.values()).items()
        ]  # fmt: skip


def words_of(outcome: Outcome | None) -> str | None:
    """Return an outcome in a few words; `None` where nothing of it was seen."""
    if outcome is None:
        return None
    if outcome.state is OutcomeState.UNRESOLVED:
        return "not measured (gap)"
    if outcome.first is not First.NEITHER:
        reached_ms = outcome.target_ms if outcome.first is First.TARGET else outcome.stop_ms
        return f"{outcome.first.value} in {max(1, round((reached_ms or 0) / MINUTE_MS))} min"
    best, worst = abs(outcome.mfe_bps), abs(outcome.mae_bps)  # a zero may have a sign of its own
    moves = f"+{best:.0f} / \N{MINUS SIGN}{worst:.0f} bps"
    return f"{moves} so far" if outcome.state is OutcomeState.FOLLOWED else f"neither, {moves}"


def _alert(row: Found) -> Alert:
    return Alert(
        key=AlertKey.parse(row["alert_id"]), direction=row["direction"], entry_ticks=Ticks(row["entry_ticks"]),
        target_ticks=Ticks(row["target_ticks"]), stop_ticks=Ticks(row["stop_ticks"]), horizon_ms=row["horizon_ms"],
        is_shadow=bool(row["is_shadow"]), raised_utc=Utc(row["raised_utc"]),
    )  # fmt: skip
