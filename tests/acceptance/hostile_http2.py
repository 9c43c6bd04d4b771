"""HTTP/2 by hand, for clients that do what no gRPC library would."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes

SNAPSHOT = b"/content.v1.ContentService/CatalogSnapshot"
METADATA = b"/content.v1.ContentService/GetVideoMetadata"
_ANSWERED_WITHIN_S = 60.0


def framed(message: bytes, *, size: int | None = None) -> bytes:
    """With the five bytes before it; *size*: what they say instead of its length."""
    return struct.pack(">BI", 0, len(message) if size is None else size) + message


@dataclass
class Answer:
    """What came back on one stream."""

    fields: dict[bytes, bytes] = field(default_factory=dict)
    """Headers and trailers."""
    data: int = 0
    """Bytes."""
    is_over: bool = False

    @property
    def status(self) -> int | None:
        """As gRPC numbers it; None where the stream was reset."""
        told = self.fields.get(b"grpc-status")
        return None if told is None else int(told)


class Wire:
    """One connection."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        takes: bool,
        room: int | None,
    ) -> None:
        self._reader, self._writer = reader, writer
        self._takes = takes
        self._http = H2Connection(
            H2Configuration(header_encoding=False, validate_outbound_headers=False)
        )
        self.answers: dict[int, Answer] = {}
        self.is_over = False
        self._http.initiate_connection()
        if room:
            self._http.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: room})
            self._http.increment_flow_control_window(room)

    async def open(
        self, path: bytes, *headers: tuple[bytes, bytes], body: bytes | None = None, end: bool
    ) -> int:
        """Begin a call; the number of its stream."""
        number = self._http.get_next_available_stream_id()
        usual = [
            *((b":method", b"POST"), (b":scheme", b"http"), (b":path", path)),
            *((b":authority", b"test"), (b"te", b"trailers")),
            (b"content-type", b"application/grpc"),
        ]
        self.answers[number] = Answer()
        self._http.send_headers(number, [*usual, *headers], end_stream=end and body is None)
        if body is not None:
            await self._send(number, body, end=end)
        await self._flush()
        return number

    async def answered(self, number: int) -> Answer:
        """Its answer, once it is whole. Raises TimeoutError."""
        answer = self.answers[number]
        async with asyncio.timeout(_ANSWERED_WITHIN_S):
            while not (answer.is_over or self.is_over):
                await self._take()
        return answer

    async def broken(self) -> None:
        """Return once the other side has broken the connection off; nothing is read meanwhile."""
        async with asyncio.timeout(_ANSWERED_WITHIN_S):
            # Asyncio looks at what it is told to read, and at errors only when it writes.
            with suppress(ConnectionError):
                while True:
                    self._http.ping(bytes(8))
                    self._writer.write(self._http.data_to_send())
                    await self._writer.drain()
                    await asyncio.sleep(0.1)

    async def _send(self, number: int, body: bytes, *, end: bool) -> None:
        while body and not self.answers[number].is_over and not self.is_over:
            room = min(
                self._http.local_flow_control_window(number), self._http.max_outbound_frame_size
            )
            if room == 0:
                await self._flush()
                await self._take()
                continue
            self._http.send_data(number, body[:room])
            body = body[room:]
            await self._flush()
        if end and not self.answers[number].is_over and not self.is_over:
            self._http.end_stream(number)

    async def _take(self) -> None:
        data = b""
        with suppress(ConnectionError):
            data = await self._reader.read(65536)
        if not data:
            self.is_over = True
            return
        for event in self._http.receive_data(data):
            match event:
                case ResponseReceived() | TrailersReceived():
                    self.answers[event.stream_id].fields.update(event.headers)
                case DataReceived():
                    self.answers[event.stream_id].data += len(event.data)
                    if self._takes:
                        length = event.flow_controlled_length
                        self._http.acknowledge_received_data(length, event.stream_id)
                case StreamEnded() | StreamReset():
                    self.answers[event.stream_id].is_over = True
                case ConnectionTerminated():
                    self.is_over = True
        await self._flush()

    async def _flush(self) -> None:
        self._writer.write(self._http.data_to_send())
        with suppress(ConnectionError):
            await self._writer.drain()


@asynccontextmanager
async def wire(port: int, *, takes: bool = True, room: int | None = None) -> AsyncIterator[Wire]:
    """A connection until the end of the block.

    Without *takes* its windows are never opened; with *room* they are that large from the start.
    """
    # It reads ahead only a little, so that the kernel's buffers fill when nobody asks for more.
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    try:
        yield Wire(reader, writer, takes=takes, room=room)
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()
