"""The content service, as grpclib calls it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError, StreamTerminatedError
from h2.exceptions import ProtocolError

from content_proto import content_pb2 as pb
from outbox.errors import CatalogStreamError
from snapshot_server.content import transport
from snapshot_server.content.pages import Pages, Places
from snapshot_server.content.reports import VideoRead
from snapshot_server.content.snapshots import Snapshots
from snapshot_server.content.statuses import answer_to
from snapshot_server.content.videos import Videos
from snapshot_server.content.waiting import FeedWatch
from snapshot_server.errors import VideoMissing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import asyncpg
    from google.protobuf.message import Message
    from grpclib.server import Stream

    from snapshot_server.content.limits import Limits
    from snapshot_server.content.reports import Report

    M = TypeVar("M", bound=Message)

log = structlog.get_logger(__name__)

NAME = pb.DESCRIPTOR.services_by_name["ContentService"].full_name


class ContentService:
    """Both methods, over two pools, so that no sync keeps a single video waiting.

    A server that serves it must be given ContentCodec, and what its docstring says.
    """

    def __init__(
        self,
        bulk_pool: asyncpg.Pool,
        unary_pool: asyncpg.Pool,
        limits: Limits,
        observe: Callable[[Report], None],
    ) -> None:
        places = Places(unary_pool)
        self._watch = FeedWatch(places.feed)
        self._snapshots = Snapshots(Pages(bulk_pool, limits), places, self._watch, limits, observe)
        self._videos = Videos(unary_pool)
        self._limits = limits
        self._observe = observe
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def __mapping__(self) -> dict[str, Handler]:
        """What grpclib asks a service for."""
        return {
            f"/{NAME}/CatalogSnapshot": Handler(
                self._catalog_snapshot,
                Cardinality.UNARY_STREAM,
                pb.CatalogSnapshotRequest,
                pb.CatalogSnapshotChunk,
            ),
            f"/{NAME}/GetVideoMetadata": Handler(
                self._get_video_metadata,
                Cardinality.UNARY_UNARY,
                pb.GetVideoMetadataRequest,
                pb.GetVideoMetadataResponse,
            ),
        }

    def drain(self) -> None:
        """Refuse new syncs from now on, and end those under way at their next chunk."""
        self._snapshots.drain()

    async def drained(self) -> None:
        """Return when no call is under way. One that has sent no request yet does not count."""
        await self._idle.wait()
        await self._watch.idle()

    async def _catalog_snapshot(self, stream: Stream[Any, Any]) -> None:
        await self._answer(stream, pb.CatalogSnapshotRequest, self._snapshots.serve)

    async def _get_video_metadata(self, stream: Stream[Any, Any]) -> None:
        await self._answer(stream, pb.GetVideoMetadataRequest, self._video)

    async def _video(self, stream: Stream[Any, Any], request: pb.GetVideoMetadataRequest) -> None:
        began = time.perf_counter()
        try:
            message = await self._videos.find(request.video_id)
        except VideoMissing:
            self._observe(VideoRead(found=False, took_s=time.perf_counter() - began))
            raise
        self._observe(VideoRead(found=True, took_s=time.perf_counter() - began))
        await transport.reply(stream, message, within_s=self._limits.stalled_reader_s)

    async def _answer(
        self,
        stream: Stream[Any, Any],
        message_type: type[M],
        handle: Callable[[Stream[Any, Any], M], Awaitable[None]],
    ) -> None:
        try:
            request = await transport.receive(
                stream,
                message_type,
                max_bytes=self._limits.max_request_bytes,
                within_s=self._limits.feed_wait_s,
            )
            self._begin()
            try:
                await handle(stream, request)
            finally:
                self._end()
        except CatalogStreamError as exc:
            if answer := answer_to(exc):
                raise answer from exc
            log.exception("call.failed", method=message_type.DESCRIPTOR.name)
            raise GRPCError(Status.INTERNAL) from exc
        except (ProtocolError, StreamTerminatedError) as exc:
            # The client has gone, and this was to be sent to it.
            raise GRPCError(Status.CANCELLED) from exc
        except Exception as exc:
            log.exception("call.failed", method=message_type.DESCRIPTOR.name)
            raise GRPCError(Status.INTERNAL) from exc

    def _begin(self) -> None:
        self._under_way += 1
        self._idle.clear()

    def _end(self) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._idle.set()
