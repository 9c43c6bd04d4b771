"""A consumer in this process, with what it reported."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from consumed import STREAM
from redis.asyncio import Redis

from consumer.consumer import Consumer
from consumer.reports import Report
from consumer.settings import Options

QUICK = Options(lease_s=0.5, attempts=2, backoff_base_s=0.001, backoff_cap_s=0.01, block_s=0.05)


class Reports:
    """What a consumer reported, and waiting for more of it."""

    def __init__(self) -> None:
        self.all: list[Report] = []
        self._came = asyncio.Event()

    def observe(self, report: Report) -> None:
        self.all.append(report)
        self._came.set()

    def of(self, kind: type) -> list[Any]:
        return [report for report in self.all if isinstance(report, kind)]

    async def until(self, holds: Callable[[], bool], *, within_s: float = 10) -> None:
        """Return once *holds*, looked at after each report. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while not holds():
                self._came.clear()
                await self._came.wait()


@asynccontextmanager
async def consuming(
    redis: Redis,
    *,
    group: str = "g",
    options: Options = QUICK,
    **others: Any,  # noqa: ANN401 - as of Consumer
) -> AsyncIterator[Reports]:
    """Meanwhile a consumer runs; then it drains."""
    reports, stop = Reports(), asyncio.Event()
    async with (
        Consumer(
            redis, group=group, options=options, observe=reports.observe, **others
        ) as consumer,
        asyncio.TaskGroup() as tasks,
    ):
        running = tasks.create_task(consumer.run(stop))
        running.add_done_callback(lambda _: reports.observe(None))  # type: ignore[arg-type]
        try:
            yield reports
        finally:
            stop.set()


async def pending(redis: Any, group: str = "g") -> list[str]:  # noqa: ANN401
    """IDs that were handed out and not acknowledged."""
    entries = await redis.xpending_range(STREAM, group, "-", "+", 1000)
    return [entry["message_id"] for entry in entries]
