"""Secrets: values of the environment, or of files that it names (`NAME_FILE`), which nobody lists or prints."""

from __future__ import annotations

import os
from pathlib import Path

from config.settings import SettingsError


def secret(name: str) -> str | None:
    """Return the secret of a name: the variable's value, else the text of the file that `<name>_FILE` names.

    `None` where neither is set, or empty.

    Raises:
        SettingsError: the file cannot be read.
    """
    value = os.environ.get(name)
    if value:
        return value
    path = os.environ.get(f"{name}_FILE")
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise SettingsError(f"{name}_FILE names {path}, which cannot be read ({why}); mend it or set {name}.") from None
