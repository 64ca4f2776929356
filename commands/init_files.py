"""The files that `main.py init` writes: settings that say what each line is for, and the variables beside them."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from config.settings import Settings

NOTIFY_ENV: Final = "ZEROHOUR_NOTIFY_URL"
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.\-]+")
_LIVE_NOTE: Final = (
    "# live also needs the live port, the account and, for each start, ZEROHOUR_LIVE_ARMED=yes in the environment.\n"
)


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked; `day_loss_usd` is `None` where the share of the account alone counts."""

    trading_mode: str
    host: str
    port: int
    account: str
    source: str
    key: str
    lanes: dict[str, list[str]]
    data_dir: str
    day_loss_usd: int | None
    web_port: int
    notify_url: str = ""


def settings_text(answers: Answers) -> str:
    """Return the settings file."""
    own_port = "paper_port" if answers.trading_mode == "paper" else "live_port"
    lanes = "".join(f"  {name}: [{', '.join(tickers)}]\n" for name, tickers in answers.lanes.items())
    loss = answers.day_loss_usd
    limit = "null" if loss is None else str(loss * 100)
    chain = (
        "  chain:\n    folder: chains           # SPX.json or SPX.csv ..., as the exchange's site hands them out\n"
        if answers.source == "chain" else ""
    )  # fmt: skip
    return (
        "# Settings of your desk; every other setting keeps the value of config/defaults.yaml, which explains it.\n"
        "# Checked before each run; `main.py --config THIS doctor` says what is missing around it.\n"
        "profile: real\n"
        f"{_LIVE_NOTE if answers.trading_mode == 'live' else ''}"
        f"trading_mode: {answers.trading_mode}\n"
        f"# One desk, one ledger: orders at the broker carry this name.\ndesk: {answers.trading_mode}\n"
        "# Ledgers, market data and traces (beside the program, unless it begins with /).\n"
        f"data_dir: '{answers.data_dir}'\n"
        "\n# Which source watches which tickers.\n"
        f"lanes:\n{lanes}"
        "# Alerts that may trade, as [GAMMA_FLIP-1]; all others are shadows: logged, never traded. Begin with none,\n"
        "# watch the shadow log, then `main.py promote`.\n"
        "promoted: []\n"
        "\nbroker:\n"
        "  # In this order; the next is tried when one stays away.\n"
        f"  gateways: [{{host: {answers.host}, port: {answers.port}}}]\n"
        f"  {own_port}: {answers.port}            # entries on any other port are refused\n"
        f"\nfeed:\n  source: {answers.source}             # hubs, rest, chain, file or provider\n{chain}"
        "\nentry:\n"
        f"  daily_loss_max_cents: {limit}   # a day's loss that ends it; null: daily_loss_nav of the account alone\n"
        f"{_notify(answers)}"
        f"\nweb:\n  port: {answers.web_port}                 # http://127.0.0.1:{answers.web_port}\n"
    )


def _notify(answers: Answers) -> str:
    if not answers.notify_url:
        return ""
    return (
        "\n# Lines for people beyond the console (docs/guides/notifications.md); `main.py notify --test` tries it.\n"
        f"notify:\n  targets:\n    people: {{url_env: {NOTIFY_ENV}, severity_min: info,\n"
        "             topics: [entry, exit, kill, mode, alarm, day]}\n"
    )


def env_text(answers: Answers, base: Settings) -> str:
    """Return the variables; what is not known is there as a comment."""

    def line(name: str, value: str) -> str:
        return f"{name}={_quoted(value)}\n" if value else f"#{name}=\n"

    return (
        "# Secrets of your desk. Variables of the shell win; NAME_FILE may name a file that holds NAME's value.\n"
        "\n# The vendor's key (feed.keys).\n"
        f"{line(base.feed.keys[0], '' if answers.source == 'provider' else answers.key)}"
        "# The key of a provider of chains and prices (feed.provider), where feed.source is provider.\n"
        f"{line(base.feed.provider.key_env, answers.key if answers.source == 'provider' else '')}"
        "# The account that the desk may trade on (broker.account_env); must be set for live trading.\n"
        f"{line(base.broker.account_env, answers.account)}"
        "# Live trading only: yes arms it for every start while it stands here.\n"
        f"#{base.live_armed_env}=yes\n"
        "# Token for reads and actions of the dashboard from other machines (web.token_env).\n"
        f"#{base.web.token_env}=\n"
        "# Where lines for people go (notify.targets), as an address of Apprise: discord://..., tgram://..., mailto://...\n"
        f"{line(NOTIFY_ENV, answers.notify_url)}"
        "# An address that is asked as a sign of life: a watchman outside notices when it stays away.\n"
        f"#{base.notify.heartbeat_env}=\n"
        "# Variables of the spread system before this one count, too (docs/reference/names-of-before.md).\n"
    )


def _quoted(value: str) -> str:
    """Return a value as `.env` holds it: in quotes where it has more than letters, digits and the like."""
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def example(base: Settings) -> str:
    """Return `.env.example`, which is what nobody has filled in yet."""
    return env_text(
        Answers(
            trading_mode="paper", host="", port=0, account="", source="hubs", key="", lanes={}, data_dir="",
            day_loss_usd=None, web_port=0,
        ),
        base,
    )  # fmt: skip
