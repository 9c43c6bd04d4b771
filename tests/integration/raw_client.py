"""HTTP/2 as it is, with nothing that would keep a test from misusing it."""

import asyncio

import h2.config
import h2.connection
import h2.events


class RawClient:
    """One connection, over which streams are opened and answers read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding="latin-1",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.h2 = h2.connection.H2Connection(config)

    @classmethod
    async def connected(cls, port: int) -> "RawClient":
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        client.h2.initiate_connection()
        client.flush()
        return client

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    def request(self, path: str, more: list[tuple[bytes, bytes]], body: bytes | None = None) -> int:
        """Open a stream; without a *body* it stays open."""
        stream = self.h2.get_next_available_stream_id()
        headers = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b":authority", b"here"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
        ]
        self.h2.send_headers(stream, headers + more)
        if body is not None:
            framed = b"\0" + len(body).to_bytes(4) + body
            self.h2.send_data(stream, framed, end_stream=True)
        self.flush()
        return stream

    async def answer(self, stream: int) -> dict[str, str]:
        """The headers and trailers of *stream*, or how it was reset."""
        said: dict[str, str] = {}
        while data := await self._reader.read(65_536):
            for event in self.h2.receive_data(data):
                if getattr(event, "stream_id", None) != stream:
                    continue
                match event:
                    case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                        said |= dict(event.headers)  # type: ignore[arg-type]
                    case h2.events.StreamReset():
                        return said | {"reset": str(int(event.error_code or 0))}
                    case h2.events.StreamEnded():
                        return said
            self.flush()
        return said | {"closed": "yes"}

    async def closed(self) -> None:
        """Return when the server has closed the connection."""
        while await self._reader.read(65_536):
            pass
