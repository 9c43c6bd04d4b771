"""What a group sets aside stays in order, with all that is needed to mend it, and no more."""

import pytest
from consumed import STREAM, event, fields_of
from redis.asyncio import Redis

from consumer.letters.dead_letters import DeadLetters, Failure, Reason, first_line, traceback_digest
from outbox.errors import StreamUnavailable
from process.redis.connection import client


def raised(error: Exception, *, deeper: bool = False) -> Exception:
    """*error* as it comes out of a handler."""

    def handler() -> None:
        raise error

    def another() -> None:
        handler()

    try:
        another() if deeper else handler()
    except Exception as exc:  # noqa: BLE001 - all of them
        return exc
    raise AssertionError


def test_a_digest_is_of_the_place_and_not_of_what_was_said() -> None:
    one, other = raised(ValueError("id 1")), raised(ValueError("id 2"))
    assert traceback_digest(one) == traceback_digest(other)
    assert traceback_digest(one) != traceback_digest(raised(KeyError("id 1")))
    assert traceback_digest(one) != traceback_digest(raised(ValueError("id 1"), deeper=True))


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("no\nsuch thing"), "ValueError: no"),
        (ValueError(), "ValueError"),
        (ValueError("x" * 1000), "ValueError: " + "x" * 187 + "…"),
    ],
)
def test_of_an_error_only_its_type_and_first_line_are_kept(error: Exception, line: str) -> None:
    assert first_line(error) == line


@pytest.mark.parametrize("decode", [True, False])
async def test_a_dead_letter_has_the_entrys_fields_and_why_it_was_set_aside(
    redis_url: str, *, decode: bool
) -> None:
    error = raised(ValueError("no"))
    async with Redis.from_url(redis_url, decode_responses=decode) as redis:
        letters = DeadLetters(redis, STREAM, "g")
        await letters.add(event(1).id, fields_of(1, "a"), Failure.of(Reason.ATTEMPTS, 5, error))
        [letter] = [letter async for letter in letters.letters()]
    assert letter.event_id == event(1).id
    assert letter.fields == {
        "type": "catalog.updated",
        "entity": "series",
        "entityId": "a",
        "operation": "update",
        "timestamp": event(1).timestamp,
        "payload": '{"slug": "a", "number": 1}',
    }
    digest = traceback_digest(error)
    assert letter.failure == Failure(Reason.ATTEMPTS, 5, "ValueError: no", digest)
    assert letter.failed_at.endswith("Z")


async def test_letters_come_in_the_order_they_were_set_aside_page_by_page(redis: Redis) -> None:
    letters = DeadLetters(redis, STREAM, "g")
    for number in range(450):
        await letters.add(event(number).id, fields_of(number, "a"), Failure(Reason.PARKED, 0))
    found = [letter async for letter in letters.letters()]
    assert [letter.event_id for letter in found] == [event(number).id for number in range(450)]
    assert await letters.count() == 450
    later = [letter.event_id async for letter in letters.letters(found[440].id)]
    assert later == [letter.event_id for letter in found[441:]]
    await letters.remove(found[3].id)
    assert await letters.get(found[3].id) is None
    assert await letters.get(found[4].id) == found[4]


async def test_an_entity_waits_for_the_first_of_its_dead_letters(redis: Redis) -> None:
    letters = DeadLetters(redis, STREAM, "g")
    for event_id in ("1-0", "2-0"):
        await letters.park("a", event_id)
    assert await letters.parked() == {"a": "1-0"}
    await letters.unpark("a")
    assert await letters.parked() == {}


async def test_a_redis_that_is_away_is_said_in_our_words() -> None:
    async with client("redis://127.0.0.1:1") as nowhere:
        with pytest.raises(StreamUnavailable):
            await DeadLetters(nowhere, STREAM, "g").count()
