"""Where one scenario is played: Redis of its own, the publisher, the members, and who watches."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from consumer.testing.checks import Kind, Violation
from consumer.testing.consumers import Command
from consumer.testing.processes import CommandMember
from consumer.testing.proxy import Proxy
from consumer.testing.resp import first_entries
from consumer.testing.tasks import CoroutineMember
from outbox.event import TYPE
from outbox.position import Position

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from consumer.testing.consumers import Consumer
    from consumer.testing.demands import Demands
    from consumer.testing.members import Member, Trial
    from consumer.testing.proxy import Hold
    from consumer.testing.watch import Watch
    from embedded.valkey import Valkey

_LOOK_S = 0.005
_AT_MOST = 10
"""Times `within_s`, for those who move on without end."""


class Broken(Exception):
    """A promise is broken: nothing more needs to be seen."""


class Stuck(Exception):
    """What a scenario waits for does not come."""


class Stage:
    """Everything that a scenario can do."""

    def __init__(
        self, consumer: Consumer, demands: Demands, server: Valkey, trial: Trial, watch: Watch
    ) -> None:
        self.demands, self.watch, self.publisher = demands, watch, watch.publisher
        self.notes: list[str] = []
        self.restarts = 0
        self._consumer, self._server, self._trial = consumer, server, trial
        self._members: list[Member] = []
        self._opened = AsyncExitStack()
        self._redis_is_there = True

    async def start(self, name: str) -> Member:
        """One more member, or the same after it has ended."""
        return await self._run(await self._enter(name))

    async def start_held(self, name: str, command: str) -> tuple[Member, Hold]:
        """One whose first such request will be stopped on its way."""
        member = await self._enter(name)
        hold = member.proxy.hold(command)
        return await self._run(member), hold

    async def start_without(self, name: str) -> tuple[Member, Hold]:
        """One that Redis has handed its first batch, which is stopped on its way."""
        member = await self._enter(name)
        hold = member.proxy.hold_reply(TYPE)
        await self._run(member)
        await self.reached(hold)
        return member, hold

    def be_slow_at(self, event_id: str) -> None:
        """The handler of this event will take long; to be said before any member starts."""
        self._trial.slow[event_id] = self.demands.slow_s

    async def kill(self, member: Member) -> None:
        """End *member*; what it leaves pending may be delivered again."""
        self._members.remove(member)
        await member.kill()
        await self.watch.allow_pending_again()

    async def leave(self, member: Member) -> None:
        """Have *member* leave in good order; what it has begun may be delivered again."""
        self._members.remove(member)
        if wrong := await member.leave():
            self.watch.violations.append(Violation(Kind.ENDED, wrong))
        await member.kill()
        await self.watch.allow_pending_again()

    async def catch_amid(self, name: str) -> Member:
        """A member that has done half of a batch: the rest is pending on it, and never reached it.

        From outside this is what is left of one that ended there.
        """
        member, batch = await self.start_without(name)
        pending = sorted((await self.watch.state_of_group()).pending, key=Position.parse)
        half = pending[: (len(pending) + 1) // 2]
        # Nor does it get any more, or it would go on behind the part that is missing.
        member.proxy.hold_reply(TYPE)
        ack = member.proxy.hold("XACK")
        batch.release(lambda reply: first_entries(reply, len(half)))

        async def is_half_done() -> bool:
            done = {effect.event_id for effect in (await self.watch.account()).effects}
            return done.issuperset(half) or ack.reached.is_set()

        await self.until(is_half_done, "it did not begin with its batch")
        return member

    async def reached(self, hold: Hold) -> None:
        """The message arrives at the place where it is held."""

        async def has_come() -> bool:
            return hold.reached.is_set() or await self.watch.is_settled()

        await self.until(has_come, f"no {hold.what} came")
        if not hold.reached.is_set():
            self.notes.append(f"no {hold.what} came, and all is done without it")

    async def acknowledged(self, count: int) -> None:
        """So many events are acknowledged."""

        async def are_acknowledged() -> bool:
            state = await self.watch.state_of_group()
            return len(state.acknowledged(e.id for e in self.publisher.events)) >= count

        await self.until(are_acknowledged, f"{count} events were not acknowledged")

    async def delivered(self, event_id: str) -> None:
        """Some member was handed this event."""

        async def is_delivered() -> bool:
            state = await self.watch.state_of_group()
            return state.delivered >= Position.parse(event_id)

        await self.until(is_delivered, f"{event_id} was not asked for")

    async def group_made(self) -> None:
        """The group is there."""

        async def is_there() -> bool:
            return await self.watch.group.state() is not None

        await self.until(is_there, "the group was not made again")

    async def settled(self) -> None:
        """All that was published had its effect, and is acknowledged."""
        await self.until(self.watch.is_settled, "the end")

    async def lose_redis(self) -> None:
        """It is killed and started without its data; nobody is let in until `redis_is_back`."""
        self.watch.allow_all_again()
        self._redis_is_there = False
        for member in self._members:
            member.proxy.shut()
        await asyncio.to_thread(self._server.kill)
        await asyncio.to_thread(self._server.start)

    def redis_is_back(self) -> None:
        """Let the members in again."""
        self._redis_is_there = True
        for member in self._members:
            member.proxy.admits = True

    async def until(self, condition: Callable[[], Awaitable[bool]], otherwise: str) -> None:
        """Wait, and start again whoever ends by itself. Raises Broken, Stuck."""
        started = moved = time.monotonic()
        before = await self.watch.progress()
        while not await condition():
            if self.watch.violations:
                raise Broken
            await self._supervise()
            now = time.monotonic()
            if now - moved > self.demands.within_s / 2 and before != await self.watch.progress():
                before, moved = await self.watch.progress(), now
            if (
                now - moved > self.demands.within_s
                or now - started > _AT_MOST * self.demands.within_s
            ):
                raise Stuck(otherwise)
            await asyncio.sleep(_LOOK_S)

    async def close(self) -> None:
        """End whoever still runs."""
        try:
            for member in self._members:
                await member.kill()
        finally:
            await self._opened.aclose()

    async def _enter(self, name: str) -> Member:
        proxy = Proxy(self._server.socket_path, self.watch.look)
        await self._opened.enter_async_context(proxy.listening())
        proxy.admits = self._redis_is_there
        return _member_of(self._consumer, name, proxy, self._trial)

    async def _run(self, member: Member) -> Member:
        self._members.append(member)
        await member.start()
        return member

    async def _supervise(self) -> None:
        for member in list(self._members):
            said = member.ended()
            if said is None or not self._redis_is_there:
                continue
            await self.kill(member)
            self.restarts += 1
            if self.restarts > self.demands.restarts:
                text = f"{member.name} ended by itself, {self.restarts} times by now: {said}"
                self.watch.violations.append(Violation(Kind.ENDED, text))
                raise Broken
            self.notes.append(f"{member.name} ended by itself and was started again: {said}")
            await self.start(member.name)


def _member_of(consumer: Consumer, name: str, proxy: Proxy, trial: Trial) -> Member:
    """A member that has not begun."""
    if isinstance(consumer, Command):
        return CommandMember(consumer, name, proxy, trial)
    return CoroutineMember(consumer, name, proxy, trial)
