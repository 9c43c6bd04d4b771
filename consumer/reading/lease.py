"""The right to read one stream for a group: one member at a time has it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from consumer.errors import LeaseLost, NameTaken
from consumer.keys import reader_key, term_key
from consumer.reading import lua

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.event import Group
    from consumer.reading.link import Link

_TAKE = lua.load("take")
_RELEASE = lua.load("release")


class Member:
    """Who asks for leases: a name, and the process behind it."""

    def __init__(self, name: str, token: str) -> None:
        self.name = name
        self.token = token

    def __str__(self) -> str:
        """As the lease holds it."""
        return f"{self.name} {self.token}"


class Lease:
    """That of *group*; it ends by itself, on this side no later than on that of Redis."""

    def __init__(
        self,
        link: Link,
        group: Group,
        member: Member,
        lease_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._key = reader_key(*group)
        self._term = term_key(*group)
        self._member = member
        self._lease_s = lease_s
        self._clock = clock
        self._was_held = False
        self.until = 0.0
        """By *clock*."""

    @property
    def held(self) -> bool:
        """Whether nobody else can have it."""
        return self._clock() < self.until

    async def take(self) -> bool:
        """Whether it is ours now. Raises NameTaken, and what a Link raises."""
        holder = await self._ask("take" if self._was_held else "begin")
        if holder == str(self._member):
            self._was_held = True
            return True
        self._check_name(holder)
        return False

    async def renew(self) -> None:
        """Raises LeaseLost, NameTaken, and what a Link raises."""
        if not self.held:
            # Somebody may have had it since, even if it is free again.
            raise LeaseLost
        holder = await self._ask("keep")
        if holder != str(self._member):
            self.until = 0.0
            self._check_name(holder)
            raise LeaseLost

    async def release(self) -> None:
        """Others need not wait for its end. Raises what a Link raises."""
        self.until = 0.0
        await self._link.call("EVAL", _RELEASE, 1, self._key, str(self._member))

    async def _ask(self, how: str) -> str:
        asked_at = self._clock()
        answer: bytes = await self._link.call(
            *("EVAL", _TAKE, 2, self._key, self._term),
            *(self._member.name, self._member.token, int(self._lease_s * 1000), how),
            within_s=self._lease_s,
        )
        holder = answer.decode()
        if holder == str(self._member):
            self.until = asked_at + self._lease_s
        return holder

    def _check_name(self, holder: str) -> None:
        """A namesake that came later: two of a name would take turns for ever."""
        if self._was_held and holder.rpartition(" ")[0] == self._member.name:
            raise NameTaken(self._member.name)
