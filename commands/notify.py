"""`main.py notify`: where lines for people go beyond the console, and whether they arrive."""

from __future__ import annotations

from argparse import Namespace

from commands.cli import CommandError
from commands.folder import settings_of
from commands.notify_port import is_set
from config.secrets import secret
from domain.alarm import Severity
from gateways.notify.child import made
from gateways.notify.sender import ping
from gateways.notify.talk import Wanted


def act(arguments: Namespace) -> int:
    """Show the targets; with `--test` send a line to each, and ask the heartbeat's address; 1 where one failed."""
    settings = settings_of(arguments)
    rules = settings.notify
    wanted = arguments.target or sorted(rules.targets)
    if unknown := [name for name in wanted if name not in rules.targets]:
        raise CommandError(f"There is no target {unknown[0]}; there are: {', '.join(sorted(rules.targets)) or 'none'}.")
    has_heartbeat = is_set(rules.heartbeat_env)
    if not rules.targets and not has_heartbeat:
        print("Nobody is told anything yet: name a target in notify.targets (docs/guides/notifications.md).")
        return 0
    senders, unusable = made(
        Wanted(
            {name: rules.targets[name].url_env for name in wanted}, rules.heartbeat_env, rules.send_timeout_ms / 1000
        )
    )
    are_bad = bool(unusable)
    for name in wanted:
        target = rules.targets[name]
        if name in unusable:
            print(f"BAD  {name}: {unusable[name]}")
            continue
        what = f"{name}: {senders[name].service}, {', '.join(target.topics)} from {target.severity_min} on"
        if not arguments.test:
            print(f"     {what}")
            continue
        title = f"Zerohour {settings.desk}"
        result = senders[name].send(title, "test: this line was sent by `main.py notify --test`", Severity.INFO)
        print(f"ok   {what}" if result.is_ok else f"BAD  {name}: {senders[name].service}: {result.why}")
        are_bad |= not result.is_ok
    if has_heartbeat and arguments.test and not arguments.target:
        beat = ping(secret(rules.heartbeat_env) or "", rules.send_timeout_ms / 1000)
        print("ok   heartbeat" if beat.is_ok else f"BAD  heartbeat: {beat.why}")
        are_bad |= not beat.is_ok
    elif not arguments.target:
        words = f"every {rules.heartbeat_every_ms / 1000:g} s" if has_heartbeat else f"none ({rules.heartbeat_env})"
        print(f"     heartbeat: {words}")
    return 1 if are_bad else 0
