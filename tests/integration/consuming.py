"""Consumers at work in this process, entries for them, and waiting for what they report."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from faulty_proxy import Cut, FaultyProxy, Message
from redis.asyncio import Redis
from wire import RedisTalk

from consumer import Consumer, Event, Options
from consumer.reports import Report

STREAM = "catalog:events"
GROUP = "search"
OPTIONS = Options(
    batch=20,
    in_hand=60,
    block_s=0.1,
    backoff_base_s=0.01,
    backoff_cap_s=0.05,
    drain_s=0.5,
)

ReportT = TypeVar("ReportT")


async def add(redis: Redis, entities: str, *, first: int = 1, stream: str = STREAM) -> list[str]:
    """An entry for each letter, about the entity of that name; IDs 1-1, 2-1, or from *first* on."""
    ids = [f"{number}-1" for number in range(first, first + len(entities))]
    for event_id, entity in zip(ids, entities, strict=True):
        fields: Any = {"entity": "series", "entityId": entity, "payload": "{}"}
        await redis.xadd(stream, fields, id=event_id)
    return ids


class Member:
    """A consumer, what its handler was given, and what it reported."""

    def __init__(self) -> None:
        self.handled: list[str] = []
        """What the handler has returned from."""
        self.begun: list[str] = []
        self.reports: list[Any] = []
        self.stop = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    def of(self, kind: type[ReportT]) -> list[ReportT]:
        """The reports of that kind."""
        return [report for report in self.reports if isinstance(report, kind)]

    def observe(self, report: Report) -> None:
        """As a consumer's."""
        self.reports.append(report)
        self._changed.set()

    async def until(self, condition: Callable[[], bool], *, within_s: float = 5) -> None:
        """Return once *condition* holds; the consumer's own error if it ends before."""
        async with asyncio.timeout(within_s):
            while not condition():
                self._changed.clear()
                if self.task is not None and self.task.done():
                    await self.task
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.05)

    async def handles(self, ids: Sequence[str], *, within_s: float = 5) -> None:
        """Return once the handler has returned from *ids*."""
        await self.until(lambda: set(ids) <= set(self.handled), within_s=within_s)

    async def sees(self, kind: type[ReportT], *, within_s: float = 5) -> ReportT:
        """The first report of that kind, once there is one."""
        await self.until(lambda: bool(self.of(kind)), within_s=within_s)
        return self.of(kind)[0]

    async def drain(self) -> None:
        """Ask it to end, and wait for that."""
        self.stop.set()
        assert self.task is not None
        async with asyncio.timeout(5):
            await self.task


@asynccontextmanager
async def consuming(
    redis: Redis,
    handler: Callable[[Event], Awaitable[object]] | None = None,
    *,
    options: Options = OPTIONS,
    **more: Any,  # noqa: ANN401 - as of Consumer
) -> AsyncIterator[Member]:
    """A member of the group at work until the end of the block."""
    member = Member()

    async def handle(event: Event) -> None:
        member.begun.append(event.id)
        if handler is not None:
            await handler(event)
        member.handled.append(event.id)

    handlers: dict[str, Any] = {} if "batch_handler" in more else {"handler": handle}
    async with Consumer(
        redis, group=GROUP, options=options, observe=member.observe, **handlers, **more
    ) as consumer:
        member.task = asyncio.create_task(consumer.run(member.stop))
        try:
            yield member
        finally:
            member.stop.set()
            await asyncio.wait([member.task])
    if not member.task.cancelled() and member.task.exception() is None:
        await member.task


async def pending(redis: Redis, stream: str = STREAM) -> list[str]:
    """IDs that the group was given and has not acknowledged."""
    found = await redis.xpending_range(stream, GROUP, "-", "+", 1000)
    return [str(entry["message_id"]) for entry in found]


async def acknowledged(redis: Redis, stream: str = STREAM) -> None:
    """Return once nothing is pending."""
    async with asyncio.timeout(5):
        while await pending(redis, stream):  # noqa: ASYNC110 - Redis does not tell
            await asyncio.sleep(0.005)


class CutOff:
    """A client whose connections can be cut, for good or for a while."""

    def __init__(self, redis: Redis, proxy: FaultyProxy) -> None:
        self.redis = redis
        self._proxy = proxy

    def cut(self) -> None:
        """As if the process had been killed, for all that Redis can tell."""
        self._proxy.hook = _cut
        self._proxy.cut()


async def _cut(_: Message) -> None:
    raise Cut


@asynccontextmanager
async def cut_off(url: str, folder: Path) -> AsyncIterator[CutOff]:
    """Through a proxy before the server at *url*."""
    target = Path(url.removeprefix("unix://").partition("?")[0])
    proxy = FaultyProxy(RedisTalk, target)
    async with (
        proxy.listening(folder / "redis.sock"),
        Redis(unix_socket_path=str(folder / "redis.sock"), decode_responses=True) as redis,
    ):
        yield CutOff(redis, proxy)
