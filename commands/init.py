"""`main.py init`: asks what a desk of your own needs, and writes a commented settings file and `.env`.

Nothing is written before everything is answered and the settings hold; what is there already is kept.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from commands.cli import CommandError
from commands.init_files import Answers, env_text, settings_text
from commands.lines import wrapped
from config.settings import Settings, SettingsError, load_settings
from domain.wording import usd_text

T = TypeVar("T")

ROOT: Final = Path(__file__).resolve().parent.parent
SETTINGS: Final = "zerohour.yaml"
ENV: Final = ".env"
_PORTS: Final = {4002: "IB Gateway, paper", 4001: "IB Gateway, live", 7497: "TWS, paper", 7496: "TWS, live"}
_PAPER_PORTS: Final = (4002, 7497)
_WAIT_S: Final = 0.3


def act(arguments: Namespace) -> int:
    """Ask, check, write, and say what comes next."""
    folder: Path = arguments.out
    paths = (folder / SETTINGS, folder / ENV)
    there = [path for path in paths if path.exists()]
    if there and not arguments.force:
        raise CommandError(f"{there[0]} is there already; move it away, or replace it with --force.")
    base = load_settings(profile="real")
    answers = defaults(base, folder) if arguments.yes else asked(base, folder)
    texts = (settings_text(answers), env_text(answers, base))
    _check(texts[0])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text, mode in zip(paths, texts, (0o644, 0o600), strict=True):
            _write(path, text, mode)
    except OSError as error:
        raise CommandError(f"{folder} cannot be written ({error.strerror}); name another with --out.") from None
    print("\n".join(("", *_next(paths, answers))))
    return 0


def defaults(base: Settings, folder: Path) -> Answers:
    """Return what stands where nobody answers: a paper desk at the gateway that answers here, data in its folder."""
    gateway = base.broker.gateways[0]
    found = _answering(gateway.host)
    port = next((port for port in found if port in _PAPER_PORTS), gateway.port)
    return Answers(
        trading_mode="paper", host=gateway.host, port=port, account="", source=base.feed.source, key="",
        lanes={source: list(tickers) for source, tickers in base.lanes.items() if base.alerts[source]},
        data_dir="data" if folder.resolve() == ROOT else str(folder.resolve() / "data"),
        day_loss_usd=None, web_port=base.web.port,
    )  # fmt: skip


def asked(base: Settings, folder: Path) -> Answers:
    """Ask a person.

    Raises:
        CommandError: the answers ended before the questions.
    """
    plain = defaults(base, folder)
    print("A few questions; Enter takes what stands in brackets. Nothing is written before the last is answered.\n")
    mode = _ask("Trade on paper or live?", plain.trading_mode, _one_of("paper", "live"))
    host = _ask("Address of IB Gateway or TWS", plain.host, _not_empty)
    found = _answering(host)
    for port in found:
        print(f"  {host}:{port} answers ({_PORTS[port]})")
    wanted = [port for port in found if (port in _PAPER_PORTS) is (mode == "paper")]
    port = _ask("Its port", str(wanted[0] if wanted else (4002 if mode == "paper" else 4001)), _port)
    account = _ask(
        "Account number (paper: DU..., may stay empty)" if mode == "paper" else "Account number (U...)", "",
        _account(mode),
    )  # fmt: skip
    source = _ask(
        "Gamma from the vendor's streams (hubs), its REST (rest), your own option chain files (chain), or the chains"
        " of a provider (provider)?",
        plain.source, _one_of("hubs", "rest", "chain", "provider"),
    )  # fmt: skip
    whose = "provider" if source == "provider" else "vendor"
    key = _secret(f"The {whose}'s key (empty: set it later in .env)") if source != "chain" else ""
    lanes = {
        name: _ask(f"Tickers that {name} watches, by comma (none: -)", ",".join(tickers), _tickers(base))
        for name, tickers in plain.lanes.items()
    }
    loss = _ask(
        f"Most that a day may lose, in USD (empty: {base.entry.daily_loss_nav:.0%} of the account alone)", "", _money
    )  # fmt: skip
    data = _ask("Folder for ledgers, market data and traces", plain.data_dir, _not_empty)
    notify = _secret("Address for messages to your phone, as discord://... or mailto://... (empty: none)", _address)
    return Answers(
        trading_mode=mode, host=host, port=port, account=account, source=source, key=key,
        lanes=lanes, data_dir=data, day_loss_usd=loss,
        web_port=plain.web_port, notify_url=notify,
    )  # fmt: skip


def _ask(text: str, default: str, read: Callable[[str], T]) -> T:
    """Ask until the answer can be used."""
    shown = f" [{default}]" if default else ""
    while True:
        try:
            said = input(f"{text}{shown}: ").strip()
        except EOFError:
            raise CommandError("Nothing was written: the answers ended before the questions.", 1) from None
        try:
            return read(said or default)
        except ValueError as error:
            print(f"  {error}")


def _secret(text: str, read: Callable[[str], str] = str) -> str:
    """Ask for what must not stand on the screen."""
    if not sys.stdin.isatty():
        return _ask(text, "", read)
    while True:
        try:
            return read(getpass.getpass(f"{text}: ").strip())
        except ValueError as error:
            print(f"  {error}")


def _address(said: str) -> str:
    """Read an address of Apprise; whether it is one that works, `doctor` and `notify --test` say."""
    if said and not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://\S+", said):
        raise ValueError("that is no address; write it as discord://ID/TOKEN (docs/guides/notifications.md)")
    return said


def _one_of(*words: str) -> Callable[[str], str]:
    def read(said: str) -> str:
        if said.lower() not in words:
            raise ValueError(f"{said!r} is none of {', '.join(words)}")
        return said.lower()

    return read


def _not_empty(said: str) -> str:
    if not said or any(mark in said for mark in "\n'\"#"):
        raise ValueError("write a name without quotes or #")
    return said


def _port(said: str) -> int:
    if not said.isascii() or not said.isdigit() or not 0 < int(said) < 65_536:
        raise ValueError(f"{said!r} is no port; the usual ones are {', '.join(map(str, _PORTS))}")
    return int(said)


def _account(mode: str) -> Callable[[str], str]:
    def read(said: str) -> str:
        is_paper = said.upper().startswith(("DU", "DF"))
        if not said and mode == "paper":
            return ""
        if not said.isascii() or not said.isalnum():
            raise ValueError("an account number has letters and digits, as DU1234567")
        if is_paper is not (mode == "paper"):
            raise ValueError(f"that is {'a paper' if is_paper else 'no paper'} account, and the desk trades {mode}")
        return said.upper()

    return read


def _tickers(base: Settings) -> Callable[[str], list[str]]:
    def read(said: str) -> list[str]:
        wanted = [] if said == "-" else [name.strip().upper() for name in said.split(",") if name.strip()]
        strange = [name for name in wanted if name not in base.tickers or name not in base.ticker_rules]
        if strange:
            known = ", ".join(name for name in base.tickers if name in base.ticker_rules)
            raise ValueError(f"{strange[0]} has no rules here; there are: {known}")
        return list(dict.fromkeys(wanted))

    return read


def _money(said: str) -> int | None:
    if not said:
        return None
    if not said.replace(",", "").isdigit() or int(said.replace(",", "")) < 1:
        raise ValueError(f"{said!r} is no amount; write it as 1000")
    return int(said.replace(",", ""))


def _answering(host: str) -> list[int]:
    """Return which of IB's usual ports answer."""
    found = []
    for port in _PORTS:
        try:
            with socket.create_connection((host, port), timeout=_WAIT_S):
                found.append(port)
        except OSError:
            continue
    return found


