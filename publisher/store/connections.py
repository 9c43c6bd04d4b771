"""How the publisher's connections are opened."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, assert_never, cast

import asyncpg
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from outbox import connection
from outbox.errors import BadSetting
from publisher.store.redis_clients import ClusterClient, SentinelClient, ServerClient
from publisher.store.redis_url import Form, RedisUrl

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from publisher.settings import Settings

_CONNECT_TIMEOUT_S = 5.0
_COMMAND_TIMEOUT_S = 60.0
_APPEND_TIMEOUT_S = 15.0
_SENTINEL_TIMEOUT_S = 1.0


def postgres_pool(settings: Settings) -> asyncpg.Pool:
    """A pool that connects when it is first used, so that a server may still be away."""
    return asyncpg.create_pool(
        settings.database_url,
        min_size=0,
        # A worker for each partition, what they read ahead, and the rest.
        max_size=settings.partitions + 5,
        timeout=_CONNECT_TIMEOUT_S,
        command_timeout=_COMMAND_TIMEOUT_S,
        reset=_leave_as_it_is,
        server_settings=connection.SETTINGS | {"application_name": "catalog-publisher"},
    )


async def _leave_as_it_is(_: asyncpg.Connection) -> None:
    """Nothing to reset: we leave no state behind, and a reset is a round trip for each call."""


async def postgres_listener(settings: Settings) -> asyncpg.Connection:
    """One connection outside the pool, to listen on. Raises asyncpg's errors."""
    return await asyncpg.connect(
        settings.database_url,
        timeout=_CONNECT_TIMEOUT_S,
        command_timeout=_CONNECT_TIMEOUT_S,
        server_settings={"application_name": "catalog-publisher-bell"},
    )


def redis_client(settings: Settings) -> Redis:
    """A client that never sends a command twice: whether an append was applied is for us to ask.

    It connects when it is first used. A cluster's client is no Redis to redis-py's types, but it
    has the same commands. Raises BadSetting.
    """
    url = RedisUrl.parse(settings.redis_url)
    common: dict[str, Any] = {
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": _CONNECT_TIMEOUT_S,
        "socket_timeout": _APPEND_TIMEOUT_S,
        "decode_responses": True,
        # An entry of somebody else's may hold any bytes.
        "encoding_errors": "backslashreplace",
        # On such a notice redis-py would change time-outs and addresses on its own.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        **url.options,
        **_tls(url),
    }
    match url.form:
        case Form.SERVER:
            [(host, port)] = url.hosts
            return ServerClient(host=host, port=port, db=url.db, **common)
        case Form.SOCKET:
            return ServerClient(unix_socket_path=url.path, db=url.db, **common)
        case Form.SENTINEL:
            return _primary(url, common)
        case Form.CLUSTER:
            nodes = [ClusterNode(host, port) for host, port in url.hosts]
            cluster = ClusterClient(
                startup_nodes=nodes, require_full_coverage=False, reinitialize_steps=0, **common
            )
            return cast("Redis", cluster)
        case _:
            assert_never(url.form)


def _primary(url: RedisUrl, options: dict[str, Any]) -> Redis:
    known = {name: options[name] for name in options if name not in ("username", "password")}
    known |= {"socket_timeout": _SENTINEL_TIMEOUT_S} | url.sentinel_options
    sentinels = Sentinel(url.hosts, sentinel_kwargs=known)  # type: ignore[no-untyped-call]
    primary: Redis = sentinels.master_for(
        url.service, redis_class=SentinelClient, db=url.db, **options
    )
    return primary


def _tls(url: RedisUrl) -> dict[str, Any]:
    if not url.tls:
        return {}
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        path = url.options.get(name)
        if path and not os.access(str(path), os.R_OK):
            raise BadSetting(f"REDIS_URL names {path} as {name}, which cannot be read")
    # Python refuses to check the name of a certificate that it does not check.
    unchecked = url.options.get("ssl_cert_reqs") == "none"
    return {"ssl": True} | ({"ssl_check_hostname": False} if unchecked else {})
