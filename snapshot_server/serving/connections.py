"""A client's connection: survives what it sends, and ends without a loss of what it was sent."""

from __future__ import annotations

import fcntl
import struct
import sys
import termios
from typing import TYPE_CHECKING, Any, cast

import structlog
from grpclib.protocol import AbstractHandler, H2Protocol
from h2.errors import ErrorCodes
from h2.events import AlternativeServiceAvailable, UnknownFrameReceived

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from grpclib.config import Configuration
    from grpclib.protocol import Stream
    from h2.config import H2Configuration
    from h2.connection import H2Connection

log = structlog.get_logger(__name__)

_IGNORED = (UnknownFrameReceived, AlternativeServiceAvailable)
"""What HTTP/2 says must be ignored; grpclib would break the connection off."""

_MAX_FRAME_BYTES = (1 << 14) + 9
"""What HTTP/2 allows a client, unless it is told otherwise; and it is not."""


class ClientConnection(H2Protocol):
    """grpclib's side of one connection; *connections* holds it while it is there."""

    def __init__(
        self,
        handler: AbstractHandler,
        config: Configuration,
        h2_config: H2Configuration,
        connections: set[ClientConnection],
    ) -> None:
        super().__init__(_Ending(handler), config, h2_config)
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._goodbye = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self._transport = cast("asyncio.Transport", transport)
        super().connection_made(transport)
        for event in _IGNORED:
            self.processor.processors[event] = _ignore
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Bytes, of whatever kind: none may end more than this connection."""
        if self._goodbye:
            # Read on all the same: a socket closed over unread bytes takes back what was sent.
            return
        try:
            super().data_received(data)
        except Exception as exc:  # noqa: BLE001 - h2 and hpack raise what they like at garbage
            log.debug("connection.garbage", error=repr(exc))
            self.processor.close("not HTTP/2")
        # h2 looks at the length of a frame only when it has all of it, and that may be 16 MiB.
        if len(self._h2.incoming_buffer._data) > _MAX_FRAME_BYTES:  # noqa: SLF001
            self.processor.close("a frame that is too large")

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is over, whoever ended it."""
        self._connections.discard(self)
        super().connection_lost(exc)

    def say_goodbye(self) -> None:
        """Tell the client to go elsewhere (GOAWAY), behind all that was sent before."""
        if self._goodbye or self._transport is None or self._transport.is_closing():
            return
        self._goodbye = True
        self._h2.close_connection()
        self.connection.flush()

    @property
    def _h2(self) -> H2Connection:
        connection: H2Connection = self.connection._connection  # noqa: SLF001 - the only way to it
        return connection

    @property
    def has_all(self) -> bool:
        """Whether the client's side has received all that was sent to it."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return True
        return not transport.get_write_buffer_size() and not _unacknowledged(transport)

    def hang_up(self) -> None:
        """Say no more, once what is buffered here has gone out; the client is to close."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.can_write_eof():
            # Closed altogether, it would answer the client's next word with a reset, at which
            # most clients throw away what they have not read.
            transport.write_eof()
        else:
            transport.close()

    def abort(self) -> None:
        """Close, whatever is lost."""
        if self._transport is not None:
            self._transport.abort()


class _Ending(AbstractHandler):
    """Sees to it that no stream stays open whose handler has ended.

    grpclib answers nothing when a request's headers cannot be read, and nothing when a handler is
    cancelled: the client would wait, and each would take one of its connection's streams.
    """

    def __init__(self, handler: AbstractHandler) -> None:
        self._handler = handler
        self._closed = False

    def accept(
        self, stream: Stream, headers: list[tuple[str, str]], release_stream: Callable[[], None]
    ) -> None:
        def released() -> None:
            release_stream()
            if stream.closable and not _was_answered(stream):
                code = ErrorCodes.REFUSED_STREAM if self._closed else ErrorCodes.INTERNAL_ERROR
                stream.reset_nowait(code)

        self._handler.accept(stream, headers, released)

    def cancel(self, stream: Stream) -> None:
        self._handler.cancel(stream)

    def close(self) -> None:
        self._closed = True
        self._handler.close()


def _was_answered(stream: Stream) -> bool:
    known = stream._h2_connection.streams.get(stream.id or 0)  # noqa: SLF001 - only h2 knows
    return known is None or known.state_machine.state.name == "HALF_CLOSED_LOCAL"


def _ignore(_: Any) -> None:  # noqa: ANN401
    pass


def _unacknowledged(transport: asyncio.Transport) -> int:
    """Bytes that the kernel has still to bring to the other side, where it can be asked."""
    sock = transport.get_extra_info("socket")
    if sock is None or not sys.platform.startswith("linux"):
        return 0
    try:
        answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
    except OSError:
        return 0
    waiting: int = struct.unpack("i", answer)[0]
    return waiting
