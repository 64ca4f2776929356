"""What a desk needs of services beyond broker and vendor: a provider's key, and addresses that tell people."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from commands.findings import Finding
from config.secrets import secret
from config.settings import Settings, SettingsError
from domain.instants import session_of
from domain.market.bars import MinuteBar
from domain.units import Utc
from gateways.gexbot.rest import NoAnswer

_DAYS: Final = 7  # back to which bars are asked for: a holiday and a weekend are in it
_PAUSE_MAX_S: Final = 1.0  # a doctor does not wait as long as a run does
_HOW: Final = "docs/guides/notifications.md"


def notify_findings(settings: Settings) -> Iterator[Finding]:
    """Look whether lines reach anybody beyond the console; nothing is sent."""
    rules = settings.notify
    if not rules.targets:
        remedy = f"Name a target in notify.targets ({_HOW}), or watch the console."
        yield Finding("notifications", False, "nobody is told beyond the console", remedy, is_warning=True)
    else:
        from gateways.notify.child import made  # noqa: PLC0415 - its library is large, and most desks have no target
        from gateways.notify.talk import Wanted  # noqa: PLC0415

        wanted = Wanted(
            {name: target.url_env for name, target in rules.targets.items()}, rules.heartbeat_env,
            rules.send_timeout_ms / 1000,
        )  # fmt: skip
        senders, unusable = made(wanted)
        for name, sender in senders.items():
            yield Finding("notifications", True, f"{name}: {sender.service} (`main.py notify --test` sends a line)")
        for name, why in unusable.items():
            remedy = f"Set the variable to an address as {_HOW} names them, or take {name} out of notify.targets."
            yield Finding("notifications", False, f"{name}: {why}", remedy)
    if settings.trading_mode == "live" and not _is_set(rules.heartbeat_env):
        seen = f"{rules.heartbeat_env} is not set, so nobody hears it when this machine dies"
        remedy = f"Set it to the address of a watchman outside ({_HOW})."
        yield Finding("heartbeat", False, seen, remedy, is_warning=True)


def _is_set(variable: str) -> bool:
    try:
        return secret(variable) is not None
    except SettingsError:
        return False


def provider_findings(settings: Settings, now_utc: Utc) -> Iterator[Finding]:
    """Ask the provider for some bars of the first ticker; the key's absence is told elsewhere."""
    provider = settings.feed.provider
    key = secret(provider.key_env)
    if key is None:
        return
    ticker = settings.tickers[0]
    told = asyncio.run(_bars(provider.rest_url, key, ticker, now_utc))
    if isinstance(told, NoAnswer):
        remedy = (
            f"Check the key in {provider.key_env}, and what its subscription covers."
            if told.is_final else "Check the network and feed.provider.rest_url, then try again."
        )  # fmt: skip
        yield Finding("provider", False, f"gives no bars of {ticker} ({told.code})", remedy)
    elif not told:
        seen = f"has no bars of {ticker} in the last {_DAYS} days"
        remedy = f"Check what the subscription of the key in {provider.key_env} covers."
        yield Finding("provider", False, seen, remedy, is_warning=True)
    else:
        yield Finding("provider", True, f"gives bars of {ticker} to the key in {provider.key_env}")


async def _bars(url: str, key: str, ticker: str, now_utc: Utc) -> list[MinuteBar] | NoAnswer:
    from gateways.market_data.rest import ProviderClient  # noqa: PLC0415 - only who has a provider needs it

    client = ProviderClient(url, key, concurrency=1, wait=lambda pause_s: asyncio.sleep(min(pause_s, _PAUSE_MAX_S)))
    last = session_of(now_utc)
    try:
        return await client.minute_bars(ticker, last - timedelta(days=_DAYS), last)
    finally:
        client.close()
