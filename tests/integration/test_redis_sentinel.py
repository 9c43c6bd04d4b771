"""A primary, its replica and a Sentinel: the appends go on where the service goes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from appending import as_entries, batch, client_of, deliver
from publishing import KEY, entries, eventually
from redis.asyncio import Redis
from redis_servers import REPLICATED, SentinelServer, free_port, running, started

from embedded.valkey import Valkey
from outbox.errors import StreamRefused, StreamUnavailable
from outbox.position import ORIGIN
from publisher.store.server_check import check_server
from publisher.store.stream import EventStream

BATCHES = [batch((ms, 0, 3)) for ms in range(5, 55)]
FIRST, SECOND, *_ = BATCHES
ALL = [event for each in BATCHES for event in each]
SERVICE = "catalog"
PASSWORD, SENTINEL_PASSWORD = "of-redis", "of-sentinel"


@dataclass(frozen=True)
class Service:
    """What a Sentinel looks after."""

    primary: Valkey
    replica: Valkey
    sentinel: SentinelServer

    @property
    def url(self) -> str:
        """With a Sentinel first that is away."""
        hosts = f"127.0.0.1:{free_port()},127.0.0.1:{self.sentinel.port}"
        return (
            f"redis+sentinel://:{PASSWORD}@{hosts}/{SERVICE}"
            f"?sentinel_password={SENTINEL_PASSWORD}&socket_timeout=2"
        )

    async def say(self, server: Valkey, *words: str | int) -> Any:  # noqa: ANN401
        password = SENTINEL_PASSWORD if server is self.sentinel else PASSWORD
        url = f"{server.url}?password={password}"
        async with Redis.from_url(url, decode_responses=True) as client:
            raw: Any = client
            return await raw.execute_command(*words)

    async def follows(self, server: Valkey) -> bool:
        """Whether *server* is a replica and has caught up."""
        role = await self.say(server, "ROLE")
        return bool(role[0] == "slave" and role[3] == "connected")

    async def is_known(self) -> bool:
        """Whether the Sentinel could make the replica the primary."""
        replicas = await self.say(self.sentinel, "SENTINEL", "REPLICAS", SERVICE)
        return bool(replicas) and replicas[0]["master-link-status"] == "ok"


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """The Sentinel knows the replica, and the replica has all that the primary has."""
    settings = REPLICATED | {"requirepass": PASSWORD, "masterauth": PASSWORD}
    primary_port = free_port()
    lines = (
        f"sentinel monitor {SERVICE} 127.0.0.1 {primary_port} 1",
        f"sentinel auth-pass {SERVICE} {PASSWORD}",
        f"sentinel down-after-milliseconds {SERVICE} 200",
        f"sentinel failover-timeout {SERVICE} 1000",
        f"requirepass {SENTINEL_PASSWORD}",
    )
    sentinel = SentinelServer(tmp_path / "sentinel", port=free_port(), lines=lines)
    with (
        running(tmp_path / "primary", settings, port=primary_port) as primary,
        running(tmp_path / "replica", settings, port=free_port()) as replica,
    ):
        service = Service(primary, replica, sentinel)
        await service.say(replica, "REPLICAOF", "127.0.0.1", primary_port)
        await eventually(lambda: service.follows(replica))
        # Only now: it asks the primary for its replicas at once, and then every ten seconds.
        with started(sentinel):
            await eventually(service.is_known)
            yield service


@pytest.fixture
async def redis(service: Service) -> AsyncIterator[Redis]:
    async with client_of(service.url) as client:
        yield client


async def test_the_primary_is_found_and_strangers_are_told_apart(
    service: Service, redis: Redis
) -> None:
    assert await deliver(EventStream(redis, KEY), BATCHES) == []
    assert await entries(redis) == as_entries(ALL)
    assert await service.say(service.primary, "XLEN", KEY) == len(ALL)
    assert {one.name for one in await check_server(redis, [KEY])} == {"memory", "persistence"}
    url = service.url
    assert await top_of(url.replace(PASSWORD, "wrong")) == (
        "Redis refused to append: WRONGPASS invalid username-password pair or user is disabled."
    )
    nobody = "Redis is away: no Sentinel knows a primary that is up"
    assert await top_of(url.replace(f"/{SERVICE}?", "/other?")) == nobody
    assert await top_of(url.replace(SENTINEL_PASSWORD, "wrong")) == (
        f"{nobody}; one of them refused the password"
    )


async def top_of(url: str) -> str:
    """Why the stream's end is not told."""
    async with client_of(url) as stranger:
        with pytest.raises((StreamUnavailable, StreamRefused)) as refused:
            await EventStream(stranger, KEY).top()
    return str(refused.value)


async def test_appends_follow_the_service_when_its_primary_is_killed(
    service: Service, redis: Redis
) -> None:
    stream = EventStream(redis, KEY)
    await stream.append(FIRST, after=ORIGIN)
    await asyncio.to_thread(service.primary.kill)
    failures = await deliver(stream, BATCHES, pause_s=0.05)
    assert {type(failure) for failure in failures} <= {StreamUnavailable, StreamRefused}
    assert await entries(redis) == as_entries(ALL)
    assert await service.say(service.replica, "XLEN", KEY) == len(ALL)
