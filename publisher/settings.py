"""What the environment says, read once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from outbox.errors import BadSetting
from publisher.store import redis_url

if TYPE_CHECKING:
    from collections.abc import Mapping

_LEVELS = ("debug", "info", "warning", "error")
_MAX_PORT = 65_535
_HTTP_ADDRESS = "0.0.0.0:9464"


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int
    """0 takes any that is free."""
    chosen: bool
    """Somebody asked for it; otherwise another port will do if it is taken."""

    @classmethod
    def parse(cls, text: str, *, chosen: bool) -> Self | None:
        """None for off. Raises ValueError."""
        if text.lower() == "off":
            return None
        host, _, port = text.rpartition(":")
        if not (host and port.isascii() and port.isdigit() and int(port) <= _MAX_PORT):
            raise ValueError(text)
        return cls(host.strip("[]"), int(port), chosen)

    def __str__(self) -> str:
        """As it is written in the environment."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is moved at once, and when an event is given up."""

    batch_size: int = 1000
    """Events."""
    max_event_bytes: int = 1 << 20
    """Of a payload; an event with a larger one is set aside."""
    max_batch_bytes: int = 8 << 20
    """Of a batch; the events of a larger one are moved one by one."""
    max_attempts: int = 5
    """At one event, before it is set aside."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The publisher's settings. The URLs may hold passwords and stay out of its repr."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    stream_key: str
    partitions: int
    log_level: str
    doorbell: bool
    limits: Limits
    retention_hours: int
    """Of the stream."""
    stream_max_memory_mb: int
    outbox_retention_days: int
    http_address: Address | None
    """None: no HTTP."""
    ready_max_age_s: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Raises BadSetting, whose sentence names every variable that is wrong."""
        wrong: list[str] = []

        def url(name: str, *schemes: str) -> str:
            value = environment.get(name, "")
            if _scheme(value) not in schemes:
                given = "is not set" if not value else "is not such a URL"
                wrong.append(f"{name} {given}; it must begin with {' or '.join(schemes)}://")
            return value

        def choice(name: str, default: str, *choices: str) -> str:
            value = environment.get(name, "").lower() or default
            if value not in choices:
                wrong.append(f"{name} is {value!r}; it must be one of {', '.join(choices)}")
            return value

        def number(name: str, default: int, least: int, most: int) -> int:
            text = environment.get(name, "") or str(default)
            value = int(text) if text.isascii() and text.isdigit() else -1
            if not least <= value <= most:
                wrong.append(f"{name} is {text!r}; it must be a number from {least} to {most}")
            return value

        def address(name: str, default: str) -> Address | None:
            text = environment.get(name, "")
            try:
                return Address.parse(text or default, chosen=bool(text))
            except ValueError:
                wrong.append(f"{name} is {text!r}; it must be <host>:<port> or off")
                return None

        settings = cls(
            database_url=url("DATABASE_URL", "postgresql", "postgres"),
            redis_url=environment.get("REDIS_URL", ""),
            stream_key=environment.get("CATALOG_EVENT_STREAM_KEY", "") or "catalog:events",
            partitions=number("CATALOG_EVENT_STREAM_PARTITIONS", 1, 1, 64),
            log_level=choice("LOG_LEVEL", "info", *_LEVELS),
            doorbell=choice("PUBLISHER_DOORBELL", "on", "on", "off") == "on",
            limits=Limits(
                batch_size=number("PUBLISHER_BATCH_SIZE", 1000, 1, 10_000),
                max_event_bytes=number("PUBLISHER_MAX_EVENT_BYTES", 1 << 20, 1024, 64 << 20),
                max_attempts=number("PUBLISHER_MAX_ATTEMPTS", 5, 1, 100),
            ),
            retention_hours=number("STREAM_RETENTION_HOURS", 24, 1, 24 * 365),
            stream_max_memory_mb=number("STREAM_MAX_MEMORY_MB", 1024, 1, 1 << 20),
            outbox_retention_days=number("OUTBOX_RETENTION_DAYS", 7, 1, 3650),
            http_address=address("PUBLISHER_HTTP_ADDRESS", _HTTP_ADDRESS),
            ready_max_age_s=number("PUBLISHER_READY_MAX_AGE_S", 60, 1, 86_400),
        )
        wrong += redis_url.problems(settings.redis_url)
        if wrong:
            raise BadSetting("; ".join(wrong))
        return settings

    @property
    def stream_keys(self) -> list[str]:
        """The stream of each partition; with a hash tag, so that a cluster can spread them."""
        if self.partitions == 1:
            return [self.stream_key]
        return [f"{self.stream_key}:{{{number}}}" for number in range(self.partitions)]


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""
