"""A loop over redis-py as one writes it by hand, and what one gets wrong in it."""

import asyncio
from contextlib import suppress
from enum import StrEnum, auto
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from consumer.testing import Context

_AT_ONCE = 20
_BLOCK_MS = 20
_NEW = ">"


class Flaw(StrEnum):
    """What is wrong with it."""

    NOTHING = auto()
    """It is right, as long as there is one member at a time."""
    ACKNOWLEDGES_FIRST = auto()
    READS_WITHOUT_ACK = auto()
    STARTS_AT_THE_END = auto()
    NEVER_ACKNOWLEDGES = auto()
    FORGETS_ITS_PENDING = auto()
    NEVER_CLAIMS = auto()
    NEW_BEFORE_CLAIMED = auto()
    CLAIMS_WHAT_IS_UNDER_WAY = auto()
    CONCURRENT = auto()
    STARTS_OVER = auto()
    IGNORES_NOGROUP = auto()
    GOES_ON_AT_THE_END = auto()
    """Where its group is lost."""
    BELIEVES_TIMESTAMPS = auto()
    CHOKES_ON_WHAT_IS_GONE = auto()
    LEAVES_LOST_ACKS = auto()
    LEAVES_WITH_AN_ERROR = auto()


_CLAIM_NOTHING = {Flaw.NEVER_CLAIMS, Flaw.FORGETS_ITS_PENDING, Flaw.CHOKES_ON_WHAT_IS_GONE}


class ByHand:
    """One life of it."""

    def __init__(self, context: Context, flaw: Flaw) -> None:
        self._context, self._flaw = context, flaw
        # Typed by hand: redis-py's own types fit no command.
        self._redis: Any = Redis.from_url(
            context.redis_url, decode_responses=True, retry=Retry(NoBackoff(), 0)
        )
        self._last = "$" if flaw is Flaw.STARTS_AT_THE_END else "0-0"
        self._newest = ""

    async def run(self) -> None:
        async with self._redis:
            while not self._context.stop.is_set():
                try:
                    await self._make_group()
                    await self._take_over()
                    while not self._context.stop.is_set():
                        if self._flaw is Flaw.CLAIMS_WHAT_IS_UNDER_WAY:
                            await self._claim()
                        await self._read(_NEW)
                except RedisConnectionError:
                    await asyncio.sleep(0.01)
                except ResponseError as exc:
                    if "NOGROUP" not in str(exc):
                        raise
                    await asyncio.sleep(0.01)
                    if self._flaw is Flaw.IGNORES_NOGROUP:
                        self._make_group = _do_nothing  # type: ignore[method-assign]
        if self._flaw is Flaw.LEAVES_WITH_AN_ERROR:
            raise RuntimeError("it fell over its own feet")

    async def _make_group(self) -> None:
        context, start = self._context, self._last
        if self._flaw is Flaw.GOES_ON_AT_THE_END and start != "0-0":
            start = "$"
        with suppress(ResponseError):
            await self._redis.xgroup_create(context.stream, context.group, start, mkstream=True)
        if self._flaw is Flaw.STARTS_OVER:
            await self._redis.xgroup_setid(context.stream, context.group, "0-0")

    async def _take_over(self) -> None:
        """What is pending, its own and that of others, before anything new."""
        if self._flaw is Flaw.NEW_BEFORE_CLAIMED:
            await self._read(_NEW)
        if self._flaw not in _CLAIM_NOTHING:
            await self._claim()
        if self._flaw is not Flaw.FORGETS_ITS_PENDING:
            await self._read("0")

    async def _claim(self) -> None:
        context = self._context
        await self._redis.xautoclaim(context.stream, context.group, context.name, 0, count=1000)

    async def _read(self, after: str) -> None:
        context = self._context
        found = await self._redis.xreadgroup(
            context.group,
            context.name,
            {context.stream: after},
            count=1000 if after == "0" else _AT_ONCE,
            block=_BLOCK_MS,
            noack=self._flaw is Flaw.READS_WITHOUT_ACK,
        )
        for _, entries in found:
            if entries:
                await self._handle(entries)

    async def _handle(self, entries: list[tuple[str, dict[str, str]]]) -> None:
        if self._flaw is Flaw.ACKNOWLEDGES_FIRST:
            await self._acknowledge(entries)
        if self._flaw is Flaw.CONCURRENT:
            await asyncio.gather(*(self._apply(*entry) for entry in entries))
        else:
            for entry in entries:
                await self._apply(*entry)
        if self._flaw is not Flaw.ACKNOWLEDGES_FIRST:
            await self._acknowledge(entries)
        self._last = entries[-1][0]

    async def _apply(self, id_: str, fields: dict[str, str]) -> None:
        if not fields and self._flaw is not Flaw.CHOKES_ON_WHAT_IS_GONE:
            return
        if self._flaw is Flaw.BELIEVES_TIMESTAMPS:
            if fields["timestamp"] < self._newest:
                return
            self._newest = fields["timestamp"]
        await self._context.effect(id_, fields["entityId"])

    async def _acknowledge(self, entries: list[tuple[str, dict[str, str]]]) -> None:
        context = self._context
        if self._flaw is Flaw.NEVER_ACKNOWLEDGES:
            return
        try:
            await self._redis.xack(context.stream, context.group, *(id_ for id_, _ in entries))
        except RedisConnectionError:
            if self._flaw is not Flaw.LEAVES_LOST_ACKS:
                raise


async def _do_nothing() -> None:
    """Instead of making the group again."""
