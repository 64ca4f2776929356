"""The file `.env` beside the program: variables for those who do not want to set them in a shell.

What the environment carries already wins. `ZEROHOUR_ENV_FILE` names another file; empty, it names none.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from dotenv import dotenv_values

from config.settings import SettingsError

FILE: Final = Path(__file__).parent.parent / ".env"
_NAME: Final = "ZEROHOUR_ENV_FILE"
_TOO_EARLY: Final = (
    "ZEROHOUR_IB_LIBRARY"  # gateways/ib/library.py reads it while modules load, before this file is read
)


def take_env_file() -> None:
    """Put the variables of the file into the environment, where they are not set yet.

    Raises:
        SettingsError: the file cannot be read, is not there although it was named, or holds what is read before it.
    """
    named = os.environ.get(_NAME)
    if named == "":
        return
    path = Path(named) if named else FILE
    if not path.exists():
        if named:
            raise SettingsError(f"{_NAME} names {path}, which is not there; correct it.")
        return
    try:
        found = dotenv_values(path, interpolate=False, encoding="utf-8")
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise SettingsError(f"{path} cannot be read ({why}); mend it.") from None
    for name, value in found.items():
        if value is None:
            raise SettingsError(f"{path}: {name} has no value; write {name}=value.")
        if name == _TOO_EARLY and name not in os.environ:
            raise SettingsError(f"{path}: {name} is read before this file; set it where the program is started.")
        os.environ.setdefault(name, value)
