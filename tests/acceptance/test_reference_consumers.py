"""The reference consumers count right, whenever they are killed."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from consumed import STREAM, fields_of, id_of
from processes import eventually
from redis.asyncio import Redis
from reference_consumers import DYING, running

from consumer.keeping.checkpoint import PostgresCheckpoint
from consumer.reference.engagement.popularity import KEY

EVENTS = 3000
_KINDS = ("series", "episode", "category")
_OPERATIONS = ("create", "update", "update", "update", "delete")


async def publish(redis: Redis) -> list[dict[str, str]]:
    """Events of a few entities, in a stream; their fields."""
    dice = random.Random(5)  # noqa: S311 - no secret
    events = [
        fields_of(
            number,
            str(dice.randrange(200)),
            entity=dice.choice(_KINDS),
            operation=dice.choice(_OPERATIONS),
        )
        for number in range(1, EVENTS + 1)
    ]
    pipeline: Any = redis.pipeline(transaction=False)
    for number, fields in enumerate(events, 1):
        pipeline.xadd(STREAM, fields, id=id_of(number))
    await pipeline.execute()
    return events


def all_acknowledged(redis: Any, group: str) -> Callable[[], Awaitable[bool]]:  # noqa: ANN401
    async def is_level() -> bool:
        groups = {one["name"]: one for one in await redis.xinfo_groups(STREAM)}
        found = groups.get(group)
        return bool(found and found["last-delivered-id"] == id_of(EVENTS) and not found["pending"])

    return is_level


async def test_analytics_counts_each_event_once_when_killed_between_effect_and_acknowledgement(
    redis: Redis, redis_url: str, empty_database: str, tmp_path: Path
) -> None:
    events = await publish(redis)
    environment = {"CONSUMER_DATABASE_URL": empty_database, "REDIS_URL": redis_url}
    log = tmp_path / "analytics.log"
    with running(log, environment, str(DYING), "analytics", "2") as dying:
        assert dying.ended() == -9
    environment["CONSUMER_HTTP_ADDRESS"] = "127.0.0.1:0"
    with running(log, environment, "-m", "consumer", "analytics") as process:
        await eventually(all_acknowledged(redis, "analytics"))
        [started] = process.lines("http.started")
        async with aiohttp.ClientSession(f"http://{started['address']}") as http:
            async with http.get("/readyz") as answer:
                assert answer.status == 200, await answer.text()
            async with http.get("/metrics") as answer:
                metrics = await answer.text()
        assert process.end() == 0
    assert f'consumer_reads{{group="analytics",stream="{STREAM}"}} 1.0' in metrics
    connection = await asyncpg.connect(empty_database)
    rows = await connection.fetch(
        "SELECT entity, operation, sum(events)::integer AS events FROM analytics.event_count"
        " GROUP BY entity, operation"
    )
    saved = await PostgresCheckpoint(connection).load("analytics", STREAM)  # type: ignore[arg-type]
    await connection.close()
    counted = {(row["entity"], row["operation"]): row["events"] for row in rows}
    assert counted == Counter((event["entity"], event["operation"]) for event in events)
    assert str(saved) == id_of(EVENTS)


async def test_engagement_scores_each_event_once_when_killed_between_effect_and_acknowledgement(
    redis: Redis, redis_url: str, tmp_path: Path
) -> None:
    events = await publish(redis)
    environment = {"REDIS_URL": redis_url}
    log = tmp_path / "engagement.log"
    with running(log, environment, str(DYING), "engagement", "700") as dying:
        assert dying.ended() == -9
    with running(log, environment, "-m", "consumer", "engagement") as process:
        await eventually(all_acknowledged(redis, "engagement"))
        assert process.end() == 0
    expected: Counter[str] = Counter()
    for event in events:
        entity = f"{event['entity']}:{event['entityId']}"
        if event["operation"] == "delete":
            del expected[entity]
        elif event["entity"] != "category":
            expected[entity] += 1
    client: Any = redis
    assert dict(await client.zrange(KEY, 0, -1, withscores=True)) == expected
