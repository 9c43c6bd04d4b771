"""The wire to Redis breaks at every point there is: each event is in the stream once, in order."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from appending import as_entries, batch, client_of, deliver, failure_of
from faulty_proxy import Cut, FaultyProxy, Message
from publishing import KEY, entries, eventually
from redis.asyncio import Redis
from redis_servers import IN_MEMORY, REPLICATED, Flavour, free_port, running
from wire import RedisTalk, Side

from embedded.valkey import Valkey
from outbox.errors import StreamUnavailable
from outbox.position import ORIGIN
from publisher.store.stream import EventStream

FIRST, SECOND, THIRD = batch((5, 0, 3)), batch((5, 3, 2), (6, 0, 1)), batch((6, 1, 2))
BATCHES = [FIRST, SECOND, THIRD]
ALL = [event for each in BATCHES for event in each]
TIMEOUT_S = 0.15

Fault = Callable[[Message], Awaitable[None]]


@pytest.fixture
def proxy(valkey_server: Valkey, redis_url: str) -> FaultyProxy:
    """Leads to the same server as *redis*."""
    assert redis_url == valkey_server.url
    return FaultyProxy(RedisTalk, valkey_server.socket_path)


@asynccontextmanager
async def through(proxy: FaultyProxy, folder: Path) -> AsyncIterator[EventStream]:
    """The stream as a publisher has it, at the other end of *proxy*."""
    at = folder / "proxy.sock"
    async with (
        proxy.listening(at),
        client_of(f"unix://{at}?socket_timeout={TIMEOUT_S}") as client,
    ):
        yield EventStream(client, KEY)


class Hook:
    """Has *fault* happen to message number *number*, from 0, of those that *concern* it."""

    def __init__(self, fault: Fault, concern: Callable[[Message], bool], number: int = 0) -> None:
        self._fault, self._concern, self._number = fault, concern, number
        self.seen = 0

    async def __call__(self, message: Message) -> None:
        if self._concern(message):
            self.seen += 1
            if self.seen == self._number + 1:
                await self._fault(message)
                return
        await message.pass_on()


async def cut_before(_: Message) -> None:
    raise Cut


async def cut_after(message: Message) -> None:
    await message.pass_on()
    raise Cut


async def cut_in_the_middle(message: Message) -> None:
    await stop_in_the_middle(message)
    raise Cut


async def stop_in_the_middle(message: Message) -> None:
    await message.send(message.data[: len(message.data) // 2])


async def swallow(_: Message) -> None:
    """Nobody hears of it."""


def of_appends(side: Side) -> Callable[[Message], bool]:
    return lambda message: (message.side, message.name) == (side, "EVALSHA")


FAULTS = [cut_before, cut_after, cut_in_the_middle, stop_in_the_middle, swallow]


@pytest.mark.parametrize(
    ("side", "fault"),
    [
        (side, fault)
        for side in Side
        for fault in FAULTS
        # An answer that was given is an answer.
        if (side, fault) != (Side.SERVER, cut_after)
    ],
)
async def test_an_append_without_an_answer_was_made_wholly_or_not_and_is_sent_once(
    proxy: FaultyProxy, redis: Redis, tmp_path: Path, side: Side, fault: Fault
) -> None:
    async with through(proxy, tmp_path) as stream:
        await stream.append(FIRST, after=ORIGIN)
        proxy.hook = hook = Hook(fault, of_appends(side))
        with pytest.raises(StreamUnavailable):
            await stream.append(SECOND, after=FIRST.last)
        # Nobody sent it a second time behind our back.
        assert hook.seen <= 1
        made = len(await entries(redis)) - FIRST.events
        assert made in (0, SECOND.events)
        assert (await stream.append(SECOND, after=FIRST.last)).events == SECOND.events - made
        await stream.append(THIRD, after=SECOND.last)
    assert await entries(redis) == as_entries(ALL)


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("fault", [cut_before, cut_after, cut_in_the_middle, swallow])
async def test_wherever_the_wire_breaks_the_stream_is_complete_in_the_end(
    proxy: FaultyProxy, redis: Redis, tmp_path: Path, side: Side, fault: Fault
) -> None:
    number, broke = 0, True
    while broke:
        await redis.flushall()
        await redis.script_flush()
        proxy.hook = hook = Hook(fault, lambda message: message.side is side, number)
        async with through(proxy, tmp_path) as stream:
            await deliver(stream, BATCHES)
        assert await entries(redis) == as_entries(ALL)
        broke = hook.seen > number
        number += 1
    # At least: the greeting, where the stream ends, the script, an append for each batch.
    assert number > 3 + len(BATCHES)


async def test_an_append_that_arrives_after_its_publisher_gave_up_changes_nothing(
    proxy: FaultyProxy, redis: Redis, tmp_path: Path
) -> None:
    gate = asyncio.Event()

    async def hold(message: Message) -> None:
        await gate.wait()
        await message.pass_on()

    async with through(proxy, tmp_path) as stream:
        await stream.append(FIRST, after=ORIGIN)
        proxy.hook = Hook(hold, of_appends(Side.CLIENT))
        with pytest.raises(StreamUnavailable):
            await stream.append(SECOND, after=FIRST.last)
        await stream.append(SECOND, after=FIRST.last)
        await stream.append(THIRD, after=SECOND.last)
        before = await appends_made(redis)
        gate.set()
        await eventually(lambda: are_more_than(redis, before))
    assert await entries(redis) == as_entries(ALL)


async def appends_made(redis: Redis) -> int:
    info: Any = await redis.info("commandstats")
    calls: int = info["cmdstat_evalsha"]["calls"]
    return calls


async def are_more_than(redis: Redis, before: int) -> bool:
    return await appends_made(redis) > before


@pytest.mark.parametrize("first_part", [0, 2])
async def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one(
    proxy: FaultyProxy, redis: Redis, tmp_path: Path, first_part: int
) -> None:
    gate = asyncio.Event()

    async def hold(message: Message) -> None:
        await message.send(message.data[:first_part])
        await gate.wait()
        await message.send(message.data[first_part:])

    async with through(proxy, tmp_path) as stream:
        await stream.append(FIRST, after=ORIGIN)
        proxy.hook = Hook(hold, of_appends(Side.SERVER))
        with pytest.raises(StreamUnavailable):
            await stream.append(SECOND, after=FIRST.last)
        gate.set()
        assert await stream.top() == SECOND.last
        assert await stream.append(SECOND, after=FIRST.last) == (0, SECOND.last)
    assert await entries(redis) == as_entries([*FIRST, *SECOND])


async def test_an_answer_in_two_parts_is_one_answer(
    proxy: FaultyProxy, redis: Redis, tmp_path: Path
) -> None:
    async def pause(message: Message) -> None:
        await stop_in_the_middle(message)
        await asyncio.sleep(TIMEOUT_S / 3)
        await message.send(message.data[len(message.data) // 2 :])

    async with through(proxy, tmp_path) as stream:
        proxy.hook = Hook(pause, of_appends(Side.SERVER))
        assert await stream.append(FIRST, after=ORIGIN) == (3, ORIGIN)
    assert await entries(redis) == as_entries(FIRST)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n", "TRYAGAIN"),
        (b"-MOVED 866 127.0.0.1:7001\r\n", "MOVED"),
        (b"-CLUSTERDOWN The cluster is down\r\n", "CLUSTERDOWN"),
        (b"-MISCONF Errors writing to the AOF file: No space left on device\r\n", "MISCONF"),
        (b"-SOMENEWWORD of a server to come\r\n", "SOMENEWWORD"),
        (b"?what is this\r\n", "ERR"),
    ],
)
async def test_an_answer_instead_of_an_append_is_a_reason(
    proxy: FaultyProxy, redis: Redis, tmp_path: Path, answer: bytes, reason: str
) -> None:
    async def refuse(message: Message) -> None:
        await message.answer(answer)

    async with through(proxy, tmp_path) as stream:
        await stream.append(FIRST, after=ORIGIN)
        proxy.hook = Hook(refuse, of_appends(Side.CLIENT))
        assert await failure_of(stream.append(SECOND, after=FIRST.last)) == reason
        assert await stream.append(SECOND, after=FIRST.last) == (3, FIRST.last)
    assert await entries(redis) == as_entries([*FIRST, *SECOND])


async def test_a_server_that_was_frozen_makes_each_append_that_waited_for_it_once(
    tmp_path: Path,
) -> None:
    with running(tmp_path / "frozen", IN_MEMORY) as server:
        async with client_of(f"{server.url}?socket_timeout={TIMEOUT_S}") as client:
            stream = EventStream(client, KEY)
            await stream.append(FIRST, after=ORIGIN)
            pid = int(server.pid_file.read_text())
            os.kill(pid, signal.SIGSTOP)
            try:
                for _ in range(3):
                    assert await failure_of(stream.append(SECOND, after=FIRST.last)) == "away"
            finally:
                os.kill(pid, signal.SIGCONT)
            await deliver(stream, BATCHES)
            assert await entries(client) == as_entries(ALL)


# Redis 6.2 says it in other words.
@pytest.mark.parametrize("flavour", [Flavour.VALKEY, Flavour.REDIS_6_2])
async def test_an_address_that_leads_to_a_new_primary_is_followed(
    tmp_path: Path, flavour: Flavour
) -> None:
    old_port, new_port = free_port(), free_port()
    with (
        running(tmp_path / "old", REPLICATED, flavour=flavour, port=old_port) as old,
        running(tmp_path / "new", REPLICATED, flavour=flavour, port=new_port) as new,
    ):
        proxy = FaultyProxy(RedisTalk, old.socket_path)
        async with through(proxy, tmp_path) as stream, Redis.from_url(new.url) as promoted:
            await replicate(new, old_port)
            await stream.append(FIRST, after=ORIGIN)
            await eventually(lambda: has(promoted, FIRST.events))
            await replicate(new, None)
            proxy.target = new.socket_path
            await replicate(old, new_port)
            assert await failure_of(stream.append(SECOND, after=FIRST.last)) == "READONLY"
            assert await stream.append(SECOND, after=FIRST.last) == (3, FIRST.last)
            assert await entries(promoted) == as_entries([*FIRST, *SECOND])


async def replicate(server: Valkey, port: int | None) -> None:
    where = ("NO", "ONE") if port is None else ("127.0.0.1", str(port))
    async with Redis.from_url(server.url) as client:
        raw: Any = client
        await raw.execute_command("REPLICAOF", *where)


async def has(redis: Redis, count: int) -> bool:
    return await redis.xlen(KEY) == count
