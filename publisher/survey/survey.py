"""Both servers are asked how things are; the status is what can be said when one is away."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

from outbox import sql
from outbox.checkpoints import Checkpoint
from outbox.connection import translated
from outbox.errors import OutboxUnavailable, StreamRefused, StreamUnavailable
from outbox.position import ORIGIN, Position
from publisher.survey.distance import Distances
from publisher.survey.reckoning import GroupSeen, OutboxSeen, Reckoning, StreamSeen
from publisher.survey.status import Holder, LeaseStatus, PublishersStatus
from publisher.survey.view import last_seen_s, look, pending_between, unread
from publisher.trim.trimming import following

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import asyncpg
    from redis.asyncio import Redis

    from publisher.settings import Settings
    from publisher.survey.status import Status

T = TypeVar("T")

_SQL = sql.load("publisher")
_GONE_COUNTED_TO = 10_000
_UNREAD_COUNTED_TO = 100
_AWAY = (OutboxUnavailable, StreamUnavailable, StreamRefused)


async def survey(
    settings: Settings,
    pool: asyncpg.Pool,
    redis: Redis,
    *,
    clock: Callable[[], float] = time.time,
) -> Status:
    """The status now. A server that is away is part of it; raises OutboxMissing."""
    away: dict[str, str] = {}
    outbox, streams = await asyncio.gather(
        _or_away("postgresql", _ask_outbox(pool, settings), away),
        _or_away("redis", _ask_streams(redis, settings.stream_keys), away),
    )
    now_s = clock()
    try:
        return await Reckoning(settings, outbox, streams or {}, now_s=now_s).status(away)
    except OutboxUnavailable as exc:
        away["postgresql"] = str(exc)
        return await Reckoning(settings, None, streams or {}, now_s=now_s).status(away)


async def _or_away(server: str, work: Awaitable[T], away: dict[str, str]) -> T | None:
    try:
        return await work
    except _AWAY as exc:
        away[server] = str(exc)
        return None


async def _ask_outbox(pool: asyncpg.Pool, settings: Settings) -> OutboxSeen:
    with translated():
        newest = await pool.fetchrow(_SQL["newest_tick"])
        [waiting] = await pool.fetch(_SQL["not_in_a_tick"])
        saved = await pool.fetch(_SQL["checkpoints"], settings.stream_keys)
        holders = await pool.fetch(_SQL["xmin_holders"])
        [publishers] = await pool.fetch(_SQL["publishers"])
        leases = await pool.fetch(_SQL["leases"], settings.stream_keys)
    return OutboxSeen(
        distances=Distances(pool, settings.partitions),
        last_tick_ms=newest["ms"] if newest else None,
        not_in_a_tick=waiting["events"],
        not_in_a_tick_s=waiting["oldest_age_s"],
        checkpoints={
            row["name"]: Checkpoint(
                Position(row["ms"], row["seq"]), Position(row["end_ms"], row["end_seq"])
            )
            for row in saved
        },
        holders=[Holder(**dict(row)) for row in holders],
        publishers=PublishersStatus(
            **dict(publishers), leases=[LeaseStatus(**dict(lease)) for lease in leases]
        ),
    )


async def _ask_streams(redis: Redis, keys: Sequence[str]) -> dict[str, StreamSeen]:
    found = await asyncio.gather(*(_ask_stream(redis, key) for key in keys), return_exceptions=True)
    streams = {}
    for key, answer in zip(keys, found, strict=True):
        if isinstance(answer, BaseException):
            raise answer
        streams[key] = answer
    return streams


async def _ask_stream(redis: Redis, key: str) -> StreamSeen:
    view = await look(redis, key)
    begins = view.first or following(view.last)
    groups = []
    for group in view.groups:
        gone = 0
        if group.lowest_pending and group.lowest_pending < begins:
            gone = await pending_between(
                redis, key, group.name, ORIGIN, begins, at_most=_GONE_COUNTED_TO
            )
        groups.append(
            GroupSeen(
                group,
                last_seen_s=await last_seen_s(redis, key, group.name),
                gone=gone,
                unread=await unread(redis, key, group.delivered, at_most=_UNREAD_COUNTED_TO)
                if group.oldest_unread
                else 0,
            )
        )
    return StreamSeen(view, groups)