def _check(text: str) -> None:
    """Load the settings as a run will.

    Raises:
        CommandError: they do not hold.
    """
    with tempfile.TemporaryDirectory() as aside:
        path = Path(aside) / SETTINGS
        path.write_text(text, encoding="utf-8")
        try:
            load_settings(path)
        except SettingsError as error:
            raise CommandError(f"Nothing was written: {error}") from None


def _write(path: Path, text: str, mode: int) -> None:
    aside = path.with_name(f"{path.name}.tmp")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
    aside.replace(path)


def _next(paths: tuple[Path, Path], answers: Answers) -> list[str]:
    settings, env = paths
    limit = "" if answers.day_loss_usd is None else f", at most {usd_text(answers.day_loss_usd * 100)} a day"
    call = f"main.py --config {settings}"
    lines = wrapped(
        f"Written: {settings} ({answers.trading_mode} trading{limit}) and {env} (secrets; only you can read it)."
    )
    if env.parent.resolve() != ROOT:
        lines += wrapped(f"{env.name} is read beside the program alone: set ZEROHOUR_ENV_FILE={env} for this one.")
    return [
        *lines, "Next:", f"  {call} doctor", f"  {call} run",
        "  and in a second terminal, as a new desk starts without entries and with nothing promoted:",
        f'  {call} resume --reason "first start"',
        f'  {call} promote gexwatch GAMMA_FLIP-1 --unproven --reason "paper"',
    ]  # fmt: skip
