"""How far a consumer group is, as Redis itself says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from outbox.position import ORIGIN, Position

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_ALL = 100_000


class GroupState(NamedTuple):
    """At one moment."""

    delivered: Position
    """The last entry that was handed to some member."""
    pending: frozenset[str]
    """IDs that were delivered and not acknowledged."""

    def acknowledged(self, ids: Iterable[str]) -> list[str]:
        """Those of *ids* that nobody will get again."""
        return [
            id_ for id_ in ids if id_ not in self.pending and Position.parse(id_) <= self.delivered
        ]


NO_GROUP = GroupState(ORIGIN, frozenset())


class Group:
    """*name* over *stream*, looked at past every proxy."""

    def __init__(self, redis_url: str, stream: str, name: str) -> None:
        # Redis may be gone, and is asked again anyway.
        self._redis: Any = Redis.from_url(
            redis_url, decode_responses=True, retry=Retry(NoBackoff(), 0)
        )
        self.stream = stream
        self.name = name

    async def state(self) -> GroupState | None:
        """Both of one moment; None where there is no group, or no Redis."""
        try:
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.xinfo_groups(self.stream)
                pipeline.xpending_range(self.stream, self.name, "-", "+", _ALL)
                groups, pending = await pipeline.execute(raise_on_error=True)
        except (RedisError, OSError):
            return None
        return _state(self.name, groups, pending)

    async def deliver_again(self, after: str = "0-0") -> None:
        """Set the group back: all that came after *after* is handed out once more."""
        await self._redis.xgroup_setid(self.stream, self.name, after)

    async def close(self) -> None:
        """Let the connection go."""
        await self._redis.aclose()


def _state(
    name: str, groups: Sequence[dict[str, Any]], pending: Sequence[dict[str, Any]]
) -> GroupState | None:
    for group in groups:
        if group["name"] == name:
            delivered = Position.parse(group["last-delivered-id"])
            return GroupState(delivered, frozenset(entry["message_id"] for entry in pending))
    return None
