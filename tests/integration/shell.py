"""A small service in the server's shell: its calls go on when the test says so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.health.check import ServiceStatus
from grpclib.health.service import OVERALL, Health
from grpclib.server import Stream

from content_proto.content_pb2 import (
    CatalogSnapshotChunk,
    CatalogSnapshotRequest,
    GetVideoMetadataRequest,
    GetVideoMetadataResponse,
)
from process.address import Address
from process.tokens import Tokens
from snapshot_server.content.codec import ContentCodec
from snapshot_server.serving.calls import Calls
from snapshot_server.serving.metrics import Metrics
from snapshot_server.serving.server import GrpcServer

SNAPSHOT = "/content.v1.ContentService/CatalogSnapshot"
VIDEO = "/content.v1.ContentService/GetVideoMetadata"
TOKEN = "swordfish"  # noqa: S105
ADMITTED = {"authorization": f"Bearer {TOKEN}"}


class PacedService:
    """Sends a chunk for each ``go.release()``, and ends its streams where it is drained."""

    def __init__(self, chunk: bytes = b"") -> None:
        self.go = asyncio.Semaphore(0)
        self.read = 0
        """Requests that were read."""
        self.sent = 0
        """Chunks."""
        self.began = asyncio.Event()
        """A call is under way."""
        self._chunk = chunk
        self._draining = False
        self._under_way = 0
        self._changed = asyncio.Condition()

    def drain(self) -> None:
        self._draining = True

    async def drained(self) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: not self._under_way)

    @asynccontextmanager
    async def _call(self, stream: Stream[Any, Any]) -> AsyncIterator[Message]:
        request = await stream.recv_message()
        assert request is not None
        self.read += 1
        self._under_way += 1
        self.began.set()
        try:
            yield request
        finally:
            self._under_way -= 1
            async with self._changed:
                self._changed.notify_all()

    async def _snapshot(self, stream: Stream[Any, Any]) -> None:
        async with self._call(stream):
            while not self._draining:
                await self.go.acquire()
                await stream.send_message(self._chunk)
                self.sent += 1
            raise GRPCError(Status.UNAVAILABLE, "drained")

    async def _video(self, stream: Stream[Any, Any]) -> None:
        async with self._call(stream) as request:
            if request.video_id == "broken":  # type: ignore[attr-defined]
                raise ZeroDivisionError
            await self.go.acquire()
            await stream.send_message(GetVideoMetadataResponse(id="v").SerializeToString())

    def __mapping__(self) -> dict[str, Handler]:
        """As grpclib asks for it."""
        return {
            SNAPSHOT: Handler(
                self._snapshot,
                Cardinality.UNARY_STREAM,
                CatalogSnapshotRequest,
                CatalogSnapshotChunk,
            ),
            VIDEO: Handler(
                self._video,
                Cardinality.UNARY_UNARY,
                GetVideoMetadataRequest,
                GetVideoMetadataResponse,
            ),
        }


@dataclass
class Shell:
    """A server that listens, and what a test asks of it."""

    server: GrpcServer
    service: PacedService
    calls: Calls
    metrics: Metrics
    status: ServiceStatus
    port: int


@asynccontextmanager
async def shell(service: PacedService | None = None) -> AsyncIterator[Shell]:
    """A server around *service*; whatever is left of it is ended at the end."""
    service, status, metrics = service or PacedService(), ServiceStatus(), Metrics()
    status.set(True)
    server = GrpcServer([service, Health({service: [status], OVERALL: [status]})], ContentCodec())
    calls = Calls(Tokens.parse(TOKEN), metrics)
    calls.of(server)
    metrics.expect(service.__mapping__())
    address = await server.listen(Address("127.0.0.1", 0), tls=None)
    try:
        yield Shell(server, service, calls, metrics, status, address.port)
    finally:
        await server.end(within_s=0)


@asynccontextmanager
async def channel(port: int) -> AsyncIterator[Channel]:
    client = Channel("127.0.0.1", port)
    try:
        yield client
    finally:
        client.close()


def snapshot_of(client: Channel) -> UnaryStreamMethod[Any, Any]:
    return UnaryStreamMethod(client, SNAPSHOT, CatalogSnapshotRequest, CatalogSnapshotChunk)


def video_of(client: Channel) -> UnaryUnaryMethod[Any, Any]:
    return UnaryUnaryMethod(client, VIDEO, GetVideoMetadataRequest, GetVideoMetadataResponse)
