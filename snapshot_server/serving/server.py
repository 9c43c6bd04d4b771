"""grpclib's server with what it lacks: its connections in sight, and an end that loses nothing."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from grpclib.encoding.proto import ProtoStatusDetailsCodec
from grpclib.server import Server

from process.address import Address, nobody_can_listen
from snapshot_server.serving.connections import ClientConnection

if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection

    from grpclib._typing import IServable
    from grpclib.encoding.base import CodecBase

_FLUSH_POLL_S = 0.01
_CLOSE_TIMEOUT_S = 1.0
_GONE_TIMEOUT_S = 2.0
"""For clients to read what they have, and to close."""
_BACKLOG = 1024


class GrpcServer(Server):
    """Serves *services* until it is closed."""

    def __init__(self, services: Collection[IServable], codec: CodecBase) -> None:
        # Given a codec of ours, grpclib drops the one for details of errors unless it is named.
        super().__init__(services, codec=codec, status_details_codec=ProtoStatusDetailsCodec())
        # One client's header that is not ASCII must not break the connection that a proxy
        # shares among many; one that breaks the rules of HTTP/2 may.
        self._h2_config.header_encoding = "latin-1"
        self._h2_config.validate_inbound_headers = True
        self.connections: set[ClientConnection] = set()

    def _protocol_factory(self) -> ClientConnection:
        made = super()._protocol_factory()
        return ClientConnection(made.handler, made.config, made.h2_config, self.connections)

    async def listen(
        self, wanted: Address, *, tls: ssl.SSLContext | None, shared: bool = False
    ) -> Address:
        """Listen at *wanted*, beside other processes if it is *shared*; where that is.

        Raises BadSetting.
        """
        try:
            await self.start(
                wanted.host,
                wanted.port,
                ssl=tls,
                backlog=_BACKLOG,
                reuse_port=True if shared else None,
            )
        except OSError as exc:
            raise nobody_can_listen("GRPC_BIND_ADDRESS", wanted, exc) from exc
        sockets = getattr(self._server, "sockets", ())
        port = sockets[0].getsockname()[1] if sockets else wanted.port
        return Address(wanted.host, port)

    async def end(self, *, within_s: float) -> None:
        """Tell the clients, let them have what was sent, and close.

        What is still under way is broken off.
        """
        self.close()
        await _bounded(self._handlers_ended(), _CLOSE_TIMEOUT_S)
        for connection in list(self.connections):
            connection.say_goodbye()
        await _bounded(self._flushed(), within_s)
        for connection in list(self.connections):
            connection.hang_up()
        await _bounded(self._gone(), _GONE_TIMEOUT_S)
        for connection in list(self.connections):
            connection.abort()
        # From Python 3.12 on this waits for every connection, and for one that hangs for ever.
        await _bounded(self.wait_closed(), _CLOSE_TIMEOUT_S)

    async def _handlers_ended(self) -> None:
        for handler in list(self._handlers):
            await handler.wait_closed()

    async def _flushed(self) -> None:
        """Nothing tells when the other side has acknowledged the last byte: look again."""
        while not all(connection.has_all for connection in self.connections):  # noqa: ASYNC110
            await asyncio.sleep(_FLUSH_POLL_S)

    async def _gone(self) -> None:
        while self.connections:  # noqa: ASYNC110
            await asyncio.sleep(_FLUSH_POLL_S)


async def _bounded(work: object, within_s: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(work, within_s)  # type: ignore[arg-type]
