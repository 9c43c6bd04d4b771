"""Entries go in the moment between being handed out and being read: a gap that is told, too."""

import asyncio
from pathlib import Path

from redis.asyncio import Redis

from consumer import Consumer, Event, Gap, Options
from consumer.testing import Context, Coroutine, Demands
from consumer.testing.opened import stage
from outbox.position import Position


async def test_a_gap_behind_a_gap_is_told_though_it_was_handed_out(tmp_path: Path) -> None:
    told: list[Gap] = []
    both = asyncio.Event()

    async def go_on(gap: Gap) -> None:
        told.append(gap)
        if len(told) > 1:
            both.set()

    async def consumer(context: Context) -> None:
        async def handle(event: Event) -> None:
            await context.effect(event.id, event.entity_id)

        options = Options(lease_s=5.0, block_s=0.1)
        async with (
            Redis.from_url(context.redis_url) as redis,
            Consumer(
                redis,
                group=context.group,
                handler=handle,
                stream=context.stream,
                name=context.name,
                on_gap=go_on,
                options=options,
                observe=lambda _: None,
            ) as member,
        ):
            await member.run(context.stop)

    async with (
        asyncio.timeout(20),
        stage(Coroutine(consumer), Demands(), tmp_path / "stage") as played,
    ):
        handled = played.publisher.publish(20)
        member = await played.start("one")
        await played.settled()

        look = member.proxy.hold("MULTI")
        await look.reached.wait()
        played.publisher.publish(10)
        played.publisher.trim(keep=0)
        handed_out = played.publisher.publish(5)
        reply = member.proxy.hold_reply("catalog.updated")
        look.release()
        await reply.reached.wait()
        played.publisher.trim(keep=0)
        kept = played.publisher.publish(3)
        reply.release()

        await both.wait()
        assert [str(gap.first) for gap in told] == [handed_out[0].id, kept[0].id]
        assert str(told[0].after) == handled[-1].id
        assert told[0].after < told[1].after < Position.parse(handed_out[0].id)
