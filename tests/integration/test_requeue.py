"""A dead letter can be handled once more, or given up, and nothing of its entity overtakes it."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from consumed import STREAM, fields_of, publish
from one_consumer import QUICK, consuming, pending
from publishing import eventually
from redis.asyncio import Redis

from consumer import reports
from consumer.errors import Reject
from consumer.event import Event
from consumer.letters.dead_letters import DeadLetters, Failure, Reason
from consumer.letters.requests import Requests, Wish
from consumer.settings import AfterDeadLetter

PARK = replace(QUICK, after_dead_letter=AfterDeadLetter.PARK)


class Shop:
    """A handler that cannot take the events in *poison*, and remembers those that it took."""

    def __init__(self, *poison: str) -> None:
        self.poison = poison
        self.taken: list[str] = []

    async def handle(self, event: Event) -> None:
        if event.id in self.poison:
            raise ValueError(f"cannot take {event.id}")
        self.taken.append(event.id)


class Desk:
    """What on-call has of the dead letters."""

    def __init__(self, redis: Redis) -> None:
        self._letters = DeadLetters(redis, STREAM, "g")
        self._requests = Requests(redis, STREAM, "g")

    async def letters(self) -> list[tuple[str, str]]:
        return [
            (letter.event_id, letter.failure.reason) async for letter in self._letters.letters()
        ]

    async def ids(self) -> list[str]:
        return [event_id for event_id, _ in await self.letters()]

    async def parked(self) -> dict[str, str]:
        return await self._letters.parked()

    async def ask(self, wish: Wish, *event_ids: str) -> dict[str, str]:
        """Ask, and wait until it is done; what failed again."""
        await self._requests.ask(wish, event_ids)

        async def is_done() -> bool:
            return not await self._requests.open()

        await eventually(is_done)
        return await self._requests.failures()


@pytest.fixture
def desk(redis: Redis) -> Desk:
    return Desk(redis)


async def handled(redis: Redis, *ids: str) -> None:
    """Return once all of *ids* are acknowledged."""

    async def are() -> bool:
        client: Any = redis
        info = await client.xinfo_groups(STREAM)
        is_read = bool(info) and info[0]["last-delivered-id"] >= max(ids)
        return is_read and not await pending(redis)

    await eventually(are)


async def test_an_event_is_set_aside_before_it_is_acknowledged(redis: Redis, desk: Desk) -> None:
    [poison] = await publish(redis, "a")
    shop = Shop(poison)
    # Redis refuses to add to what is no stream.
    await redis.set(f"{STREAM}:dead-letter:g", "in the way")
    async with consuming(redis, handler=shop.handle) as seen:
        await seen.until(lambda: len(seen.of(reports.Retried)) > 5)
        assert await pending(redis) == [poison]
        await redis.delete(f"{STREAM}:dead-letter:g")
        await handled(redis, poison)
    assert await desk.letters() == [(poison, Reason.ATTEMPTS)]


async def test_a_rejected_event_is_set_aside_at_once_with_its_reason(
    redis: Redis, desk: Desk
) -> None:
    async def handler(event: Event) -> None:
        raise Reject(f"there is no {event.entity_id}")

    ids = await publish(redis, "a")
    async with consuming(redis, handler=handler) as seen:
        await handled(redis, *ids)
    assert seen.of(reports.Retried) == []
    assert await desk.letters() == [(ids[0], Reason.REJECTED)]


async def test_after_a_skipped_event_those_behind_it_are_handled_and_it_can_come_again(
    redis: Redis, desk: Desk
) -> None:
    ids = await publish(redis, "a", "a", "b")
    shop = Shop(ids[0])
    async with consuming(redis, handler=shop.handle):
        await handled(redis, *ids)
        assert sorted(shop.taken) == ids[1:]
        assert await desk.ask(Wish.REQUEUE, ids[0]) == {ids[0]: f"ValueError: cannot take {ids[0]}"}
        assert await desk.ids() == [ids[0]]
        shop.poison = ()
        assert await desk.ask(Wish.REQUEUE, ids[0]) == {}
    assert shop.taken[-1] == ids[0]
    assert await desk.letters() == []


async def test_a_parked_entity_waits_and_comes_back_in_order(redis: Redis, desk: Desk) -> None:
    ids = await publish(redis, "a", "b", "a", "a")
    shop = Shop(ids[0])
    async with consuming(redis, handler=shop.handle, options=PARK):
        await handled(redis, *ids)
        assert shop.taken == [ids[1]]
        assert await desk.letters() == [
            (ids[0], Reason.ATTEMPTS),
            (ids[2], Reason.PARKED),
            (ids[3], Reason.PARKED),
        ]
        assert await desk.parked() == {"a": ids[0]}

        # It fails again: what is behind it is not even tried.
        failed = await desk.ask(Wish.REQUEUE, *await desk.ids())
        assert sorted(failed) == await desk.ids()
        assert shop.taken == [ids[1]]

        # Whichever of them is asked for, they come in order; and then the entity flows again.
        shop.poison = ()
        assert await desk.ask(Wish.REQUEUE, ids[3]) == {}
        assert await desk.parked() == {}
        ids += await publish(redis, "a", first=10)
        await handled(redis, *ids)
    assert shop.taken == [ids[1], ids[0], *ids[2:]]
    assert await desk.letters() == []


async def test_what_comes_while_a_parked_entity_is_requeued_comes_after_it(
    redis: Redis, desk: Desk
) -> None:
    ids = await publish(redis, "a", "a")
    shop, begun, go_on = Shop(ids[0]), asyncio.Event(), asyncio.Event()

    async def slow(event: Event) -> None:
        if not shop.poison:
            begun.set()
            await go_on.wait()
        await shop.handle(event)

    async with consuming(redis, handler=slow, options=PARK):
        await handled(redis, *ids)
        shop.poison = ()
        asking = asyncio.create_task(desk.ask(Wish.REQUEUE, ids[0]))
        await begun.wait()
        ids += await publish(redis, "a", "a", first=10)
        go_on.set()
        await asking
        await handled(redis, *ids)
    assert shop.taken == ids
    assert await desk.parked() == {}


async def test_a_discarded_event_is_gone_and_its_entity_flows_when_none_is_left(
    redis: Redis, desk: Desk
) -> None:
    ids = await publish(redis, "a", "a", "a")
    shop = Shop(ids[0])
    async with consuming(redis, handler=shop.handle, options=PARK):
        await handled(redis, *ids)
        await desk.ask(Wish.DISCARD, ids[0])
        assert await desk.ids() == ids[1:]
        assert await desk.parked() == {"a": ids[0]}
        await desk.ask(Wish.DISCARD, *ids)
        assert await desk.letters() == []
        assert await desk.parked() == {}
        ids += await publish(redis, "a", first=10)
        await handled(redis, *ids)
    assert shop.taken == ids[3:]


async def test_another_member_knows_who_is_parked_and_does_what_was_asked_before(
    redis: Redis, desk: Desk
) -> None:
    ids = await publish(redis, "a")
    shop = Shop(ids[0])
    async with consuming(redis, handler=shop.handle, options=PARK):
        await handled(redis, *ids)
    await Requests(redis, STREAM, "g").ask(Wish.REQUEUE, [ids[0]])
    ids += await publish(redis, "a", first=10)
    shop.poison = ()
    async with consuming(redis, handler=shop.handle, options=PARK):
        await handled(redis, *ids)

        async def is_done() -> bool:
            return not await desk.parked()

        await eventually(is_done)
    assert shop.taken == ids


async def test_what_is_set_aside_before_its_entitys_turn_comes_is_requeued_too(
    redis: Redis, desk: Desk
) -> None:
    ids = await publish(redis, "a")
    shop, begun, go_on = Shop(ids[0]), asyncio.Event(), asyncio.Event()

    async def slow(event: Event) -> None:
        if event.entity_id == "b":
            begun.set()
            await go_on.wait()
        await shop.handle(event)

    async with consuming(redis, handler=slow, options=PARK, lanes=1) as seen:
        await handled(redis, *ids)
        # The one lane is at another entity, and has one of the parked entity behind that.
        ids += await publish(redis, "b", "a", first=10)
        await begun.wait()
        shop.poison = ()
        asking = asyncio.create_task(desk.ask(Wish.REQUEUE, ids[0]))
        counted = len(seen.of(reports.Lag))
        await seen.until(lambda: len(seen.of(reports.Lag)) > counted)
        go_on.set()
        await asking
        await handled(redis, *ids)
    assert shop.taken == [ids[1], ids[0], ids[2]]
    assert await desk.letters() == []
    assert await desk.parked() == {}


async def test_an_event_that_was_set_aside_twice_is_handled_once(redis: Redis, desk: Desk) -> None:
    ids = await publish(redis, "a", "a", "a")
    shop = Shop(ids[0])
    async with consuming(redis, handler=shop.handle, options=PARK):
        await handled(redis, *ids)
        # As by a member that was killed before it could acknowledge.
        letters = DeadLetters(redis, STREAM, "g")
        await letters.add(ids[1], fields_of(2, "a"), Failure(Reason.PARKED, 0))
        shop.poison = ()
        await desk.ask(Wish.REQUEUE, ids[0])
    assert shop.taken == ids
    assert await desk.letters() == []


async def test_an_entity_that_waits_for_no_dead_letter_waits_no_longer(
    redis: Redis, desk: Desk
) -> None:
    # Whoever settled the last one was killed before it could say so.
    await DeadLetters(redis, STREAM, "g").park("a", "1-0")
    ids = await publish(redis, "a")
    shop = Shop()
    async with consuming(redis, handler=shop.handle, options=PARK):
        await handled(redis, *ids)
    assert shop.taken == ids
    assert await desk.parked() == {}
