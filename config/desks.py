"""The desks of a process: that of `desk`, and those of `desks` beside it.

Every actor and port of a desk is made from settings that look like those of a process with this desk alone
(`of_desk`), so that none of them knows of others. Which desks trade a strategy stands with the strategy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TypeVar

from config.tree import Broker, SettingsTree
from domain.desks import DeskKind
from domain.signals.spread import SOURCE

T = TypeVar("T", bound=SettingsTree)


def desk_names(settings: SettingsTree) -> tuple[str, ...]:
    """Return the desks of the process, that of `desk` first."""
    return settings.desk, *settings.desks


def of_desk(settings: T, name: str) -> T:
    """Return the settings as one desk sees them: its name, its mode, its gateways.

    Raises:
        KeyError: there is no such desk.
    """
    spread = settings.spread
    if name != spread_at(settings) and spread.is_on:
        spread = dataclasses.replace(spread, is_on=False)  # one desk has structures
    if name == settings.desk:
        return settings if spread is settings.spread else settings.model_copy(update={"spread": spread})
    beside, broker = settings.desks[name], settings.broker
    is_live = beside.kind == "live"
    port = beside.port or (broker.live_port if is_live else broker.paper_port)
    own = (
        _of_simulated(settings, name)
        if beside.kind == "sim"
        else dataclasses.replace(
            broker,
            orders=beside.broker,
            gateways=beside.gateways or broker.gateways,
            paper_port=broker.paper_port if is_live else port,
            live_port=port if is_live else broker.live_port,
            account_env=beside.account_env or broker.account_env,
            client_ids=beside.client_ids or broker.client_ids,
            foreign_allowed=beside.foreign_allowed,
        )
    )
    # Live money has a stop at the broker where its desk is not the first, whatever the first one's mode has made of it.
    exits = dataclasses.replace(settings.exits, disaster_stop=True) if is_live else settings.exits
    seen = {
        "exits": exits,
        "desk": name, "broker": own, "trading_mode": "live" if is_live else "paper",
        "live_armed_env": beside.armed_env or settings.live_armed_env,
        "spread": spread,
    }  # fmt: skip
    return settings.model_copy(update=seen)


def spread_at(settings: SettingsTree) -> str:
    """Return the desk that trades the credit spread, where it is on."""
    return settings.spread.desk or settings.desk


def _of_simulated(settings: SettingsTree, name: str) -> Broker:
    """Return the broker of a simulated desk: the gateways of the desk whose quotes it sees, a session of its own."""
    beside, source = settings.desks[name], of_desk(settings, quotes_of(settings, name)).broker
    ids = dataclasses.replace(source.client_ids, quotes=beside.sim.quotes_client_id)
    return dataclasses.replace(source, orders="ib", client_ids=ids, foreign_allowed=())


def is_simulated(settings: SettingsTree, name: str) -> bool:
    """Return whether a desk's orders are filled in this process."""
    return name != settings.desk and settings.desks[name].kind == "sim"


def kind_at(settings: SettingsTree, name: str) -> DeskKind:
    """Return whose money a desk trades with; a demo has none but the simulated broker's.

    Raises:
        KeyError: there is no such desk.
    """
    if name != settings.desk:
        return DeskKind(settings.desks[name].kind)
    if settings.profile == "demo":
        return DeskKind.SIM
    return DeskKind.LIVE if settings.trading_mode == "live" else DeskKind.PAPER


def quotes_of(settings: SettingsTree, name: str) -> str:
    """Return the desk whose quote session a desk sees: its own, of a simulated one another's."""
    if not is_simulated(settings, name):
        return name
    return settings.desks[name].quotes_of or settings.desk


def traded_at(settings: SettingsTree) -> Mapping[str, tuple[str, ...]]:
    """Return the desks that trade each strategy as long as nobody has switched it; a switched-off spread is none."""
    found = {name: rules.desks or (settings.desk,) for name, rules in settings.strategies.items()}
    return found | ({SOURCE: (spread_at(settings),)} if settings.spread.is_on else {})


def allowed_at(settings: SettingsTree, strategy: str) -> tuple[str, ...]:
    """Return the desks that may trade a strategy: those that do at first, and those that it may be switched to."""
    rules = settings.strategies.get(strategy)
    more = () if rules is None else rules.switch_to
    return tuple(dict.fromkeys((*traded_at(settings).get(strategy, ()), *more)))
