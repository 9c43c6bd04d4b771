"""``status``: asks PostgreSQL where the feed is, and changes nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from outbox import sql
from outbox.connection import translated
from outbox.errors import OutboxForbidden
from process import console
from process.console import Exit
from snapshot_server import place
from snapshot_server.commands.overview import FeedStatus, overview
from snapshot_server.feed.projector import LEASE
from snapshot_server.serving import pools

if TYPE_CHECKING:
    import asyncpg

    from snapshot_server.settings import CommandSettings

_SQL = sql.load("snapshot_server")


async def run(settings: CommandSettings, *, as_json: bool) -> int:
    """Show it; the exit code says whether it is well."""
    async with pools.unary(settings.database_url) as pool:
        now = await survey(pool)
    if as_json:
        print(json.dumps(now.as_json()))  # noqa: T201
    else:
        console.screen.print(overview(now))
    return Exit.DEGRADED if now.problems else Exit.FINE


async def survey(pool: asyncpg.Pool) -> FeedStatus:
    """Raises OutboxUnavailable or OutboxMissing."""
    found = await place.find(pool)
    with translated():
        [rest] = await pool.fetch(_SQL["feed_overview"])
    holder, candidates = await _projector(pool)
    position, newest = (
        None if version is None else str(place.position_of(version))
        for version in (found.version, found.newest)
    )
    return FeedStatus(
        position=position,
        newest_tick=newest,
        lag_events=found.lag_events,
        lag_s=found.lag_s,
        series=found.series,
        episodes=found.episodes,
        removals=rest["removals"],
        oldest_cursor=str(place.position_of(rest["purged"])) if rest["purged"] else None,
        encoding=rest["encoding"],
        moved_s=rest["moved_s"],
        projector=holder,
        candidates=candidates,
    )


async def _projector(pool: asyncpg.Pool) -> tuple[str | None, int | None]:
    """Who keeps the feed, and how many would."""
    try:
        with translated():
            row = await pool.fetchrow(_SQL["projector_lease"], LEASE, LEASE)
    except OutboxForbidden:
        return None, None
    if row is None:
        return None, 0
    return row["holder"] if row["expires_in_s"] > 0 else None, row["members"]
