"""A Redis that loses what a test wants it to, behind an address that stays the same."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, assert_never

from faulty_proxy import FaultyProxy
from redis.asyncio import Redis
from redis_servers import REPLICATED, free_port, running
from wire import RedisTalk

from embedded.valkey import Valkey


class Loss(StrEnum):
    """How it comes to lose entries."""

    FLUSHALL = "FLUSHALL"
    STREAM_DELETED = "DEL of the stream"
    RESTART_WITHOUT_PERSISTENCE = "restart without persistence"
    RESTART_FROM_OLDER_RDB = "restart from an older RDB"
    REPLICA_WITHOUT_TAIL = "replica promoted without its tail"

    @property
    def keeps_what_was_saved(self) -> bool:
        """Whether it goes back to what it held at the last `save`, not to nothing."""
        return self in {Loss.RESTART_FROM_OLDER_RDB, Loss.REPLICA_WITHOUT_TAIL}


class LossyRedis:
    """Made by *lossy_redis*; *url* is where it is, whichever server that is by now."""

    def __init__(
        self, loss: Loss, proxy: FaultyProxy, primary: Valkey, replica: Valkey | None
    ) -> None:
        self.url = ""
        self.loss = loss
        self.proxy = proxy
        self._primary = primary
        self._replica = replica

    @property
    def server_url(self) -> str:
        """Of the server itself, around the proxy."""
        return self._primary.url

    async def save(self) -> None:
        """Nothing that comes after this survives the loss."""
        match self.loss:
            case Loss.RESTART_FROM_OLDER_RDB:
                async with Redis.from_url(self._primary.url) as client:
                    await client.bgsave()
                    await _until(client, lambda said: not said["rdb_bgsave_in_progress"])
            case Loss.REPLICA_WITHOUT_TAIL:
                assert self._replica is not None
                async with (
                    Redis.from_url(self._primary.url) as primary,
                    Redis.from_url(self._replica.url) as replica,
                ):
                    written = (await primary.info("replication"))["master_repl_offset"]
                    await _until(replica, lambda said: said["slave_repl_offset"] >= written)
                    await replica.execute_command("REPLICAOF", "NO", "ONE")  # type: ignore[no-untyped-call]
            case Loss.FLUSHALL | Loss.STREAM_DELETED | Loss.RESTART_WITHOUT_PERSISTENCE:
                pass
            case _:
                assert_never(self.loss)

    async def lose(self, *keys: str) -> None:
        """Go back to what was saved, or to nothing; *keys* are the streams."""
        match self.loss:
            case Loss.FLUSHALL:
                async with Redis.from_url(self._primary.url) as client:
                    await client.flushall()
            case Loss.STREAM_DELETED:
                async with Redis.from_url(self._primary.url) as client:
                    await client.delete(*keys)
            case Loss.RESTART_WITHOUT_PERSISTENCE | Loss.RESTART_FROM_OLDER_RDB:
                await asyncio.to_thread(self._primary.kill)
                await asyncio.to_thread(self._primary.start)
            case Loss.REPLICA_WITHOUT_TAIL:
                await asyncio.to_thread(self._primary.kill)
                assert self._replica is not None
                self._primary, self._replica = self._replica, None
                self.proxy.target = self._primary.socket_path
                self.proxy.cut()
            case _:
                assert_never(self.loss)


async def _until(client: Redis, holds: Callable[[dict[str, Any]], bool]) -> None:
    """Return when what INFO says *holds*."""
    while not holds(await client.info()):  # noqa: ASYNC110 - it cannot tell us
        await asyncio.sleep(0.005)


@asynccontextmanager
async def lossy_redis(loss: Loss, folder: Path) -> AsyncIterator[LossyRedis]:
    """Servers of its own, with a replica where the loss needs one."""
    async with AsyncExitStack() as opened:
        port = free_port()
        primary = opened.enter_context(running(folder / "a", REPLICATED, port=port))
        replica = None
        if loss is Loss.REPLICA_WITHOUT_TAIL:
            settings = REPLICATED | {"replicaof": f"127.0.0.1 {port}"}
            replica = opened.enter_context(running(folder / "b", settings))
        proxy = FaultyProxy(RedisTalk, primary.socket_path)
        redis = LossyRedis(loss, proxy, primary, replica)
        await opened.enter_async_context(proxy.listening(folder / "redis.sock"))
        redis.url = f"unix://{folder / 'redis.sock'}"
        yield redis
