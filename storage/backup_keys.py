"""Keys of the backups: the recipient whom they are encrypted to, and the identity that opens them (age).

They come from the environment or from a file that the environment names, and from nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pyrage

IDENTITY_ENV: Final = "ZEROHOUR_BACKUP_IDENTITY"
RECIPIENT_ENV: Final = "ZEROHOUR_BACKUP_RECIPIENT"


class BackupError(Exception):
    """A backup that cannot be made or brought back; the text is one sentence with the remedy."""


def secret(name: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return a secret from the variable `name`, or from the file that `<name>_FILE` names; `None` where neither is set.

    Raises:
        BackupError: the file cannot be read.
    """
    value, path = environment.get(name), environment.get(f"{name}_FILE")
    if value:
        return value.strip()
    if not path:
        return None
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BackupError(f"{name}_FILE names {path}, which cannot be read ({error}); mend it.") from None
    return next((line.strip() for line in lines if line.strip() and not line.startswith("#")), None)


def identity_of(environment: Mapping[str, str] = os.environ) -> pyrage.x25519.Identity:
    """Return the identity that opens backups.

    Raises:
        BackupError: the environment carries none, or no valid one.
    """
    text = secret(IDENTITY_ENV, environment)
    if text is None:
        raise BackupError(
            f"The environment does not carry the identity of the backups: set {IDENTITY_ENV}, or {IDENTITY_ENV}_FILE"
            " to a file that holds it (AGE-SECRET-KEY-1…)."
        )
    try:
        return pyrage.x25519.Identity.from_str(text)
    except pyrage.IdentityError:
        raise BackupError(f"{IDENTITY_ENV} is no age identity (AGE-SECRET-KEY-1…); look at it.") from None


def recipient_of(environment: Mapping[str, str] = os.environ) -> pyrage.x25519.Recipient:
    """Return whom backups are encrypted to: the recipient of the environment, else that of its identity.

    Raises:
        BackupError: the environment carries neither, or no valid one.
    """
    text = secret(RECIPIENT_ENV, environment)
    if text is None:
        if secret(IDENTITY_ENV, environment) is None:
            raise BackupError(
                f"Backups are encrypted, and nobody is named who could open them: set {RECIPIENT_ENV} to the public"
                " key (age1…); `main.py backup --new-key FILE` makes a pair."
            )
        return identity_of(environment).to_public()
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError:
        raise BackupError(f"{RECIPIENT_ENV} is no age recipient (age1…); look at it.") from None


def new_key(path: Path) -> str:
    """Write a new identity to a file that only its owner can read, and return its public recipient.

    Raises:
        BackupError: the file is there already, or cannot be written.
    """
    identity = pyrage.x25519.Identity.generate()
    recipient = str(identity.to_public())
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            out.write(f"# public key: {recipient}\n{identity}\n")
    except OSError as error:
        raise BackupError(f"{path} cannot be written ({error.strerror}); name a new file.") from None
    return recipient
