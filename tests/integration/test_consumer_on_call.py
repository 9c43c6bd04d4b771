"""What on-call types about a consumer's dead letters, and what is answered."""

import asyncio
import json
from functools import partial
from typing import Any

import pytest
from consumed import STREAM, event, fields_of, publish
from one_consumer import QUICK, consuming
from redis.asyncio import Redis
from typer.testing import CliRunner

from consumer import reports
from consumer.__main__ import app
from consumer.event import Event
from consumer.letters.dead_letters import DeadLetters, Failure, Reason
from process import console


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words are not broken to fit, whoever has made the console first."""
    monkeypatch.setattr(console.screen, "width", 200)


async def typed(redis_url: str, *words: str) -> tuple[int, str, str]:
    """Type *words* after ``python -m consumer``: (exit code, result, notes)."""
    environment = {"REDIS_URL": redis_url}
    typing = partial(CliRunner().invoke, app, words, env=environment, catch_exceptions=False)
    # In a thread, as a command has an event loop of its own.
    result = await asyncio.to_thread(typing)
    return result.exit_code, result.stdout, result.stderr


async def set_aside(redis: Redis, *numbers: int) -> None:
    letters = DeadLetters(redis, STREAM, "g")
    for number in numbers:
        failure = Failure(Reason.ATTEMPTS, 5, "ValueError: no", "c0ffee")
        await letters.add(event(number).id, fields_of(number, "a"), failure)


async def test_dead_letters_are_listed_for_people_and_for_programs(
    redis: Redis, redis_url: str
) -> None:
    code, _, notes = await typed(redis_url, "dead-letters", "--group", "g")
    assert (code, "There are no dead letters of g." in notes) == (0, True)

    await set_aside(redis, 1)
    code, out, _ = await typed(redis_url, "dead-letters", "--group", "g")
    assert code == 0
    for word in (event(1).id, "update series a", "attempts", "ValueError: no"):
        assert word in out

    code, out, _ = await typed(redis_url, "dead-letters", "--group", "g", "--json")
    [found] = json.loads(out)
    assert code == 0
    assert found | {"failedAt": ""} == {
        "id": event(1).id,
        "stream": STREAM,
        "entity": "series",
        "entityId": "a",
        "operation": "update",
        "reason": "attempts",
        "error": "ValueError: no",
        "tracebackDigest": "c0ffee",
        "attempts": 5,
        "failedAt": "",
        "parked": False,
        "failedAgain": None,
    }


async def test_nothing_is_done_that_was_not_said_and_confirmed(
    redis: Redis, redis_url: str
) -> None:
    await set_aside(redis, 1)
    which, some = ("requeue", "--group", "g"), event(1).id
    assert (await typed(redis_url, *which))[0] == 2
    assert (await typed(redis_url, *which, "--id", "nonsense"))[0] == 2
    assert (await typed(redis_url, *which, "--id", "7-7"))[0] == 1
    code, _, notes = await typed(redis_url, *which, "--all")
    assert (code, "--yes" in notes) == (1, True)
    code, out, notes = await typed(redis_url, *which, "--id", some, "--dry-run")
    assert (code, some in out, "Nothing was changed." in notes) == (0, True, True)
    assert [key async for key in redis.scan_iter("*requests*")] == []


async def test_where_nobody_reads_it_says_so_and_it_is_done_when_somebody_does(
    redis: Redis, redis_url: str
) -> None:
    await set_aside(redis, 1)
    code, _, notes = await typed(
        redis_url, *("discard", "--group", "g", "--all", "--yes", "--within-s", "0.1")
    )
    assert (code, "Nobody reads" in notes) == (3, True)

    async def handler(_: Event) -> None:
        """Nothing comes."""

    letters = DeadLetters(redis, STREAM, "g")
    await publish(redis, "b")
    async with consuming(redis, handler=handler) as seen:
        await seen.until(lambda: any(not one.letters for one in seen.of(reports.Waiting)))
    assert await letters.count() == 0


async def test_requeued_events_are_handled_and_those_that_fail_again_are_named(
    redis: Redis, redis_url: str
) -> None:
    await set_aside(redis, 1, 2)
    taken: list[str] = []

    async def handler(one: Event) -> None:
        if one.id == event(2).id:
            raise KeyError(one.entity_id)
        taken.append(one.id)

    async with consuming(redis, handler=handler, options=QUICK):
        code, out, _ = await typed(
            redis_url, *("requeue", "--group", "g", "--all", "--yes", "--json")
        )
    said: dict[str, Any] = json.loads(out)
    assert code == 1
    assert said == {
        "found": [event(1).id, event(2).id],
        "handled": [event(1).id],
        "failedAgain": [event(2).id],
        "waiting": [],
    }
    assert taken == [event(1).id]
    _, out, _ = await typed(redis_url, "dead-letters", "--group", "g")
    assert "requeued, and again: KeyError: 'a'" in out


async def test_a_redis_that_is_away_has_an_exit_code_of_its_own() -> None:
    code, _, notes = await typed("redis://127.0.0.1:1", "dead-letters", "--group", "g")
    assert (code, "Redis is away" in notes) == (4, True)
