"""A content service over a list of items, which breaks its streams as it is told to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from ssl import SSLContext
from typing import Any
from uuid import UUID

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.protocol import H2Protocol
from grpclib.server import Server, Stream
from h2.errors import ErrorCodes

from content_proto.content_pb2 import (
    ITEM_KIND_EPISODE,
    CatalogFeedItem,
    CatalogSnapshotChunk,
    CatalogSnapshotRequest,
    CatalogSummary,
    GetVideoMetadataRequest,
    GetVideoMetadataResponse,
)
from snapshot_server.digest import item_digest

POSITION = "1795347471648-7"
AFTER_THE_LAST = -2
"""For a fault that comes when all chunks were sent."""
SnapshotStream = Stream[CatalogSnapshotRequest, CatalogSnapshotChunk]
Fault = Callable[[SnapshotStream], Awaitable[None]]


def item(number: int) -> CatalogFeedItem:
    """An episode whose version is *number*."""
    return CatalogFeedItem(
        kind=ITEM_KIND_EPISODE, id=str(UUID(int=number)), version=number, title=f"no {number}"
    )


class FaultyService:
    """Items 1 to *items*, *limit* in a chunk; the cursor after item 7 is c7.

    Each call takes the next of *faults*: after how many chunks of it, and what happens then. When
    there are no more, nothing happens.
    """

    def __init__(self, items: int, faults: Iterable[tuple[int, Fault]] = ()) -> None:
        self._items = items
        self._faults: Iterator[tuple[int, Fault]] = iter(faults)
        self.requests: list[CatalogSnapshotRequest] = []
        self.tokens: list[str] = []

    def __mapping__(self) -> dict[str, Handler]:
        """What grpclib serves."""
        return {
            "/content.v1.ContentService/CatalogSnapshot": Handler(
                self._snapshot,
                Cardinality.UNARY_STREAM,
                CatalogSnapshotRequest,
                CatalogSnapshotChunk,
            ),
            "/content.v1.ContentService/GetVideoMetadata": Handler(
                self._metadata,
                Cardinality.UNARY_UNARY,
                GetVideoMetadataRequest,
                GetVideoMetadataResponse,
            ),
        }

    async def _metadata(
        self, stream: Stream[GetVideoMetadataRequest, GetVideoMetadataResponse]
    ) -> None:
        request = await stream.recv_message()
        assert request is not None
        if request.video_id == "nobody":
            raise GRPCError(Status.NOT_FOUND, "no such video")
        await stream.send_message(GetVideoMetadataResponse(id=request.video_id, title="found"))

    async def _snapshot(self, stream: SnapshotStream) -> None:
        request = await stream.recv_message()
        assert request is not None
        assert stream.metadata is not None
        self.requests.append(request)
        self.tokens.append(str(stream.metadata.get("authorization", "")))
        after, fault = next(self._faults, (-1, None))
        sent = int(request.cursor[1:]) if request.HasField("cursor") else 0
        chunks = 0
        while True:
            if chunks == after and fault:
                await fault(stream)
                return
            page = [item(number + 1) for number in range(sent, self._items)[: request.limit]]
            sent += len(page)
            chunks += 1
            if sent == self._items:
                break
            await stream.send_message(CatalogSnapshotChunk(items=page, next_cursor=f"c{sent}"))
        last = CatalogSnapshotChunk(items=page, position=POSITION, summary=self.summary)
        await stream.send_message(last)
        if after == AFTER_THE_LAST and fault:
            await fault(stream)

    @property
    def summary(self) -> CatalogSummary:
        numbers = range(1, self._items + 1)
        digest = sum(item_digest(2, UUID(int=number), number) for number in numbers)
        return CatalogSummary(episodes=self._items, digest=digest % 2**64)


def answered(status: Status, message: str = "", *details: Any) -> Fault:  # noqa: ANN401
    async def fault(_: SnapshotStream) -> None:
        raise GRPCError(status, message, details or None)

    return fault


async def ends_well(stream: SnapshotStream) -> None:
    """OK, as if all had been sent."""
    await stream.send_trailing_metadata()


async def resets(stream: SnapshotStream) -> None:
    await stream._stream.reset(ErrorCodes.INTERNAL_ERROR)  # noqa: SLF001


async def goes_away(stream: SnapshotStream) -> None:
    connection = stream._stream.connection  # noqa: SLF001
    connection._connection.close_connection()  # noqa: SLF001
    connection.flush()
    await asyncio.Event().wait()


async def hangs_up(stream: SnapshotStream) -> None:
    stream._stream._transport.abort()  # noqa: SLF001
    await asyncio.Event().wait()


async def falls_silent(_: SnapshotStream) -> None:
    await asyncio.Event().wait()


async def forgets_trailers(stream: SnapshotStream) -> None:
    """The last frame is one of data."""
    if not stream._send_initial_metadata_done:  # noqa: SLF001
        await stream.send_initial_metadata()
    await stream._stream.send_data(b"", end_stream=True)  # noqa: SLF001
    await asyncio.Event().wait()


async def stops_within_a_message(stream: SnapshotStream) -> None:
    if not stream._send_initial_metadata_done:  # noqa: SLF001
        await stream.send_initial_metadata()
    await stream._stream.send_data(b"\0\0\0\0\x09half")  # noqa: SLF001
    await stream._stream.end()  # noqa: SLF001
    await asyncio.Event().wait()


async def sends_rubbish(stream: SnapshotStream) -> None:
    if not stream._send_initial_metadata_done:  # noqa: SLF001
        await stream.send_initial_metadata()
    await stream._stream.send_data(b"\0\0\0\0\x04\xff\xff\xff\xff")  # noqa: SLF001
    await asyncio.Event().wait()


async def leads_nowhere(stream: SnapshotStream) -> None:
    """A chunk after which nobody can go on."""
    await stream.send_message(CatalogSnapshotChunk(items=[item(1)]))


FAULTS: dict[str, Fault] = {
    "unavailable": answered(Status.UNAVAILABLE, "draining"),
    "ends_well": ends_well,
    "resets": resets,
    "goes_away": goes_away,
    "hangs_up": hangs_up,
    "falls_silent": falls_silent,
    "forgets_trailers": forgets_trailers,
    "stops_within_a_message": stops_within_a_message,
    "sends_rubbish": sends_rubbish,
    "leads_nowhere": leads_nowhere,
}


class _Connection(H2Protocol):
    """Says when it is there, and when it is gone."""

    def __init__(self, made: H2Protocol) -> None:
        super().__init__(made.handler, made.config, made.h2_config)
        self.there, self.gone = asyncio.Event(), asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.there.set()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self.gone.set()


class _Server(Server):
    """Knows its connections, to break them off."""

    def __init__(self, service: FaultyService) -> None:
        super().__init__([service])
        self.connections: list[_Connection] = []

    def _protocol_factory(self) -> H2Protocol:
        made = _Connection(super()._protocol_factory())
        self.connections.append(made)
        return made


@asynccontextmanager
async def serving(
    service: FaultyService, *, port: int = 0, ssl: SSLContext | None = None
) -> AsyncIterator[str]:
    """The address of *service*; in the end it is killed rather than closed."""
    server = _Server(service)
    await server.start("127.0.0.1", port, ssl=ssl, reuse_address=True)
    assert isinstance(server._server, asyncio.Server)  # noqa: SLF001
    [socket] = server._server.sockets  # noqa: SLF001
    try:
        yield f"127.0.0.1:{socket.getsockname()[1]}"
    finally:
        server.close()
        for made in server.connections:
            # One whose handshake failed never is.
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await made.there.wait()
                    made.connection.close()
                    await made.gone.wait()
