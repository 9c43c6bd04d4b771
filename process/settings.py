"""Reads what the environment says, and says in one go what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from outbox.errors import BadSetting
from process import secrets
from process.address import Address
from process.redis import url as redis_url
from process.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

_LEVELS = ("debug", "info", "warning", "error")
_MAX_PARTITIONS = 64


class Reader:
    """Reads variables, and gathers what is wrong with them; an empty one is not set."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._wrong: list[str] = []
        self._unusable: dict[str, str] = {}

    def wrong(self, sentence: str) -> None:
        """Refuse for this reason, too."""
        self._wrong.append(sentence)

    def refuse(self) -> None:
        """Raises BadSetting, whose sentence names every variable that is wrong, if any is."""
        # A secret whose file cannot be used is not, beside that, not set.
        known = tuple(f"{name} " for name in self._unusable)
        others = [sentence for sentence in self._wrong if not sentence.startswith(known)]
        if sentences := [*self._unusable.values(), *others]:
            raise BadSetting("; ".join(sentences))

    def text(self, name: str, default: str = "") -> str:
        """Any text; a secret may be in a file."""
        if name not in secrets.SECRETS:
            return self._environment.get(name, "") or default
        try:
            return secrets.given(self._environment, name) or default
        except BadSetting as exc:
            self._unusable[name] = str(exc)
            return default

    def url(self, name: str, *schemes: str) -> str:
        """A URL; it may hold a password, and is never quoted."""
        value = self.text(name)
        if _scheme(value) not in schemes:
            given = "is not set" if not value else "is not such a URL"
            self.wrong(f"{name} {given}; it must begin with {' or '.join(schemes)}://")
        return value

    def database_url(self, name: str = "DATABASE_URL") -> str:
        """Where PostgreSQL is."""
        return self.url(name, "postgresql", "postgres")

    def redis_url(self) -> str:
        """REDIS_URL, in one of the forms of `process.redis.url`."""
        value = self.text("REDIS_URL")
        self._wrong += redis_url.problems(value)
        return value

    def stream(self) -> tuple[str, int]:
        """The stream's key, and how many partitions there are."""
        key = self.text("CATALOG_EVENT_STREAM_KEY", "catalog:events")
        return key, self.number("CATALOG_EVENT_STREAM_PARTITIONS", 1, 1, _MAX_PARTITIONS)

    def log_level(self) -> str:
        """From which level on lines are written."""
        return self.choice("LOG_LEVEL", "info", *_LEVELS)

    def choice(self, name: str, default: str, *choices: str) -> str:
        """One of several words, in lower case."""
        value = self.text(name).lower() or default
        if value not in choices:
            self.wrong(f"{name} is {value!r}; it must be one of {', '.join(choices)}")
        return value

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number."""
        text = self.text(name, str(default))
        value = int(text) if text.isascii() and text.isdigit() else -1
        if not least <= value <= most:
            self.wrong(f"{name} is {text!r}; it must be a number from {least} to {most}")
        return value

    def address(self, name: str, default: str, *, also: str = "") -> Address:
        """Where to listen."""
        text = self.text(name)
        try:
            return Address.parse(text or default, chosen=bool(text))
        except ValueError:
            self.wrong(f"{name} is {text!r}; it must be <host>:<port>{also}")
            return Address.parse(default, chosen=False)

    def address_or_off(self, name: str, default: str) -> Address | None:
        """Where to listen; None for off."""
        off = self.text(name).lower() == "off"
        return None if off else self.address(name, default, also=" or off")

    def tokens(self, name: str, *, at: Address) -> Tokens | None:
        """Those that are accepted; None for ALLOW_UNAUTHENTICATED=1 at a loopback address."""
        open_to_all = self.choice("ALLOW_UNAUTHENTICATED", "0", "0", "1") == "1"
        text = self.text(name)
        if text:
            try:
                return Tokens.parse(text)
            except ValueError as exc:
                self.wrong(f"{name} cannot be used: {exc}")
        elif not open_to_all:
            self.wrong(f"{name} is not set; clients must have a token to show")
        elif not at.is_loopback:
            self.wrong(
                f"{name} is not set, and ALLOW_UNAUTHENTICATED=1 is for a loopback address alone,"
                f" not for {at}"
            )
        return None


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""
