"""The servers and the publishers that chaos falls upon, and how they are reached from behind."""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
from chaos_writers import LOST
from faulty_proxy import FaultyProxy
from processes import Publisher
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis_servers import IN_MEMORY, free_port

from embedded.postgres import Postgres
from embedded.valkey import Valkey

SCHEMA = Path(__file__).resolve().parents[2] / "schema.sql"
_ROLE = "relay"
_CHAOS = "chaos"
_ACCESS = f"user default on nopass ~* &* +@all\nuser {_CHAOS} on nopass ~* &* +@all\n"
_PAUSE_S = 0.05
_ENDS_WITHIN_S = 20.0


class OutOfReach(Exception):
    """The fault could not be brought about, because another one was in its way."""


@dataclass
class World:
    """Everything that faults happen to."""

    postgres: Postgres
    store: Valkey
    """The one that the publishers reach, through *proxy*."""
    spare: Valkey
    """Not running, but while it is made the other's replica."""
    proxy: FaultyProxy
    redis_url: str
    folder: Path
    keys: list[str]
    counts: Counter[str] = field(default_factory=Counter)
    publishers: list[Publisher] = field(default_factory=list)
    everyone: list[Publisher] = field(default_factory=list)
    """Those that have ended, too."""
    store_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Who has it may start, stop and exchange the store."""
    postgres_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    proxy_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _at_work: set[int] = field(default_factory=set)

    @property
    def dsn(self) -> str:
        """For writers, and for ourselves."""
        return self.postgres.dsn()

    def start_publisher(self) -> Publisher:
        """Start one more; its log has a file of its own."""
        self.counts["publishers started"] += 1
        environment = {
            # With the rights that a publisher is promised to do with, and no others.
            "DATABASE_URL": self.dsn.replace("postgres@", f"{_ROLE}@"),
            "REDIS_URL": self.redis_url,
            "CATALOG_EVENT_STREAM_PARTITIONS": str(len(self.keys)),
            "PUBLISHER_BATCH_SIZE": "100",
            "PUBLISHER_HTTP_ADDRESS": "off",
        }
        log_file = self.folder / f"publisher-{self.counts['publishers started']:03}.log"
        self.everyone.append(Publisher(log_file, environment))
        return self.everyone[-1]

    def take_publisher(self, dice: random.Random) -> int:
        """One that nothing else is happening to, until it is given back. Raises OutOfReach."""
        free = [n for n in range(len(self.publishers)) if n not in self._at_work]
        if not free:
            raise OutOfReach
        number = dice.choice(free)
        self._at_work.add(number)
        return number

    def give_back(self, number: int) -> None:
        """Let others happen to it."""
        self._at_work.discard(number)

    def check_publishers(self) -> None:
        """See that none has ended by itself; one that refused to start is started again."""
        for number, publisher in enumerate(self.publishers):
            if number in self._at_work or publisher.is_running:
                continue
            assert refused_to_start(publisher), f"a publisher ended by itself:\n{_tail(publisher)}"
            self.counts["publishers that refused to start"] += 1
            self.publishers[number] = self.start_publisher()

    async def sql(self, statement: str, *arguments: object) -> Any:  # noqa: ANN401
        """The one value of *statement*, asked for until there is an answer."""
        while True:
            with suppress(*LOST):
                connection = await asyncpg.connect(self.dsn, timeout=5)
                try:
                    return await connection.fetchval(statement, *arguments)
                finally:
                    connection.terminate()
            await asyncio.sleep(_PAUSE_S)

    async def heal(self, server: Valkey, command: Callable[[Any], Awaitable[object]]) -> None:
        """Have *server* do *command*, however long it takes; one that was put aside needs it not.

        A server that was started anew is healthy; to say it again does no harm.
        """
        async with asyncio.timeout(60):
            while server is self.store:
                with suppress(RedisError, OSError):
                    async with admin_of(server) as redis:
                        await command(redis)
                        return
                await asyncio.sleep(_PAUSE_S)


async def end(publisher: Publisher) -> None:
    """Ask it to end; it does so in good order, or had not begun, or had refused to."""
    has_begun = bool(publisher.text())
    code = await publisher.stop(within_s=_ENDS_WITHIN_S)
    assert code == 0 or not has_begun or refused_to_start(publisher), _tail(publisher)


def refused_to_start(publisher: Publisher) -> bool:
    """Whether it has ended because its Redis user lacked a right just then, as it is meant to."""
    return not publisher.is_running and "Redis is unfit" in publisher.text()


def admin_of(server: Valkey) -> Any:  # noqa: ANN401 - redis-py's own types fit no command
    """A client that gets in whatever the default user may do, and never sends a command twice."""
    return Redis(
        unix_socket_path=str(server.socket_path),
        username=_CHAOS,
        password="any",  # noqa: S106 - none is asked for
        decode_responses=True,
        socket_timeout=5,
        retry=Retry(NoBackoff(), 0),
    )


def stores(folder: Path) -> tuple[Valkey, Valkey]:
    """Two servers that keep nothing by themselves; the first of them runs."""
    folder.mkdir()
    access = folder / "access.acl"
    access.write_text(_ACCESS)
    settings = IN_MEMORY | {"aclfile": str(access), "repl-diskless-sync-delay": "0"}
    one, other = (Valkey(folder / name, settings, port=free_port()) for name in ("one", "two"))
    one.start()
    return one, other


async def prepare(postgres: Postgres) -> None:
    """Make the schema, and a user for publishers."""
    connection = await asyncpg.connect(postgres.dsn())
    await connection.execute(SCHEMA.read_text("utf-8"))
    await connection.execute(f"CREATE ROLE {_ROLE} LOGIN IN ROLE outbox_publisher")
    await connection.close()


def signal_server(server: Valkey | Postgres, number: signal.Signals) -> None:
    """Send *number* to the server's own process, if there is one."""
    with suppress(OSError, ValueError, IndexError):
        pid = int(server.pid_file.read_text().split()[0])
        os.kill(pid, number)


def _tail(publisher: Publisher) -> str:
    return "\n".join(publisher.text().splitlines()[-30:])
