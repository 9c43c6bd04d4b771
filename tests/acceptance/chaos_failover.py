"""What happens to a Redis that does not stay up, and on the way to it."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from chaos_faults import Fault, Strike
from chaos_world import OutOfReach, World, admin_of
from faulty_proxy import Cut, Message, pass_on
from redis.exceptions import RedisError
from wire import Side

from embedded.valkey import Valkey

_SYNC_WITHIN_S = 5.0


def _forget_file(server: Valkey) -> None:
    file = server.home / "dump.rdb"
    if file.is_file():
        file.unlink()


@asynccontextmanager
async def restarted_empty(world: World, dice: random.Random) -> AsyncIterator[None]:
    async with world.store_lock:
        assert dice
        try:
            await asyncio.to_thread(world.store.kill)
            _forget_file(world.store)
            yield
        finally:
            await asyncio.to_thread(world.store.start)


@asynccontextmanager
async def restarted_from_older_file(world: World, dice: random.Random) -> AsyncIterator[None]:
    async with world.store_lock:
        async with admin_of(world.store) as redis:
            await redis.save()
        try:
            # What is appended from now on will be lost.
            await asyncio.sleep(dice.uniform(0, 2))
            await asyncio.to_thread(world.store.kill)
            yield
        finally:
            await asyncio.to_thread(world.store.start)
            _forget_file(world.store)


@asynccontextmanager
async def failed_over(world: World, dice: random.Random) -> AsyncIterator[None]:
    """The replica is promoted; in two of three cases it has not received what came last."""
    async with world.store_lock:
        old, new = world.store, world.spare
        _forget_file(new)
        await asyncio.to_thread(new.start)
        try:
            async with admin_of(new) as replica:
                await replica.execute_command("REPLICAOF", "127.0.0.1", str(old.port))
                async with asyncio.timeout(_SYNC_WITHIN_S):
                    while (await replica.info("replication"))["master_link_status"] != "up":  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
                await asyncio.sleep(dice.uniform(0, 0.5))
                if dice.random() < 2 / 3:
                    await replica.execute_command("REPLICAOF", "NO", "ONE")
                    await asyncio.sleep(dice.uniform(0.1, 1.5))
                await asyncio.to_thread(old.kill)
                await replica.execute_command("REPLICAOF", "NO", "ONE")
        except (TimeoutError, RedisError):
            await asyncio.to_thread(old.start)
            await asyncio.to_thread(new.kill)
            raise OutOfReach from None
        yield
        world.store, world.spare = new, old
        world.proxy.target = new.socket_path
        world.proxy.cut()


def _hooked(
    hook: Callable[[random.Random], Callable[[Message], Awaitable[None]]],
) -> Strike:
    @asynccontextmanager
    async def strike(world: World, dice: random.Random) -> AsyncIterator[None]:
        async with world.proxy_lock:
            world.proxy.hook = hook(dice)
            try:
                yield
            finally:
                world.proxy.hook = pass_on

    return strike


def cut_in_replies(dice: random.Random) -> Callable[[Message], Awaitable[None]]:
    """Of every few answers to an append half is passed on, and then the line is cut."""

    async def hook(message: Message) -> None:
        if message.side is Side.SERVER and message.name == "EVALSHA" and dice.random() < 0.3:
            await message.send(message.data[: len(message.data) // 2])
            raise Cut
        await message.pass_on()

    return hook


def cut_in_requests(dice: random.Random) -> Callable[[Message], Awaitable[None]]:
    """Of every few appends only half reaches the server."""

    async def hook(message: Message) -> None:
        if message.side is Side.CLIENT and message.name == "EVALSHA" and dice.random() < 0.3:
            await message.send(message.data[: len(message.data) // 2])
            raise Cut
        await message.pass_on()

    return hook


def silent(dice: random.Random) -> Callable[[Message], Awaitable[None]]:
    """Some appends are made, and the answer never comes."""

    async def hook(message: Message) -> None:
        if message.side is Side.SERVER and message.name == "EVALSHA" and dice.random() < 0.3:
            return
        await message.pass_on()

    return hook


LOSSES = [
    Fault("restart without persistence", restarted_empty, (0, 1)),
    Fault("kill -9, restart from an older RDB", restarted_from_older_file, (0, 1)),
    Fault("failover without the tail", failed_over, (0, 1)),
]
FAULTS = [
    Fault("line cut in a reply", _hooked(cut_in_replies), (0.5, 3)),
    Fault("line cut in a request", _hooked(cut_in_requests), (0.5, 3)),
    Fault("reply never comes", _hooked(silent), (0.5, 3)),
]
