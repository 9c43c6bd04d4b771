"""How connections to Redis are opened."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, assert_never, cast

from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from outbox.errors import BadSetting
from process.redis.clients import ClusterClient, SentinelClient, ServerClient
from process.redis.url import Form, RedisUrl

if TYPE_CHECKING:
    from redis.asyncio import Redis

_CONNECT_TIMEOUT_S = 5.0
_TIMEOUT_S = 15.0
_SENTINEL_TIMEOUT_S = 1.0


def client(redis_url: str, *, timeout_s: float = _TIMEOUT_S) -> Redis:
    """A client that never sends a command twice: whether it was carried out is for us to ask.

    It connects when it is first used. A cluster's client is no Redis to redis-py's types, but it
    has the same commands. Raises BadSetting.
    """
    url = RedisUrl.parse(redis_url)
    common: dict[str, Any] = {
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": min(timeout_s, _CONNECT_TIMEOUT_S),
        "socket_timeout": timeout_s,
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
