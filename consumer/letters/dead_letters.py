"""Events that a group could not handle, set aside beside their stream, oldest first."""

from __future__ import annotations

import hashlib
import time
import traceback
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from consumer.keys import dead_letter_key, parked_key
from consumer.letters.redis_errors import translated
from outbox.event import timestamp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from redis.asyncio import Redis

_PAGE = 200
_DIGEST_CHARACTERS = 12
_MOST_CHARACTERS = 200
_OURS = ("eventId", "reason", "error", "tracebackDigest", "attempts", "failedAt")
"""What a dead letter has beside the entry's own fields."""


class Reason(StrEnum):
    """Why an event was set aside."""

    ATTEMPTS = "attempts"
    """The handler failed as often as it may."""
    REJECTED = "rejected"
    """The handler said that it will never take it."""
    DIED = "died"
    """The process ended on it, as often as it may."""
    PARKED = "parked"
    """An earlier event of its entity is a dead letter, and the entity waits for that."""


class Failure(NamedTuple):
    """What an event is set aside for; nothing of its payload."""

    reason: Reason
    attempts: int
    error: str = ""
    """The type of what was raised, and the first line of what it says."""
    digest: str = ""
    """The same for whatever was raised at the same place, on the same way to it."""

    @classmethod
    def of(cls, reason: Reason, attempts: int, error: BaseException | None = None) -> Failure:
        """The failure that *error* is."""
        if error is None:
            return cls(reason, attempts)
        return cls(reason, attempts, first_line(error), traceback_digest(error))


class Letter(NamedTuple):
    """A dead letter."""

    id: str
    """Its place among the dead letters."""
    event_id: str
    fields: dict[str, str]
    """The entry's own."""
    failure: Failure
    failed_at: str

    @property
    def entity_id(self) -> str:
        """Whose events are handled in order."""
        return self.fields.get("entityId", "")


class DeadLetters:
    """What *group* set aside of *stream*, and which entities wait for it.

    Whoever sets an event aside acknowledges it afterwards: if it dies in between, the event is set
    aside twice, and never lost. Raises StreamUnavailable or RedisRefused.
    """

    def __init__(self, redis: Redis, stream: str, group: str) -> None:
        self._redis: Any = redis
        """A cluster's client is no Redis to redis-py's types."""
        self._key = dead_letter_key(stream, group)
        self._parked = parked_key(stream, group)

    async def add(self, event_id: str, fields: Mapping[Any, Any], failure: Failure) -> None:
        """Set an event aside; *fields* are its entry's, as they came."""
        ours = (
            *(event_id, failure.reason, failure.error, failure.digest),
            *(failure.attempts, timestamp(time.time_ns() // 1_000_000)),
        )
        with translated():
            await self._redis.xadd(self._key, {**fields, **dict(zip(_OURS, ours, strict=True))})

    async def count(self) -> int:
        """How many there are."""
        with translated():
            count: int = await self._redis.xlen(self._key)
        return count

    async def letters(self, after: str = "-") -> AsyncIterator[Letter]:
        """All of them, or those behind the letter *after*, in the order they were set aside."""
        start = after if after == "-" else f"({after}"
        while page := await self._page(start, "+"):
            for letter in page:
                yield letter
            start = f"({page[-1].id}"

    async def get(self, letter_id: str) -> Letter | None:
        """The one in that place."""
        found = await self._page(letter_id, letter_id)
        return found[0] if found else None

    async def remove(self, letter_id: str) -> None:
        """It is handled after all, or given up."""
        with translated():
            await self._redis.xdel(self._key, letter_id)

    async def park(self, entity_id: str, event_id: str) -> None:
        """Note that the entity waits for the event, if it waits for none yet."""
        with translated():
            await self._redis.hsetnx(self._parked, entity_id, event_id)

    async def parked(self) -> dict[str, str]:
        """Which entities wait, each with the event that it waits for."""
        with translated():
            found = await self._redis.hgetall(self._parked)
        return {text(entity_id): text(event_id) for entity_id, event_id in found.items()}

    async def still_parked(self) -> set[str]:
        """Which entities wait for dead letters that are there; others wait no longer.

        Whoever settled the last one of an entity may have died before it could say so.
        """
        parked = set(await self.parked())
        waiting = {letter.entity_id async for letter in self.letters()} if parked else set()
        for entity_id in parked - waiting:
            await self.unpark(entity_id)
        return parked & waiting

    async def unpark(self, entity_id: str) -> None:
        """It waits no longer."""
        with translated():
            await self._redis.hdel(self._parked, entity_id)

    async def _page(self, start: str, end: str) -> list[Letter]:
        with translated():
            page = await self._redis.xrange(self._key, start, end, count=_PAGE)
        return [_letter(*entry) for entry in page]


def first_line(error: BaseException) -> str:
    """The type of *error* and the first line of what it says, not too long."""
    said = str(error).strip().partition("\n")[0]
    line = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return line if len(line) <= _MOST_CHARACTERS else f"{line[: _MOST_CHARACTERS - 1]}…"


def traceback_digest(error: BaseException) -> str:
    """The same for whatever was raised at the same place, on the same way to it."""
    frames = traceback.extract_tb(error.__traceback__)
    way = [f"{frame.filename}:{frame.name}:{frame.lineno}" for frame in frames]
    lines = "\n".join([type(error).__qualname__, *way])
    return hashlib.sha256(lines.encode()).hexdigest()[:_DIGEST_CHARACTERS]


def text(value: bytes | str) -> str:
    """What Redis answered, whether the client decodes it or not."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def _letter(letter_id: bytes | str, found: Mapping[Any, Any]) -> Letter:
    fields = {text(name): text(value) for name, value in found.items()}
    ours = {name: fields.pop(name, "") for name in _OURS}
    attempts = int(ours["attempts"]) if ours["attempts"].isdigit() else 0
    failure = Failure(_reason(ours["reason"]), attempts, ours["error"], ours["tracebackDigest"])
    return Letter(text(letter_id), ours["eventId"], fields, failure, ours["failedAt"])


def _reason(word: str) -> Reason:
    try:
        return Reason(word)
    except ValueError:
        # Of a newer version of this library.
        return Reason.ATTEMPTS
