"""The service as most teams write it first: each item is read and encoded for each request.

A peer to be measured, started as ``python -m benchmarks.encoding_server betterproto2`` (messages of
betterproto2 on grpclib) or ``… grpcio`` (google's, in C, on grpcio). Both page by key and read a
chunk with the statements of our projector; for google's messages its encoder is used, which is
quicker than what one would write first. They have no cursors, and what they send is of no one
moment: whoever must have that pays for it too.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import UTC
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
import grpc
import grpc.aio
import structlog
from grpclib.server import Server

from benchmarks.messages import item_of
from benchmarks.reader import SERVICE
from content_proto import content_pb2 as wire
from content_proto.content import v1
from outbox import connection, sql
from process import logging
from snapshot_server.content.videos import Videos
from snapshot_server.feed.rows import EpisodeRow, SeriesRow, read_items
from snapshot_server.feed.writer import EPISODE, SERIES, Key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

log = structlog.get_logger(__name__)

_SQL = sql.load("benchmarks", "catalog.sql")
_NO_ID = UUID(int=0)
_END = "0-1"

Chunk = list[SeriesRow | EpisodeRow]


class Catalog:
    """The tables, chunk by chunk."""

    def __init__(self, pool: asyncpg.Pool, most: int) -> None:
        self._pool = pool
        self._most = most
        """Items: a peer that takes minutes for all of them need not."""

    async def chunks(self, size: int) -> AsyncIterator[tuple[Chunk, int]]:
        """Rows, and how many there were before them."""
        sent = 0
        async for keys in self._keys(size):
            async with self._pool.acquire() as reader:
                found = await read_items(reader, keys)
            yield list(found.values()), sent
            sent += len(found)

    async def _keys(self, size: int) -> AsyncIterator[list[Key]]:
        left, last = self._most // 20, _NO_ID
        while rows := await self._pool.fetch(_SQL["all_series"], last, min(size, left)):
            last = rows[-1]["id"]
            left -= len(rows)
            yield [Key(SERIES, row["id"]) for row in rows]
        left, after = self._most - self._most // 20, (_NO_ID, _NO_ID)
        while rows := await self._pool.fetch(_SQL["all_episodes"], *after, min(size, left)):
            after = rows[-1]["series_id"], rows[-1]["id"]
            left -= len(rows)
            yield [Key(EPISODE, row["id"]) for row in rows]


class OnGrpclib(v1.ContentServiceBase):
    """With betterproto2's messages."""

    def __init__(self, catalog: Catalog, videos: Videos) -> None:
        self._catalog = catalog
        self._videos = videos

    async def get_video_metadata(
        self, message: v1.GetVideoMetadataRequest
    ) -> v1.GetVideoMetadataResponse:
        """One video."""
        found = await self._videos.find(message.video_id)
        return v1.GetVideoMetadataResponse(
            id=found.id,
            title=found.title,
            description=found.description,
            duration_seconds=found.duration_seconds,
            owner_id=found.owner_id,
            published_at=found.published_at.ToDatetime(tzinfo=UTC),
            visibility=found.visibility,
            tags=list(found.tags),
            thumbnails=[v1.Thumbnail(url=one.url) for one in found.thumbnails],
        )

    async def catalog_snapshot(
        self, message: v1.CatalogSnapshotRequest
    ) -> AsyncIterator[v1.CatalogSnapshotChunk]:
        """All of it."""
        sent = 0
        async for rows, before in self._catalog.chunks(message.limit):
            sent = before + len(rows)
            yield v1.CatalogSnapshotChunk(items=[item_of(row) for row in rows])
        yield v1.CatalogSnapshotChunk(position=_END, summary=v1.CatalogSummary(episodes=sent))


class OnGrpcio:
    """With google's messages."""

    def __init__(self, catalog: Catalog, videos: Videos) -> None:
        self._catalog = catalog
        self._videos = videos

    def handlers(self) -> grpc.GenericRpcHandler:
        """What grpcio asks for."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "GetVideoMetadata": grpc.unary_unary_rpc_method_handler(
                    self._video,
                    wire.GetVideoMetadataRequest.FromString,
                    wire.GetVideoMetadataResponse.SerializeToString,
                ),
                "CatalogSnapshot": grpc.unary_stream_rpc_method_handler(
                    self._snapshot, wire.CatalogSnapshotRequest.FromString
                ),
            },
        )

    async def _video(
        self, request: wire.GetVideoMetadataRequest, _: object
    ) -> wire.GetVideoMetadataResponse:
        return await self._videos.find(request.video_id)

    async def _snapshot(
        self, request: wire.CatalogSnapshotRequest, _: object
    ) -> AsyncIterator[bytes]:
        sent = 0
        async for rows, before in self._catalog.chunks(request.limit):
            sent = before + len(rows)
            yield b"".join([row.encoded(1) for row in rows])
        end = wire.CatalogSnapshotChunk(position=_END)
        end.summary.episodes = sent
        yield end.SerializeToString()


async def serve(kind: str) -> None:
    """Until SIGTERM."""
    logging.configure("info")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with asyncpg.create_pool(
        os.environ["DATABASE_URL"], server_settings=connection.SETTINGS
    ) as pool:
        catalog, videos = Catalog(pool, int(os.environ["BENCHMARK_ITEMS"])), Videos(pool)
        if kind == "grpcio":
            foreign = grpc.aio.server()
            foreign.add_generic_rpc_handlers([OnGrpcio(catalog, videos).handlers()])
            port = foreign.add_insecure_port("127.0.0.1:0")
            await foreign.start()
            log.info("server.started", address=f"127.0.0.1:{port}")
            await stop.wait()
            await foreign.stop(0)
        else:
            server = Server([OnGrpclib(catalog, videos)])
            await server.start("127.0.0.1", 0)
            [listener] = server._server.sockets  # type: ignore[union-attr] # noqa: SLF001
            log.info("server.started", address=f"127.0.0.1:{listener.getsockname()[1]}")
            await stop.wait()
            server.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
