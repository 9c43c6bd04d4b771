"""What happens to a Redis that stays up: what it forgets, what it refuses, who disturbs it."""

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from chaos_faults import Fault, Strike
from chaos_world import World, admin_of, signal_server
from redis.exceptions import RedisError, ResponseError

from embedded.valkey import Valkey

FOREIGN = "somebody-else"
"""The type of an entry that is not ours."""


def forgetting(*command: str) -> Strike:
    """Something is gone, and nobody is told."""

    @asynccontextmanager
    async def strike(world: World, dice: random.Random) -> AsyncIterator[None]:
        words = [dice.choice(world.keys) if word == "KEY" else word for word in command]
        async with admin_of(world.store) as redis:
            await redis.execute_command(*words)
        yield

    return strike


def told(to_strike: list[str], to_heal: list[str]) -> Strike:
    """It is told to refuse, and later not to."""

    @asynccontextmanager
    async def strike(world: World, dice: random.Random) -> AsyncIterator[None]:
        assert dice
        server = world.store
        try:
            async with admin_of(server) as redis:
                await redis.execute_command(*to_strike)
            yield
        finally:
            await world.heal(server, lambda redis: redis.execute_command(*to_heal))

    return strike


def configured(name: str, value: str, healthy: str) -> Strike:
    """A setting that makes it refuse."""
    return told(["CONFIG", "SET", name, value], ["CONFIG", "SET", name, healthy])


@asynccontextmanager
async def another_password(world: World, dice: random.Random) -> AsyncIterator[None]:
    """The default user has a password now, and everybody has to come in again."""
    assert dice
    server = world.store
    try:
        async with admin_of(server) as redis:
            await redis.execute_command("ACL", "SETUSER", "default", ">new")
            await redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        yield
    finally:
        await world.heal(
            server, lambda redis: redis.execute_command("ACL", "SETUSER", "default", "nopass")
        )


@asynccontextmanager
async def unable_to_save(world: World, dice: random.Random) -> AsyncIterator[None]:
    assert dice
    async with world.store_lock:
        server = world.store
        # A folder where the file should go.
        file = server.home / "dump.rdb"
        file.unlink(missing_ok=True)
        (file / "x").mkdir(parents=True)
        try:
            async with admin_of(server) as redis:
                await redis.config_set("save", "3600 1")
                await redis.bgsave()
            yield
        finally:
            (file / "x").rmdir()
            file.rmdir()
            await world.heal(server, lambda redis: redis.config_set("save", ""))


@asynccontextmanager
async def busy(world: World, dice: random.Random) -> AsyncIterator[None]:
    """Somebody runs a script that does not end."""
    assert dice
    server = world.store
    async with admin_of(server) as redis:
        await redis.config_set("busy-reply-threshold", "50")
    loop = asyncio.create_task(_loop(server))
    try:
        yield
    finally:
        await world.heal(server, _end_script)
        await loop


async def _loop(server: Valkey) -> None:
    with suppress(RedisError, OSError):
        async with admin_of(server) as redis:
            await redis.eval("while true do end", 0)


async def _end_script(redis: Any) -> None:  # noqa: ANN401 - as admin_of gives it
    try:
        await redis.script_kill()
    except ResponseError as exc:
        if "NOTBUSY" not in str(exc) and "No scripts" not in str(exc):
            raise


@asynccontextmanager
async def another_type(world: World, dice: random.Random) -> AsyncIterator[None]:
    """The stream is gone, and something else has its name."""
    server, key = world.store, dice.choice(world.keys)
    try:
        async with admin_of(server) as redis, redis.pipeline(transaction=True) as both:
            both.delete(key)
            both.set(key, "mine")
            await both.execute()
        yield
    finally:
        await world.heal(server, lambda redis: redis.delete(key))


@asynccontextmanager
async def frozen(world: World, dice: random.Random) -> AsyncIterator[None]:
    """It keeps every connection and answers nothing."""
    assert dice
    server = world.store
    signal_server(server, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_server(server, signal.SIGCONT)


async def write_foreign(world: World, dice: random.Random) -> None:
    """Somebody else writes to the stream, by a clock that may be ahead."""
    ms = int(time.time() * 1000) + dice.choice([0, 0, 3000])
    async with admin_of(world.store) as redis:
        with suppress(ResponseError):
            await redis.xadd(dice.choice(world.keys), {"type": FOREIGN, "x": "y"}, id=f"{ms}-*")
            world.counts["foreign entries"] += 1


LOSSES = [
    Fault("DEL of the stream", forgetting("DEL", "KEY")),
    Fault("FLUSHALL", forgetting("FLUSHALL")),
]
FAULTS = [
    Fault("SCRIPT FLUSH", forgetting("SCRIPT", "FLUSH")),
    Fault("connections cut", forgetting("CLIENT", "KILL", "TYPE", "normal")),
    Fault("OOM", configured("maxmemory", "1mb", "0"), (0.3, 3)),
    Fault("READONLY", told(["REPLICAOF", "127.0.0.1", "1"], ["REPLICAOF", "NO", "ONE"]), (0.3, 3)),
    Fault("NOREPLICAS", configured("min-replicas-to-write", "3", "0"), (0.3, 2)),
    Fault("MISCONF", unable_to_save, (0.5, 3)),
    Fault("BUSY", busy, (0.3, 3)),
    Fault("WRONGTYPE", another_type, (0.3, 2)),
    Fault(
        "NOPERM",
        told(["ACL", "SETUSER", "default", "-evalsha"], ["ACL", "SETUSER", "default", "+@all"]),
        (0.3, 2),
    ),
    Fault(
        "NOPERM inside the script",
        told(["ACL", "SETUSER", "default", "-xadd"], ["ACL", "SETUSER", "default", "+@all"]),
        (0.3, 2),
    ),
    Fault("NOAUTH", another_password, (0.3, 2)),
    Fault("Redis SIGSTOP", frozen, (0.3, 4)),
]
