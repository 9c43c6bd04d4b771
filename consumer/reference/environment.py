"""What the environment says to the reference consumers, read once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from outbox.streams import stream_keys
from process.settings import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from process.address import Address

_HTTP_ADDRESS = "0.0.0.0:9466"


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """Which streams. The URL may hold a password and stays out of its repr."""

    redis_url: str = field(repr=False)
    stream: str
    partitions: int

    @property
    def keys(self) -> list[str]:
        """The stream of each partition."""
        return stream_keys(self.stream, self.partitions)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Raises BadSetting, whose sentence names every variable that is wrong."""
        read = Reader(environment)
        settings = cls(read.redis_url(), *read.stream())
        read.refuse()
        return settings


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one reference consumer."""

    streams: StreamSettings
    database_url: str = field(repr=False)
    """The consumer's own database; empty if it needs none."""
    name: str | None
    """Of this member of the group; None makes one up."""
    lanes: int
    lease_s: float
    attempts: int
    http_address: Address | None
    """None: no HTTP."""
    log_level: str

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str], *, needs_database: bool = False
    ) -> Self:
        """Raises BadSetting, whose sentence names every variable that is wrong."""
        read = Reader(environment)
        own = "CONSUMER_DATABASE_URL" if read.text("CONSUMER_DATABASE_URL") else "DATABASE_URL"
        settings = cls(
            streams=StreamSettings(read.redis_url(), *read.stream()),
            database_url=read.database_url(own) if needs_database else "",
            name=read.text("CONSUMER_NAME") or None,
            lanes=read.number("CONSUMER_LANES", 8, 1, 256),
            lease_s=read.number("CONSUMER_LEASE_S", 5, 1, 300),
            attempts=read.number("CONSUMER_MAX_ATTEMPTS", 5, 1, 100),
            http_address=read.address_or_off("CONSUMER_HTTP_ADDRESS", _HTTP_ADDRESS),
            log_level=read.log_level(),
        )
        read.refuse()
        return settings
