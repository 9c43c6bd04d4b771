"""A consumer continues the traces that writers began, without being told to."""

from consumed import publish
from one_consumer import consuming, pending
from publishing import eventually
from redis.asyncio import Redis
from spans import links, recorded

from consumer.event import Event

SPAN = "b7ad6b7169203331"
TRACEPARENT = f"00-0af7651916cd43dd8448eb211c80319c-{SPAN}-01"


async def test_a_consumer_links_its_spans_to_those_of_the_writers(redis: Redis) -> None:
    handled: list[str] = []

    async def handler(event: Event) -> None:
        handled.append(event.id)

    await publish(redis, "a", traceparent=TRACEPARENT)
    with recorded() as spans:
        async with consuming(redis, handler=handler):

            async def is_done() -> bool:
                return bool(handled) and not await pending(redis)

            await eventually(is_done)
        assert links(spans) == [[SPAN]]
