"""Secrets out of files, as containers have them: ``NAME_FILE`` names the file that holds NAME."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from outbox.errors import BadSetting

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRETS: Final = (
    *("DATABASE_URL", "REDIS_URL", "SERVICE_AUTH_TOKEN"),
    *("CONSUMER_DATABASE_URL", "CACHE_REDIS_URL"),
    *("CACHE_PURGE_WEBHOOK", "CACHE_PURGE_SECRET"),
)
"""What may hold a password, a token or a key."""


def file_variable(name: str) -> str:
    """The variable that names the file."""
    return f"{name}_FILE"


def given(environment: Mapping[str, str], name: str) -> str:
    """The secret *name*, or nothing if it is not set.

    Raises BadSetting, whose sentence quotes the file's path and nothing of what is in it.
    """
    value, path = environment.get(name, ""), environment.get(file_variable(name), "")
    if not path:
        return value
    if value:
        raise BadSetting(f"{name} and {file_variable(name)} are both set; one of them is enough")
    try:
        # An editor ends the last line, which is no part of the secret.
        found = Path(path).read_text("utf-8").rstrip("\r\n")
    except OSError as exc:
        cause = (exc.strerror or str(exc)).lower()
        raise BadSetting(
            f"{file_variable(name)} is {path!r}, which cannot be read: {cause}"
        ) from None
    except ValueError:
        raise BadSetting(f"{file_variable(name)} is {path!r}, which is no text in UTF-8") from None
    if not found:
        raise BadSetting(f"{file_variable(name)} is {path!r}, which is empty")
    return found
