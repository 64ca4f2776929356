"""`main.py shadows`: win rates of every kind and version, live ones and shadows side by side, with n and bounds.

Below them stand exit profiles, where one follows positions, beside what these came to.

The versions of a kind are compared on the same readings: from the session on in which the youngest of them raised its
first alert. What a promotion asks for is judged by all outcomes of a version.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, Final

import msgspec
import orjson

from commands.folder import DataFolder, settings_of
from commands.lines import wrapped
from commands.session_market import market_of
from config.settings import Settings
from domain.position.profiles import SOURCE, Other, other_of
from domain.signals.alert import Alert
from domain.signals.outcome import Outcome
from domain.signals.rates import Rate, exits_promotion_of, promotion_of, rate_of, share_of
from domain.units import Cents
from domain.wording import usd_text
from storage.queries import LedgerReader

_HEAD: Final = "  {:<8}{:>7}{:>7}{:>6}{:>7}{:>18}{:>6}{:>6}{:>10}"
_NOT_REAL: Final = "No real market made these outcomes, or it is not on record ({}): they say nothing about profit."


class ProfileRate(msgspec.Struct, frozen=True, kw_only=True):
    """A version of an exit profile beside the fixed one, on the same positions.

    `n` are those that its shadow left by itself, of which it would have made more in `wins`; `same` those that it left
    with the position. `fixed_cents` and `shadow_cents` are sums over all, before fees. `refusal`: as of a kind.
    """

    source: str
    kind: str
    version: int
    is_promoted: bool
    n: int
    wins: int
    rate: float | None
    lower: float | None
    upper: float | None
    same: int
    fixed_cents: int
    shadow_cents: int
    refusal: str | None


class VersionRate(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a kind: may it trade, its rate since `since`, and its rate of all its outcomes.

    `refusal` says why it may not be promoted; `None` where it may, or trades already.
    """

    source: str
    kind: str
    version: int
    is_promoted: bool
    since: date
    rate: Rate
    rate_of_all: Rate
    refusal: str | None


def act(arguments: Namespace) -> int:
    """Print the rates; 1 where no alert is on record."""
    settings = settings_of(arguments)
    folder = DataFolder(settings.data_dir)
    ledger = LedgerReader(folder.ledgers, settings.desk)
    outcomes = list(ledger.outcomes())
    found = rates_of(outcomes, ledger.open_alerts(), promoted_of(ledger), settings)
    profiles = profiles_of(ledger.shadow_exits(), promoted_of(ledger), settings)
    if arguments.json:
        print(orjson.dumps(msgspec.to_builtins([*found, *profiles]), option=orjson.OPT_INDENT_2).decode())
    else:
        markets = [market_of(folder, day) for day in sorted({outcome.alert.key.session for outcome in outcomes})]
        print("\n".join(lines_of(found, [market.name for market in markets if not market.is_real])))
        print("\n".join(profile_lines(profiles)), end="\n" * bool(profiles))
    return 0 if found or profiles else 1


def promoted_of(ledger: LedgerReader) -> frozenset[tuple[str, str, int]]:
    """Return what may trade as (source, kind, version): the newest word on each counts."""
    last = {(row["source"], row["kind"], row["version"]): bool(row["is_promoted"]) for row in ledger.promotions()}
    return frozenset(name for name, is_promoted in last.items() if is_promoted)


def rates_of(
    outcomes: Iterable[Outcome], under_way: Iterable[Alert], promoted: frozenset[tuple[str, str, int]],
    settings: Settings,
) -> list[VersionRate]:  # fmt: skip
    """Return every version of which there is an alert, by source, kind and version.

    Beside them stands a version that the settings look for and that has raised none yet.
    """
    of_version: dict[tuple[str, str, int], list[Outcome]] = {}
    first: dict[tuple[str, str, int], date] = {}
    for outcome in outcomes:
        of_version.setdefault(_version_of(outcome.alert), []).append(outcome)
    followed: dict[tuple[str, str, int], list[date]] = {}
    for alert in under_way:
        followed.setdefault(_version_of(alert), []).append(alert.key.session)
    raised = {*of_version, *followed}
    for name in raised:
        seen = [outcome.alert.key.session for outcome in of_version.get(name, ())] + followed.get(name, [])
        first[name] = min(seen)
    kinds = {name[:2] for name in raised}
    found = []
    for name in sorted(raised | {name for name in _looked_for(settings) if name[:2] in kinds}):
        since = max(first[other] for other in raised if other[:2] == name[:2])
        known = of_version.get(name, [])
        rate_of_all = _with(rate_of(known), followed.get(name, ()))
        common = rate_of(outcome for outcome in known if outcome.alert.key.session >= since)
        refusal = promotion_of(rate_of_all, settings.promotion.outcomes_min, settings.promotion.rate_floor)
        source, kind, version = name
        found.append(
            VersionRate(
                source=source, kind=kind, version=version, is_promoted=name in promoted, since=since,
                rate=_with(common, [day for day in followed.get(name, ()) if day >= since]), rate_of_all=rate_of_all,
                refusal=None if name in promoted or refusal is None else refusal.why,
            )
        )  # fmt: skip
    return found


