"""Whoever looks on: at each acknowledgement before Redis sees it, and at the group all the time."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import TYPE_CHECKING

from consumer.testing import checks
from consumer.testing.checks import Account, Kind, Violation
from consumer.testing.group import NO_GROUP, Group, GroupState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from consumer.testing.effects import Ledger
    from consumer.testing.publisher import ScriptedPublisher
    from outbox.event import Event

_SAMPLE_S = 0.01
_ACKNOWLEDGING = (b"XACK", b"XACKDEL")


class Watch:
    """What a consumer has done, compared with what was published.

    *ledger* is None for a consumer that keeps no trace of single events, and is judged by *state*.
    """

    def __init__(
        self,
        publisher: ScriptedPublisher,
        group: Group,
        ledger: Ledger | None,
        state: Callable[[Sequence[Event]], object] | None,
    ) -> None:
        self.publisher, self.group = publisher, group
        self.violations: list[Violation] = []
        self.allowed: Counter[str] = Counter()
        """How many more times than once an event may have its effect."""
        self.excused: set[str] = set()
        """Events that were trimmed before anybody could have handled them."""
        self._ledger, self._state = ledger, state

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Sample the group until the end of the block."""
        over = asyncio.Event()
        task = asyncio.create_task(self._sample_until(over))
        try:
            yield
        finally:
            # Not cancelled: redis-py may take that for an answer that did not come.
            over.set()
            await task

    async def look(self, request: list[bytes]) -> None:
        """See a request before Redis does: the effect of what it acknowledges must be there."""
        if self._ledger is None or not request or request[0].upper() not in _ACKNOWLEDGING:
            return
        key, group, *words = [word.decode(errors="replace") for word in request[1:]]
        if (key, group) == (self.group.stream, self.group.name):
            self._judge(words, await self.account(), how="is being acknowledged")

    async def state_of_group(self) -> GroupState:
        """How far the group is; nowhere if there is none."""
        return await self.group.state() or NO_GROUP

    async def account(self) -> Account:
        """What was published, and what came of it so far."""
        effects = await self._ledger.effects() if self._ledger else []
        return Account(self.publisher.events, effects, self.excused, self.allowed)

    async def missing(self) -> list[Violation]:
        """What has not had its effect yet."""
        if self._state is not None:
            said = self._state(self._readable())
            if isawaitable(said):
                said = await said
            return [Violation(Kind.STATE, str(said))] if said else []
        return checks.lost(await self.account()) if self._ledger else []

    async def is_settled(self) -> bool:
        """Whether all that was published had its effect and is acknowledged."""
        state = await self.group.state()
        if state is None or state.pending:
            return False
        left = self._readable()
        if len(state.acknowledged(event.id for event in left)) < len(left):
            return False
        return not await self.missing()

    async def progress(self) -> tuple[object, ...]:
        """Something that changes as long as the consumer comes nearer to the end."""
        state = await self.state_of_group()
        done = {effect.event_id for effect in (await self.account()).effects}
        return state.delivered, len(state.pending), len(done)

    async def allow_pending_again(self) -> frozenset[str]:
        """What is pending may be delivered once more, because a member is gone."""
        pending = (await self.state_of_group()).pending
        self.allowed.update(pending)
        return pending

    async def trim(self, *, keep: int) -> None:
        """Leave the newest *keep* entries: of the others, what was acknowledged is to be there."""
        state = await self.state_of_group()
        went = self.publisher.trim(keep=keep)
        self.excused |= set(went) - set(state.acknowledged(went))

    def allow_all_again(self) -> None:
        """Whatever was published so far may be delivered once more."""
        self.allowed.update(event.id for event in self.publisher.events)

    async def look_at_group(self) -> None:
        """What was delivered and is pending no more must have had its effect."""
        # The group first: an effect that comes between the two looks is no excuse the other way.
        state = await self.group.state()
        if state is not None and self._ledger is not None:
            account = await self.account()
            acknowledged = state.acknowledged(event.id for event in account.published)
            self._judge(acknowledged, account, how="was delivered and is pending no more")

    async def judge_all(self) -> None:
        """What can only be said in the end."""
        if self._ledger is not None:
            account = await self.account()
            self.violations += [*checks.out_of_order(account), *checks.repeated(account)]

    def _judge(self, ids: Sequence[str], account: Account, *, how: str) -> None:
        known = {id_ for violation in self.violations for id_ in violation.events}
        self.violations += checks.acknowledged_without_effect(
            (id_ for id_ in ids if id_ not in known), account, how=how
        )

    def _readable(self) -> list[Event]:
        return [event for event in self.publisher.events if event.id not in self.excused]

    async def _sample_until(self, over: asyncio.Event) -> None:
        while not over.is_set():
            await self.look_at_group()
            await asyncio.sleep(_SAMPLE_S)
