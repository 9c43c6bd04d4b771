"""redis-py's clients, where they would keep an answer to themselves or raise outside its family."""

from __future__ import annotations

import asyncio
from typing import Any, Never, Self

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    ClusterDownError,
    ClusterError,
    RedisClusterException,
    RedisError,
    ResponseError,
    SlotNotCoveredError,
    TryAgainError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from process.redis.answers import reason_of


class ServerClient(Redis):
    """One server, by its address."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """As of Redis."""
        try:
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except ResponseError as exc:
            if reason_of(exc) == "READONLY":
                # The name may lead to another server by now: a new connection asks for it again.
                await self.connection_pool.disconnect(inuse_connections=False)
            raise


class SentinelClient(ServerClient):
    """The primary of a Sentinel service; owns the connections to the Sentinels."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """As of Redis."""
        try:
            return await super().execute_command(*args, **options)
        except MasterNotFoundError as exc:
            # Its own message is the whole configuration of each client.
            refused = (
                "; one of them refused the password" if "AuthenticationError" in str(exc) else ""
            )
            raise RedisConnectionError(f"no Sentinel knows a primary that is up{refused}") from None

    async def aclose(self, close_connection_pool: bool | None = None) -> None:  # noqa: FBT001
        """Close the connections to Redis and to the Sentinels."""
        await super().aclose(close_connection_pool)
        await self.connection_pool.sentinel_manager.aclose()  # type: ignore[attr-defined]


class ClusterClient(RedisCluster):
    """A cluster. Connects when it is first used, so that it may still be away."""

    async def __aenter__(self) -> Self:
        """Nothing is opened yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close everything."""
        await self.close_all()

    async def close_all(self) -> None:
        """Close everything, also what was open when the layout was found to be out of date."""
        await self.aclose()
        await self.nodes_manager.aclose()
        await self.nodes_manager.aclose("startup_nodes")

    async def initialize(self, *args: Any, **options: Any) -> Self:  # noqa: ANN401
        """As of RedisCluster, but raises a RedisError, and asks another node the next time."""
        try:
            await super().initialize(*args, **options)
        except RedisClusterException as exc:
            _raise_cause(exc)
        except (RedisConnectionError, RedisTimeoutError):
            # It asked the first of them which commands there are, and would do so for ever.
            for asked in self.get_primaries()[:1]:
                self.nodes_manager.move_node_to_end_of_cached_nodes(asked.name)
            raise
        return self

    async def script_load(self, script: Any) -> Any:  # noqa: ANN401
        """To every primary that is up: one that is not must not hold up what others have."""
        await self.initialize()
        loading = (
            self.execute_command("SCRIPT LOAD", script, target_nodes=node)
            for node in self.get_primaries()
        )
        answers = await asyncio.gather(*loading, return_exceptions=True)
        loaded = [answer for answer in answers if not isinstance(answer, BaseException)]
        if not loaded:
            raise next(answer for answer in answers if isinstance(answer, BaseException))
        return loaded[0]

    async def exists(self, *keys: Any) -> Any:  # noqa: ANN401
        """Whether the key exists; redis-py would make a pipeline of it."""
        return await self.execute_command("EXISTS", *keys)

    async def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """As of RedisCluster, but all that it raises is a RedisError."""
        try:
            await self.initialize()
            return await super().execute_command(*args, **options)
        except ClusterDownError:
            raise
        except ClusterError as exc:
            raise TryAgainError(
                "the nodes sent the command to each other until the client gave up",
                status_code="TRYAGAIN",
            ) from exc
        except (SlotNotCoveredError, KeyError, AttributeError) as exc:
            # redis-py stumbles over a slot without a node, and a node that it has not heard of.
            await self.aclose()
            raise ClusterDownError(
                "the client knows no node for the slot", status_code="CLUSTERDOWN"
            ) from exc
        except RedisClusterException as exc:
            _raise_cause(exc)


def _raise_cause(exc: RedisClusterException) -> Never:
    cause = exc.__cause__ or exc.__context__
    while cause is not None:
        if isinstance(cause, RedisError):
            raise cause from None
        cause = cause.__cause__ or cause.__context__
    raise RedisConnectionError(str(exc)) from exc
