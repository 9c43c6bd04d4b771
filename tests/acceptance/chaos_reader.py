"""A consumer that is there all the time, and remembers what each ID has ever said."""

import asyncio
import random
from contextlib import suppress
from hashlib import blake2b
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from outbox.position import ORIGIN

_AT_ONCE = 500
_AGAIN = 0.05  # of the time it reads once more what it has read before

Admin = Any  # redis-py's own types fit no command
Digests = dict[str, bytes]
"""What each ID says, by ID."""


def digest(fields: dict[str, str]) -> bytes:
    """Stands for all fields of an entry, in their order."""
    return blake2b(repr(list(fields.items())).encode(), digest_size=16).digest()


class Reader:
    """Tails every stream at *url*, beginning anew where it stopped whenever it is cut off."""

    def __init__(self, url: str, keys: list[str], dice: random.Random) -> None:
        self._url = url
        self._dice = dice
        self._ids: dict[str, list[str]] = {key: [] for key in keys}
        self._awaited: set[str] = set()
        self._came = asyncio.Event()
        self.seen: dict[str, Digests] = {key: {} for key in keys}
        self.changed: list[str] = []
        """IDs that said one thing and then another."""

    def __len__(self) -> int:
        """How many IDs it has seen."""
        return sum(map(len, self.seen.values()))

    async def run(self, stop: asyncio.Event) -> None:
        """Read until *stop* is set."""
        while not stop.is_set():
            with suppress(RedisError, OSError):
                async with Redis.from_url(self._url, decode_responses=True) as redis:
                    while not stop.is_set():
                        await self._read(redis)
                        if self._dice.random() < _AGAIN:
                            await self._read_again(redis)
            await asyncio.sleep(0.05)

    async def wait_for(self, entity_ids: set[str], *, within_s: float) -> set[str]:
        """Return when an event of each of *entity_ids* has come, or with those that have not."""
        self._awaited = set(entity_ids)
        self._came.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._came.wait(), within_s)
        return self._awaited

    async def _read(self, redis: Admin) -> None:
        last = {key: ids[-1] if ids else str(ORIGIN) for key, ids in self._ids.items()}
        answer = await redis.xread(last, count=_AT_ONCE, block=200)
        for key, entries in answer:
            for id_, fields in entries:
                self._ids[key].append(id_)
                self._note(key, id_, fields)

    async def _read_again(self, redis: Admin) -> None:
        key = self._dice.choice(list(self._ids))
        if self._ids[key]:
            start = self._dice.choice(self._ids[key])
            for id_, fields in await redis.xrange(key, start, self._ids[key][-1], count=_AT_ONCE):
                self._note(key, id_, fields)

    def _note(self, key: str, id_: str, fields: dict[str, str]) -> None:
        said = digest(fields)
        if self.seen[key].setdefault(id_, said) != said:
            self.changed.append(f"{key} {id_}")
        if self._awaited:
            self._awaited.discard(fields.get("entityId", ""))
            if not self._awaited:
                self._came.set()
