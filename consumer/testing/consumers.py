"""What is tried: a command, or a coroutine; and what each of its members is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from outbox.event import Event

GROUP = "tried"


@dataclass(frozen=True)
class Context:
    """What a coroutine is handed; a command finds the same in its environment."""

    redis_url: str
    """REDIS_URL"""
    stream: str
    """CATALOG_EVENT_STREAM_KEY"""
    group: str
    """CONSUMER_GROUP"""
    name: str
    """CONSUMER_NAME: the same again after a restart, another for another member."""
    effect: Callable[[str, str], Awaitable[None]]
    """Await it with event and entity id: on return the effect is persisted. A command appends
    ``<event id> <entity id>`` to the file CONSUMER_EFFECTS, and flushes it."""
    stop: asyncio.Event
    """Set when the member is to leave in good order; a command gets SIGTERM."""


@dataclass(frozen=True)
class Command:
    """Members are processes: *argv* with *environment* on top of ours.

    One that keeps its effects elsewhere says how to read them there: ``effects(redis_url)`` gives
    pairs of event and entity id in the order in which they were persisted. One that keeps no trace
    of single events has ``state(events, redis_url)``: of all *events* that it could read, it says
    what is wrong, or "". Both may be coroutines; most have no use for *redis_url*.
    """

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    group: str = GROUP
    effects: Callable[[str], Any] | None = None
    state: Callable[[Sequence[Event], str], Any] | None = None
    folder: Path | None = None
    """Where it is started."""

    def __str__(self) -> str:
        """As it is called in reports."""
        return " ".join(self.argv)


@dataclass(frozen=True)
class Coroutine:
    """Members are tasks of this process that run *function*."""

    function: Callable[[Context], Awaitable[None]]
    group: str = GROUP
    effects: Callable[[str], Any] | None = None
    state: Callable[[Sequence[Event], str], Any] | None = None

    def __str__(self) -> str:
        """As it is called in reports."""
        return getattr(self.function, "__name__", repr(self.function))


Consumer = Command | Coroutine
AnyConsumer = Consumer | Sequence[str] | Callable[[Context], Awaitable[None]]


def consumer_of(given: AnyConsumer) -> Consumer:
    """*given* with all that may be said of it."""
    if isinstance(given, Command | Coroutine):
        return given
    if callable(given):
        return Coroutine(given)
    return Command(given)
