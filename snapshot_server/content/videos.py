"""GetVideoMetadata: one episode as the catalog has it now."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from content_proto import content_pb2 as pb
from outbox import sql
from outbox.connection import translated
from snapshot_server.errors import VideoIdMalformed, VideoMissing

if TYPE_CHECKING:
    import asyncpg

_SQL = sql.load("snapshot_server")
_ACQUIRE_TIMEOUT_S = 5.0
_READ_TIMEOUT_S = 5.0


class Videos:
    """Reads episodes with connections of *pool*, which no sync uses."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def find(self, video_id: str) -> pb.GetVideoMetadataResponse:
        """Raises VideoIdMalformed, VideoMissing or OutboxUnavailable."""
        try:
            episode_id = UUID(video_id)
        except ValueError as exc:
            raise VideoIdMalformed from exc
        with translated():
            async with self._pool.acquire(timeout=_ACQUIRE_TIMEOUT_S) as connection:
                row = await connection.fetchrow(_SQL["video"], episode_id, timeout=_READ_TIMEOUT_S)
        if row is None:
            raise VideoMissing
        return _message(row)


def _message(row: asyncpg.Record) -> pb.GetVideoMetadataResponse:
    urls = dict.fromkeys((row["default_thumbnail_url"], row["asset_thumbnail_url"]))
    message = pb.GetVideoMetadataResponse(
        id=str(row["id"]),
        title=row["title"],
        description=row["synopsis"] or "",
        duration_seconds=row["duration_seconds"] or 0,
        owner_id=str(row["owner_id"] or ""),
        visibility=row["visibility"],
        tags=row["tags"],
        # How large they are the catalog does not know; nor how often the video was seen.
        thumbnails=[pb.Thumbnail(url=url) for url in urls if url],
    )
    if row["published_at"] is not None:
        message.published_at.FromDatetime(row["published_at"])
    return message
