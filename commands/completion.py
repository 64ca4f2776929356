"""`main.py completion SHELL`: a script that has bash or zsh complete commands, options and their values.

It is made from the parser, so it knows what the parser knows. The program is called through Python, which no shell
completes behind, so the script completes for a short name of yours (`zerohour`), for which it makes an alias.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from argparse import Namespace
from pathlib import Path
from typing import Final

from commands.cli import CommandError, parser

ROOT: Final = Path(__file__).resolve().parent.parent
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def act(arguments: Namespace) -> int:
    """Print the script.

    Raises:
        CommandError: the name is none that a shell takes.
    """
    if not _NAME.fullmatch(arguments.name):
        raise CommandError(f"{arguments.name!r} is no name of a command; use letters, digits, - and _.")
    print(script_of(arguments.shell, arguments.name))
    return 0


def script_of(shell: str, name: str) -> str:
    """Return the script for a shell (bash or zsh), to be sourced."""
    top = parser()
    subparsers = next(action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    words = " ".join(subparsers.choices)
    cases = "\n".join(
        f"    {command}) words={shlex.quote(' '.join(_options(made) + _choices(made)))} ;;"
        for command, made in subparsers.choices.items()
    )
    values = "\n".join(
        f"    {command}:{option}) words={shlex.quote(' '.join(map(str, action.choices)))} ;;"
        for command, made in subparsers.choices.items()
        for action in made._actions
        if action.choices and not isinstance(action, argparse._SubParsersAction)
        for option in action.option_strings
    )
    function = f"_{name.replace('-', '_')}"
    call = f"{shlex.quote(sys.executable)} {shlex.quote(str(ROOT / 'main.py'))}"
    head = (
        "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else ""
    )
    return f"""# Completion of `{name}`: put `source FILE` into ~/.{shell}rc, FILE holding this.
{head}alias {name}={shlex.quote(call)}
{function}() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" command="" word words=""
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case " {words} " in *" $word "*) command="$word"; break ;; esac
  done
  case "$command:$previous" in
{values}
    *:--config|*:--data|*:--out|*:--to|*:--from|*:--settings|*:--trace|*:--html|*:--file)
      COMPREPLY=($(compgen -f -- "$current")); return ;;
  esac
  if [ -z "$words" ]; then case "$command" in
    "") words="{words} {" ".join(_options(top))}" ;;
{cases}
  esac; fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [ "${{#COMPREPLY[@]}}" -gt 0 ] || COMPREPLY=($(compgen -f -- "$current"))
}}
complete -F {function} {name}"""


def _options(made: argparse.ArgumentParser) -> list[str]:
    return [option for action in made._actions for option in action.option_strings if option.startswith("--")]


def _choices(made: argparse.ArgumentParser) -> list[str]:
    """Return the values of the arguments that stand for themselves."""
    return [
        str(value) for action in made._actions if not action.option_strings and action.choices
        for value in action.choices
    ]  # fmt: skip
