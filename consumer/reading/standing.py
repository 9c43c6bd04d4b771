"""One stream of a consumer: stand by until it is free, read it, lose it, stand by again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from consumer.errors import DatabaseUnavailable, LeaseLost, RedisRefused
from consumer.handling.batch_work import BatchWork
from consumer.handling.failures import backoff
from consumer.handling.lane_work import LaneWork
from consumer.letters.dead_letters import DeadLetters
from consumer.letters.requests import Requests
from consumer.letters.setting_aside import SettingAside
from consumer.letters.settling import EVERY_S, LaneHost, Settler
from consumer.reading.chores import Chores
from consumer.reading.footing import Footing
from consumer.reading.group import StreamGroup
from consumer.reading.hand import Hand
from consumer.reading.lease import Lease
from consumer.reading.link import Link
from consumer.reading.reader import Reader
from consumer.reading.seen import Seen
from consumer.reading.tasks import pause
from consumer.reading.term import Term
from consumer.reports import Away, LostLease
from consumer.watching.lag import Lag
from outbox.errors import StreamUnavailable

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from consumer.event import Group
    from consumer.handling.work import BatchHandler, Handler, Work
    from consumer.reading.footing import Beginning
    from consumer.reading.lease import Member
    from consumer.reading.sharing import Sharing
    from consumer.reports import Observe
    from consumer.settings import Options

_LOOK_EVERY_S = 0.5
_GOOD_BYE_S = 1.0
_RECONNECT_BASE_S = 0.05
_RECONNECT_CAP_S = 1.0
# OSError and DatabaseUnavailable: of the checkpoint.
_TRANSIENT = (StreamUnavailable, RedisRefused, DatabaseUnavailable, OSError, TimeoutError)


class Standing:
    """What outlives a term: the links, the lease, and what was seen."""

    def __init__(  # noqa: PLR0913 - each is one thing it is handed
        self,
        redis: Redis,
        group: Group,
        member: Member,
        *,
        handler: Handler | None,
        batch_handler: BatchHandler | None,
        lanes: int,
        beginning: Beginning,
        options: Options,
        observe: Observe,
    ) -> None:
        self._redis = redis
        self._member = member
        self._handler = handler
        self._batch_handler = batch_handler
        self._lanes = lanes
        self._beginning = beginning
        self._options = options
        self._observe = observe
        self._pause_s = backoff(options.backoff_base_s, options.backoff_cap_s)
        self._reconnect_s = backoff(_RECONNECT_BASE_S, min(_RECONNECT_CAP_S, options.backoff_cap_s))
        self._reading = Link(redis, group.stream)
        self._asking = Link(redis, group.stream)
        self._group = StreamGroup(self._reading, self._asking, group, member)
        self._lease = Lease(self._asking, group, member, options.lease_s)
        self._seen = Seen()

    @property
    def stream(self) -> str:
        """Its key."""
        return self._group.group.stream

    async def run(self, stop: asyncio.Event, leave: asyncio.Event, sharing: Sharing) -> None:
        """Read whenever the stream is free, until *stop*; each term until *leave*.

        Raises FellOff, NameTaken, and what the caller's own functions raise.
        """
        failures = 0
        while not stop.is_set():
            pause_s = min(self._options.lease_s / 3, _LOOK_EVERY_S)
            try:
                if sharing.has_room and await self._lease.take():
                    with sharing.holding(self.stream):
                        await self._read(leave)
                failures = 0
            except _TRANSIENT as exc:
                failures += 1
                pause_s = self._reconnect_s(failures)
                self._observe(Away(self.stream, "take", failures, pause_s, exc))
            if not stop.is_set():
                leave.clear()
            await pause(stop, pause_s)

    async def close(self) -> None:
        """What is still held is let go of, so that nobody waits for it."""
        with suppress(StreamUnavailable, RedisRefused, TimeoutError):
            if self._lease.held:
                async with asyncio.timeout(_GOOD_BYE_S):
                    await self._lease.release()
        await self._reading.close()
        await self._asking.close()

    async def _read(self, leave: asyncio.Event) -> None:
        """One term; its errors are raised as they are."""
        try:
            term = await self._term()
            await term.run(leave)
        except LeaseLost:
            self._observe(LostLease(self.stream, self._member.name))
        finally:
            await self._reading.close()

    async def _term(self) -> Term:
        self._seen.begin_anew()
        checkpoint = self._beginning.checkpoint
        group = self._group.group
        if checkpoint is not None and (known := await checkpoint.load(group.name, group.stream)):
            self._seen.reached(known)
        letters = DeadLetters(self._redis, group.stream, group.name)
        aside = SettingAside(letters, self._options.after_dead_letter, self._observe)
        hand = Hand(self._group, self._seen, self._observe, self._reconnect_s)
        settler = None
        if self._handler is not None:
            await aside.load()
            work: Work
            work = lane_work = LaneWork(
                self._handler,
                hand,
                self._lease,
                aside,
                self._observe,
                lanes=self._lanes,
                attempts=self._options.attempts,
                pause_s=self._pause_s,
            )
            host = LaneHost(
                group.stream, self._handler, lane_work, self._lease, aside, self._observe
            )
            requests = Requests(self._redis, group.stream, group.name)
            settler = Settler(
                group.stream,
                letters,
                requests,
                host,
                self._observe,
                every_s=min(self._options.lease_s / 3, EVERY_S),
            )
        else:
            assert self._batch_handler is not None  # noqa: S101 - a consumer has one of the two
            work = BatchWork(
                self._batch_handler, hand, self._lease, self._observe, self._pause_s, group.stream
            )
        hand.take_busy_s = work.take_busy_s
        reader = Reader(
            self._group,
            hand,
            work,
            aside if self._handler is not None else None,
            Footing(self._group, self._seen, self._beginning, self._observe),
            self._options,
            self._observe,
            self._reconnect_s,
        )
        chores = Chores(
            self._group,
            hand,
            reader,
            Lag(self._redis, group.stream, group.name),
            checkpoint,
            self._options,
            self._observe,
        )
        return Term(
            self._group,
            self._lease,
            hand,
            work,
            reader,
            chores,
            settler,
            self._options,
            self._observe,
        )
