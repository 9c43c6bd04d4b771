"""What Redis keeps of one stream: its size, its ends, and how far its groups are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from outbox.position import ORIGIN, Position
from publisher.store.stream import translated
from publisher.trim.trimming import GroupNeeds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis.asyncio import Redis

# Of the nodes of the stream; a thousand are looked at in 0.2 ms and say it within a percent.
_MEMORY_SAMPLES = 1000
_ENTRY_SAMPLES = 50
_PENDING_AT_ONCE = 1000
_UNLIMITED = 2**63
# Measured: what an unacknowledged entry costs; an entry's own overhead, and each value's.
_PENDING_BYTES = 90
_ENTRY_OVERHEAD = 16
_VALUE_OVERHEAD = 3


@dataclass(frozen=True, slots=True)
class GroupView:
    """A consumer group of one stream."""

    name: str
    consumers: int
    delivered: Position
    pending: int
    """Given to it and not acknowledged."""
    oldest_pending: Position | None
    """Of those, the oldest that the stream still holds."""
    lowest_pending: Position | None
    """The oldest of all: the stream may hold it no longer."""
    oldest_unread: Position | None
    """The oldest entry that it was not given."""

    @property
    def needs(self) -> GroupNeeds:
        """What must not be trimmed for its sake."""
        wanted = [one for one in (self.oldest_pending, self.oldest_unread) if one]
        return GroupNeeds(self.name, self.delivered, min(wanted, default=None))


@dataclass(frozen=True, slots=True)
class StreamView:
    """One stream."""

    length: int = 0
    first: Position | None = None
    """The oldest entry; None in an empty stream."""
    last: Position = ORIGIN
    """The last ID that it has given."""
    memory_bytes: int = 0
    """As Redis estimates it, with what its groups have pending."""
    entries_bytes: int = 0
    """The entries alone."""
    groups: tuple[GroupView, ...] = ()


async def look(redis: Redis, key: str) -> StreamView:
    """Look at the stream at *key*. Raises StreamUnavailable or StreamRefused.

    Groups may move on meanwhile: each is then seen to need more than it does, never less.
    """
    commands: Any = redis
    with translated():
        if not await commands.exists(key):
            return StreamView()
        info = await commands.xinfo_stream(key)
        oldest = await commands.xrange(key, count=1)
        first = Position.parse(oldest[0][0]) if oldest else None
        # Before what is pending and unread: the other way round, entries that are given out
        # between the two questions would be taken for acknowledged.
        found = await commands.xinfo_groups(key)
        groups = tuple([await _group(commands, key, group, first) for group in found])
        memory = int(await commands.memory_usage(key, samples=_MEMORY_SAMPLES) or 0)
        entries_bytes = memory
        if sum(group.pending for group in groups) * _PENDING_BYTES > memory / 20:
            entries_bytes = min(memory, await _estimated(commands, key, info["length"]))
    return StreamView(
        length=info["length"],
        first=first,
        last=Position.parse(info["last-generated-id"]),
        memory_bytes=memory,
        entries_bytes=entries_bytes,
        groups=groups,
    )


async def pending_between(  # noqa: PLR0913 - a range of one list
    redis: Redis, key: str, group: str, start: Position, end: Position, *, at_most: int = _UNLIMITED
) -> int:
    """How many IDs from *start* to before *end* are pending in *group*, counted to *at_most*.

    Whether the stream still holds them or not. Raises StreamUnavailable or StreamRefused.
    """
    commands: Any = redis
    counted, after = 0, str(start)
    with translated():
        while counted < at_most:
            page = await commands.xpending_range(key, group, after, f"({end}", _PENDING_AT_ONCE)
            counted += len(page)
            if len(page) < _PENDING_AT_ONCE:
                break
            after = f"({page[-1]['message_id']}"
    return min(counted, at_most)


async def unread(redis: Redis, key: str, delivered: Position, *, at_most: int) -> int | None:
    """How many entries there are after *delivered*; None for more than *at_most*.

    Raises StreamUnavailable or StreamRefused.
    """
    commands: Any = redis
    with translated():
        found = await commands.xrange(key, f"({delivered}", count=at_most + 1)
    return len(found) if len(found) <= at_most else None


async def last_seen_s(redis: Redis, key: str, group: str) -> float | None:
    """How long ago a consumer of *group* last asked for anything; None if it has none."""
    commands: Any = redis
    with translated():
        consumers = await commands.xinfo_consumers(key, group)
    return min((consumer["idle"] / 1000 for consumer in consumers), default=None)


async def _group(
    commands: Any,  # noqa: ANN401 - see EventStream
    key: str,
    raw: dict[str, Any],
    first: Position | None,
) -> GroupView:
    name, delivered = raw["name"], Position.parse(raw["last-delivered-id"])
    lowest = (await commands.xpending(key, name))["min"]
    # Pending entries that were trimmed stay in the list until they are acknowledged or claimed.
    held = await commands.xpending_range(key, name, str(first), "+", 1) if first else []
    unread = await commands.xrange(key, f"({delivered}", count=1)
    return GroupView(
        name=name,
        consumers=int(raw["consumers"]),
        delivered=delivered,
        pending=int(raw["pending"]),
        oldest_pending=Position.parse(held[0]["message_id"]) if held else None,
        lowest_pending=Position.parse(lowest) if lowest else None,
        oldest_unread=Position.parse(unread[0][0]) if unread else None,
    )


async def _estimated(commands: Any, key: str, length: int) -> int:  # noqa: ANN401
    """What the entries take, from those at both ends.

    Many pending entries make Redis's own estimate useless: up to version 8 it takes each for
    half a kilobyte and more, and would have us trim a stream for what trimming cannot mend.
    """
    samples = [
        *await commands.xrange(key, count=_ENTRY_SAMPLES),
        *await commands.xrevrange(key, count=_ENTRY_SAMPLES),
    ]
    total = sum(_entry_bytes(fields.values()) for _, fields in samples)
    return total * length // max(len(samples), 1)


def _entry_bytes(values: Iterable[str]) -> int:
    # The names of the fields are kept once for each node.
    sizes = [len(value.encode()) + _VALUE_OVERHEAD for value in values]
    return _ENTRY_OVERHEAD + sum(sizes)
