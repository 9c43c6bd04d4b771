"""How the streams of a group are spread over its members."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from consumer.errors import RedisRefused
from consumer.keys import members_key
from consumer.reading import lua
from outbox.errors import StreamUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from consumer.event import Group
    from consumer.reading.lease import Member
    from consumer.reading.link import Link

_MEMBERS = lua.load("members")


def share_of(streams: int, members: int) -> int:
    """How many streams a member reads at most."""
    return -(-streams // max(members, 1))


class Sharing:
    """What one member may read, by how many there are; asks at the stream of *group*."""

    def __init__(  # noqa: PLR0913 - each is one thing it is handed
        self,
        link: Link,
        group: Group,
        member: Member,
        streams: Sequence[str],
        *,
        every_s: float,
        lease_s: float,
        leave: Callable[[str], None],
    ) -> None:
        self._link = link
        self._key = members_key(*group)
        self._member = member
        self._streams = streams
        self._every_s = every_s
        self._lease_s = lease_s
        self._leave = leave
        self._allowed = len(streams)
        self._held: set[str] = set()

    @property
    def has_room(self) -> bool:
        """Whether the member may try for one more; at once for several, one too many is let go."""
        return len(self._held) < self._allowed

    @contextmanager
    def holding(self, stream: str) -> Iterator[None]:
        """Meanwhile the member has *stream*."""
        self._held.add(stream)
        try:
            yield
        finally:
            self._held.discard(stream)

    async def watch(self) -> None:
        """Keep the share up to date, until cancelled."""
        if len(self._streams) == 1:
            return
        while True:
            # Else the share stays as it was; who reads meets the same, and says so.
            with suppress(StreamUnavailable, RedisRefused):
                await self._count()
            for stream in sorted(self._held)[self._allowed :]:
                self._leave(stream)
            await asyncio.sleep(self._every_s)

    async def go(self) -> None:
        """The others need not wait until it counts no more. Raises what a Link raises."""
        if len(self._streams) > 1:
            await self._link.call("EVAL", _MEMBERS, 1, self._key, str(self._member), 0)

    async def _count(self) -> None:
        members = await self._link.call(
            "EVAL", _MEMBERS, 1, self._key, str(self._member), int(self._lease_s * 1000)
        )
        self._allowed = share_of(len(self._streams), members)