def profiles_of(
    exits: Iterable[dict[str, Any]], promoted: frozenset[tuple[str, str, int]], settings: Settings
) -> list[ProfileRate]:
    """Return every exit profile that a shadow followed, and the one that the settings name."""
    of_profile: dict[Other, list[dict[str, Any]]] = {}
    for row in exits:
        of_profile.setdefault(Other(row["kind"], row["version"]), []).append(row)
    other = other_of(settings.exits)
    if other is not None:
        of_profile.setdefault(other, [])
    found = []
    for profile, rows in sorted(of_profile.items()):
        own = [row for row in rows if row["shadow_reason"] is not None]
        share = share_of(sum(row["shadow_cents"] > row["fixed_cents"] for row in own), len(own))
        name = (SOURCE, profile.kind, profile.version)
        refusal = exits_promotion_of(share, settings.promotion.outcomes_min, settings.promotion.rate_floor)
        found.append(
            ProfileRate(
                source=name[0], kind=name[1], version=name[2], is_promoted=name in promoted, n=share.n, wins=share.wins,
                rate=share.rate, lower=share.lower, upper=share.upper, same=len(rows) - share.n,
                fixed_cents=sum(row["fixed_cents"] for row in rows),
                shadow_cents=sum(row["shadow_cents"] for row in rows),
                refusal=None if name in promoted or refusal is None else refusal.why,
            )
        )  # fmt: skip
    return found


def profile_lines(found: Sequence[ProfileRate]) -> list[str]:
    """Return the exit profiles for people; nothing where no shadow follows positions."""
    if not found:
        return []
    lines = ["", "Exit profiles beside the fixed one, on the same positions (before fees)"]
    for one in found:
        state = "in force" if one.is_promoted else "shadow"
        share = "–" if one.rate is None else f"{one.wins} of {one.n}, {one.rate:.2f} ({one.lower:.2f}–{one.upper:.2f})"
        sums = f"{usd_text(Cents(one.shadow_cents))} where the fixed one made {usd_text(Cents(one.fixed_cents))}"
        lines += wrapped(
            f"{one.source} {one.kind}-{one.version} ({state}): made more in {share}; left with the position in"
            f" {one.same}; in all {sums}.", 2,
        )  # fmt: skip
        if not one.is_promoted:
            lines += wrapped(one.refusal or "May be promoted: `main.py promote` asks for no more.", 4)
    return lines


def lines_of(found: Sequence[VersionRate], unreal: Sequence[str] = ()) -> list[str]:
    """Return the rates for people, a block for each kind of a source; every rate with its n.

    `unreal` are the markets of sessions of which nothing says that people traded in them.
    """
    if not found:
        return ["No alert is on record."]
    lines: list[str] = []
    before: tuple[str, str] | None = None
    for one in found:
        if (one.source, one.kind) != before:
            before = one.source, one.kind
            lines += [
                "", f"{one.source} {one.kind}, since {one.since}",
                _HEAD.format("version", "", "n", "won", "lost", "rate (95 %)", "MFE", "MAE", "open/gap"),
            ]  # fmt: skip
        rate = one.rate
        share = "–" if rate.rate is None else f"{rate.rate:.2f} ({rate.lower:.2f}–{rate.upper:.2f})"
        mfe, mae = ("–" if mean is None else f"{mean:.1f}" for mean in (rate.mean_mfe_stops, rate.mean_mae_stops))
        state = "live" if one.is_promoted else "shadow"
        gaps = f"{rate.followed}/{rate.unresolved}"
        lines.append(_HEAD.format(one.version, state, rate.n, rate.wins, rate.losses, share, mfe, mae, gaps))
        if not one.is_promoted:
            lines += wrapped(one.refusal or "May be promoted: `main.py promote` asks for no more.", 4)
    lines += [
        "",
        "n: resolved outcomes; MFE, MAE: mean farthest moves, in stops.",
        "open/gap: alerts still followed, alerts that a gap left unmeasured.",
    ]
    return [*lines[1:], *(wrapped(_NOT_REAL.format(", ".join(dict.fromkeys(unreal)))) if unreal else [])]


def _looked_for(settings: Settings) -> set[tuple[str, str, int]]:
    """Return the versions that lanes look for by the settings, those on trial with them."""
    return {
        (source, kind, rules.version)
        for source, kinds in settings.alerts.items()
        for kind in kinds
        for rules in (settings.alert_rules[kind], *settings.alert_trials.get(kind, ()))
    }


def _version_of(alert: Alert) -> tuple[str, str, int]:
    return alert.key.source, alert.key.kind, alert.key.version


def _with(rate: Rate, followed: Sequence[date]) -> Rate:
    return msgspec.structs.replace(rate, followed=rate.followed + len(followed))
