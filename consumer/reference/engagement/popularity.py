"""A score for each series and episode: what was changed often is at the top.

The scores live in the Redis that the stream is in, so what is lost is lost together, and the stream
is handled again. That is why nothing is remembered elsewhere.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any

from consumer.letters.redis_errors import translated

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from consumer.event import Event

GROUP = "engagement"
KEY = "{catalog:popularity}"
"""In braces: both keys must be in one slot of a cluster."""
_SCORED = frozenset({"series", "episode"})
_SCORES = {"create": "1", "update": "1", "delete": ""}
_DIGITS = 19
_SCRIPT = resources.files("consumer.reference.engagement").joinpath("score.lua").read_text("utf-8")


class Popularity:
    """The sorted set *key*, with members such as ``series:<id>``. Raises StreamUnavailable.

    Or RedisRefused; with both of them the event is tried for as long as it takes.
    """

    def __init__(self, redis: Redis, key: str = KEY) -> None:
        self._score: Any = redis.register_script(_SCRIPT)
        self._keys = [key, f"{key}:versions"]

    async def score(self, event: Event) -> None:
        """Add what *event* says; once, however often it comes."""
        if event.entity in _SCORED:
            entity = f"{event.entity}:{event.entity_id}"
            version = str(event.version).zfill(_DIGITS)
            added = _SCORES.get(event.operation, "1")
            with translated():
                await self._score(self._keys, [entity, version, added])
