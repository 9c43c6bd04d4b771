"""Our library as any team would use it: for the harness, as a coroutine and as a command."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from redis.asyncio import Redis

from consumer import Consumer, Event, Gap, Options
from consumer.testing import Command, Context
from outbox.position import Position

_LEASE_S = 1.0
"""Several start at once, beside other tests: one that is held up so long is not alone."""


async def own_consumer(context: Context) -> None:
    """Handles each event by saying so."""

    async def handle(event: Event) -> None:
        await context.effect(event.id, event.entity_id)

    async with (
        Redis.from_url(context.redis_url) as redis,
        Consumer(
            redis,
            group=context.group,
            handler=handle,
            stream=context.stream,
            name=context.name,
            on_gap=go_on,
            options=Options(lease_s=_LEASE_S, batch=20, block_s=0.1, backoff_cap_s=0.1),
            observe=lambda _: None,
        ) as consumer,
    ):
        await consumer.run(context.stop)


async def go_on(_: Gap) -> Position | None:
    """With what is there."""
    return None


_ROOT = Path(__file__).resolve().parents[2]
OWN_COMMAND = Command([sys.executable, __file__], {"PYTHONPATH": str(_ROOT)})


async def _main() -> None:
    environment, stop = os.environ, asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    file = Path(environment["CONSUMER_EFFECTS"]).open("a", buffering=1)  # noqa: ASYNC230, SIM115

    async def effect(event_id: str, entity_id: str) -> None:
        if environment.get("CONSUMER_SLOW_EVENT") == event_id:
            await asyncio.sleep(float(environment["CONSUMER_SLOW_S"]))
        file.write(f"{event_id} {entity_id}\n")

    await own_consumer(
        Context(
            redis_url=environment["REDIS_URL"],
            stream=environment["CATALOG_EVENT_STREAM_KEY"],
            group=environment["CONSUMER_GROUP"],
            name=environment["CONSUMER_NAME"],
            effect=effect,
            stop=stop,
        )
    )


if __name__ == "__main__":
    asyncio.run(_main())
