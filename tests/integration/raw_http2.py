"""One request over HTTP/2, frame by frame, without any gRPC library."""

import asyncio
import struct
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived

_USUAL = {
    ":method": "POST",
    ":scheme": "http",
    ":authority": "feed",
    "te": "trailers",
    "content-type": "application/grpc",
}


@dataclass
class Answer:
    """What came back, as it came."""

    headers: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    trailers: dict[str, str] | None = None
    """None: the answer was its headers alone, if anything."""
    reset: int | None = None

    @property
    def messages(self) -> list[bytes]:
        """Each has a flag, which says that it is not compressed, and its length, before it."""
        found, rest = [], self.data
        while rest:
            compressed, length = struct.unpack(">?I", rest[:5])
            assert not compressed
            assert len(rest) >= 5 + length
            found.append(rest[5 : 5 + length])
            rest = rest[5 + length :]
        return found


def framed(message: bytes) -> bytes:
    return struct.pack(">?I", False, len(message)) + message  # noqa: FBT003


async def call(port: int, path: str, body: bytes | None, **headers: str | None) -> Answer:
    """POST *body* to *path*; a header that is None is not sent. None: no body at all."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    http = H2Connection(H2Configuration(header_encoding="utf-8", validate_outbound_headers=False))
    http.initiate_connection()
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if "method" in given:
        given[":method"] = given.pop("method")
    sent = {**_USUAL, ":path": path, **given}
    shown = [(name, value) for name, value in sent.items() if value is not None]
    shown.sort(key=lambda pair: not pair[0].startswith(":"))
    http.send_headers(1, shown, end_stream=body is None)
    if body is not None:
        http.send_data(1, body, end_stream=True)
    writer.write(http.data_to_send())
    answer = Answer()
    try:
        async with asyncio.timeout(10):
            while not _take(http, await reader.read(65536), answer):
                writer.write(http.data_to_send())
    finally:
        writer.close()
        await writer.wait_closed()
    return answer


def _take(http: H2Connection, data: bytes, answer: Answer) -> bool:
    """Whether the answer has ended."""
    assert data, "the connection ended before the answer"
    for event in http.receive_data(data):
        match event:
            case ResponseReceived():
                answer.headers = _text(event.headers)
            case DataReceived():
                answer.data += event.data
                http.acknowledge_received_data(event.flow_controlled_length, 1)
            case TrailersReceived():
                answer.trailers = _text(event.headers)
            case StreamReset():
                answer.reset = int(event.error_code)
                return True
            case StreamEnded():
                return True
    return False


def _text(headers: object) -> dict[str, str]:
    assert isinstance(headers, list)
    return {str(name): str(value) for name, value in headers}
