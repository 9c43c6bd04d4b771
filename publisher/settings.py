"""What the environment says, read once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from outbox.streams import stream_keys
from process.settings import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from process.address import Address

_HTTP_ADDRESS = "0.0.0.0:9464"


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
        read = Reader(environment)
        stream_key, partitions = read.stream()
        settings = cls(
            database_url=read.database_url(),
            redis_url=read.redis_url(),
            stream_key=stream_key,
            partitions=partitions,
            log_level=read.log_level(),
            doorbell=read.choice("PUBLISHER_DOORBELL", "on", "on", "off") == "on",
            limits=Limits(
                batch_size=read.number("PUBLISHER_BATCH_SIZE", 1000, 1, 10_000),
                max_event_bytes=read.number("PUBLISHER_MAX_EVENT_BYTES", 1 << 20, 1024, 64 << 20),
                max_attempts=read.number("PUBLISHER_MAX_ATTEMPTS", 5, 1, 100),
            ),
            retention_hours=read.number("STREAM_RETENTION_HOURS", 24, 1, 24 * 365),
            stream_max_memory_mb=read.number("STREAM_MAX_MEMORY_MB", 1024, 1, 1 << 20),
            outbox_retention_days=read.number("OUTBOX_RETENTION_DAYS", 7, 1, 3650),
            http_address=read.address_or_off("PUBLISHER_HTTP_ADDRESS", _HTTP_ADDRESS),
            ready_max_age_s=read.number("PUBLISHER_READY_MAX_AGE_S", 60, 1, 86_400),
        )
        read.refuse()
        return settings

    @property
    def stream_keys(self) -> list[str]:
        """The stream of each partition."""
        return stream_keys(self.stream_key, self.partitions)
