"""The page of the names of the spread system before: what each becomes here."""

from __future__ import annotations

from commands.reference.markdown import code, table
from config.aliases import NAMES, VARIABLES


def names_page() -> list[str]:
    """Return every name of before with what it becomes, has no effect as, or is refused for."""
    return [
        "# Names of the system before", "",
        "Settings of the spread system before this one, by their names there. A settings file (`--config`) may hold"
        " its YAML sections, a `.env` its variables; where both name the same, our own name wins. What cannot be"
        " honoured is refused in a sentence, so nothing that you rely on is dropped in silence.", "",
        "## Variables", "",
        "From `.env` or the environment, for profile real alone: a shell that still carries them changes no demo day.",
        "",
        *table(("variable", "here"), ((code(alias.name), alias.becomes) for alias in VARIABLES)),
        "## Settings file", "",
        *table(("name", "here"), ((code(alias.name), alias.becomes) for alias in NAMES)),
    ]  # fmt: skip
