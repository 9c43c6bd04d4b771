"""The rights that the documents give to a consumer are enough, and keep it off the stream."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from consumed import STREAM, publish
from one_consumer import QUICK, consuming, pending
from publishing import eventually
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from consumer import reports
from consumer.event import Event
from consumer.letters.dead_letters import DeadLetters
from consumer.letters.requests import Requests, Wish
from process.redis.connection import client

OPERATIONS = Path(__file__).resolve().parents[2] / "docs/operations.md"


@pytest.fixture
async def as_consumer(redis: Redis, redis_url: str) -> AsyncIterator[Redis]:
    """A client of a user that may do what the documents say, and nothing else."""
    [rights] = re.findall(
        r"^ACL SETUSER catalog-consumer on >… (.*)$", OPERATIONS.read_text("utf-8"), re.MULTILINE
    )
    selectors = re.findall(r"\(.*?\)", rights)
    words = re.sub(r"\(.*?\)", "", rights).split() + selectors
    admin: Any = redis
    await admin.execute_command("ACL", "SETUSER", "catalog-consumer", "on", ">s", *words)
    joint = "&" if "?" in redis_url else "?"
    async with client(f"{redis_url}{joint}username=catalog-consumer&password=s") as user:
        yield user
    await admin.execute_command("ACL", "DELUSER", "catalog-consumer")


async def test_the_documented_rights_are_enough_to_consume_and_to_set_aside(
    redis: Redis, as_consumer: Redis
) -> None:
    ids = await publish(redis, "a", "b")

    async def handler(event: Event) -> None:
        if event.entity_id == "a":
            raise ValueError

    async def is_level() -> bool:
        groups = await redis.xinfo_groups(STREAM)
        return bool(groups) and not await pending(redis) and await letters.count() == 1

    letters = DeadLetters(as_consumer, STREAM, "g")
    async with consuming(as_consumer, handler=handler, options=QUICK) as seen:
        await eventually(is_level)
        await Requests(as_consumer, STREAM, "g").ask(Wish.DISCARD, ids[:1])
        await seen.until(lambda: bool(seen.of(reports.Lag)))
        await seen.until(lambda: any(not one.letters for one in seen.of(reports.Waiting)))
    assert seen.of(reports.Away) == []
    assert await Requests(redis, STREAM, "g").open() == {}


@pytest.mark.parametrize("stream", [STREAM, f"{STREAM}:{{0}}"])
async def test_a_consumer_may_not_write_to_the_stream(as_consumer: Redis, stream: str) -> None:
    user: Any = as_consumer
    for command in (("XADD", stream, "*", "a", "b"), ("XDEL", stream, "1-1"), ("DEL", stream)):
        with pytest.raises(NoPermissionError):
            await user.execute_command(*command)
