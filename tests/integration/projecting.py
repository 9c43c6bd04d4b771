"""A projector for tests, and a look at what it keeps."""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
from google.protobuf.json_format import MessageToDict

from content_proto import content_pb2 as wire
from outbox import leases
from outbox.leases import Lease, Member
from snapshot_server.connections import projector_pool
from snapshot_server.digest import item_digest
from snapshot_server.feed.projector import LEASE, Projector, Report

ROUND_THE_CLOCK = timedelta(hours=1)


def member() -> Member:
    return Member("projector", f"test/{secrets.token_hex(4)}", "test", 1)


async def lease_of(pool: asyncpg.Pool, who: Member) -> Lease:
    [held] = await leases.renew(pool, who, [LEASE], {}, ttl=ROUND_THE_CLOCK)
    return held.lease


@asynccontextmanager
async def projecting(
    database: str,
    observe: Callable[[Report], None] = lambda _: None,
    *,
    keep_removals_s: float = 3600,
) -> AsyncIterator[Callable[[], Any]]:
    """A projector that makes one pass at each call."""
    async with projector_pool(database) as pool:
        who = member()
        lease = await lease_of(pool, who)
        projector = Projector(pool, who, keep_removals_s=keep_removals_s, observe=observe)

        async def follow() -> Any:  # noqa: ANN401 - what the pass returns
            return await projector.follow(lease)

        try:
            yield follow
        finally:
            await leases.release(pool, lease)
            await leases.leave(pool, who)


Items = dict[tuple[str, UUID], dict[str, Any]]


async def items(connection: asyncpg.Connection) -> Items:
    """The live items of the feed, decoded, by kind and id."""
    found: Items = {}
    for row in await connection.fetch("SELECT * FROM feed.item WHERE body IS NOT NULL"):
        [item] = wire.CatalogSnapshotChunk.FromString(row["body"]).items
        assert item.version == row["version"]
        assert UUID(item.id) == row["id"]
        assert item.kind == row["kind"]
        kind = {1: "series", 2: "episode"}[row["kind"]]
        found[kind, row["id"]] = MessageToDict(item, preserving_proto_field_name=True)
    return found


async def assert_state_agrees(connection: asyncpg.Connection) -> None:
    """The counts and the digest in feed.state are those of the items."""
    [state] = await connection.fetch("SELECT * FROM feed.state")
    live = await connection.fetch("SELECT kind, id, version FROM feed.item WHERE body IS NOT NULL")
    assert state["series"] == sum(row["kind"] == 1 for row in live)
    assert state["episodes"] == sum(row["kind"] == 2 for row in live)
    digest = sum(item_digest(row["kind"], row["id"], row["version"]) for row in live)
    assert state["digest"] % 2**64 == digest % 2**64
    newest = await connection.fetchval("SELECT max(version) FROM feed.item")
    assert newest is None or newest <= state["version"]
