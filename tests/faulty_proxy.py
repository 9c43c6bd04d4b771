"""A proxy between a client and a server that does with each message what a test tells it.

It knows where messages of Redis and of PostgreSQL begin and end, so that "before the third
request" or "in the middle of that reply" is the same place in every run.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path

Address = Path | tuple[str, int]
"""A Unix socket, or host and port."""
Split = Callable[[bytes], int]
"""How many bytes of what has come are its first message; 0 while that is not complete."""
Hook = Callable[["Message"], Awaitable[None]]

_CHUNK = 2**16
_STARTUP = b"\x00"  # no type byte: the first of four bytes of length
_SSL_REQUEST = (80877103).to_bytes(4, "big")


class Cut(Exception):
    """Raised by a hook: close the connection on both sides, now."""


class Side(Enum):
    """Where a message comes from."""

    CLIENT = "client"
    SERVER = "server"


@dataclass(frozen=True)
class Message:
    """One message on its way. A hook that neither sends it on nor answers has swallowed it."""

    side: Side
    name: str
    """Of Redis: the command, in capitals, for the reply too. Of PostgreSQL: the type's letter."""
    data: bytes
    send: Callable[[bytes], Awaitable[None]]
    """On to the other side."""
    answer: Callable[[bytes], Awaitable[None]]
    """Back to where it came from."""

    async def pass_on(self) -> None:
        """As if there were no proxy."""
        await self.send(self.data)


async def pass_on(message: Message) -> None:
    """The hook that does no harm."""
    await message.pass_on()


class Protocol(Enum):
    """Whose messages they are."""

    REDIS = "redis"
    POSTGRES = "postgres"


class FaultyProxy:
    """Forwards to *target*; *hook* and *target* may be exchanged at any time."""

    def __init__(self, protocol: Protocol, target: Address, hook: Hook = pass_on) -> None:
        self.target = target
        self.hook = hook
        self._protocol = protocol
        self._open: set[asyncio.StreamWriter] = set()
        self._faults: list[Exception] = []

    @asynccontextmanager
    async def listening(self, at: Address = ("127.0.0.1", 0)) -> AsyncIterator[Address]:
        """Serve *at* this address, which is yielded with its port; end with all connections."""
        if isinstance(at, Path):
            server = await asyncio.start_unix_server(self._connected, at)
        else:
            server = await asyncio.start_server(self._connected, *at)
            at = server.sockets[0].getsockname()[:2]
        tasks = self._tasks = set[asyncio.Task[None]]()
        try:
            yield at
        finally:
            server.close()
            self.cut()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._faults:
            raise ExceptionGroup("a hook failed", self._faults)

    def cut(self) -> None:
        """Close all connections now."""
        for writer in self._open:
            writer.transport.abort()

    async def _connected(
        self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with suppress(asyncio.CancelledError):
            await self._serve(client, to_client)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        writers = [to_client]
        self._open.add(to_client)
        try:
            if isinstance(self.target, Path):
                server, to_server = await asyncio.open_unix_connection(self.target)
            else:
                server, to_server = await asyncio.open_connection(*self.target)
            writers.append(to_server)
            self._open.add(to_server)
            talk = _Talk(self._protocol)
            ways = [
                asyncio.create_task(self._forward(Side.CLIENT, talk, client, to_server, to_client)),
                asyncio.create_task(self._forward(Side.SERVER, talk, server, to_client, to_server)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                ends = await asyncio.gather(*ways, return_exceptions=True)
                self._faults += [end for end in ends if isinstance(end, Exception)]
        except OSError:
            pass  # the server is away: so are we
        finally:
            for writer in writers:
                self._open.discard(writer)
                writer.close()

    async def _forward(
        self,
        side: Side,
        talk: "_Talk",
        source: asyncio.StreamReader,
        ahead: asyncio.StreamWriter,
        back: asyncio.StreamWriter,
    ) -> None:
        waiting = b""
        with suppress(OSError, Cut):
            while chunk := await source.read(_CHUNK):
                waiting += chunk
                while length := talk.first(side, waiting):
                    data, waiting = waiting[:length], waiting[length:]
                    name = talk.name(side, data)
                    asked = partial(talk.asked, name) if side is Side.CLIENT else None
                    await self.hook(Message(side, name, data, _to(ahead, asked), _to(back)))
            # The other side ended in the middle of a message.
            await _to(ahead)(waiting)


def _to(
    writer: asyncio.StreamWriter, sent: Callable[[], None] | None = None
) -> Callable[[bytes], Awaitable[None]]:
    async def send(data: bytes) -> None:
        if sent:
            sent()
        writer.write(data)
        await writer.drain()

    return send


class _Talk:
    """What has been said on one connection."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._asked: list[str] = []
        self._started = False

    def first(self, side: Side, data: bytes) -> int:
        """How many bytes are the first message of *data*; 0 while it is not complete."""
        if self._protocol is Protocol.REDIS:
            return resp_length(data)
        return self._postgres_length(side, data)

    def name(self, side: Side, data: bytes) -> str:
        if self._protocol is Protocol.POSTGRES:
            return "startup" if data[:1] == _STARTUP else data[:1].decode()
        if side is Side.SERVER:
            return self._asked.pop(0) if self._asked else ""
        return data.split(b"\r\n", 3)[2].decode().upper()

    def asked(self, name: str) -> None:
        """A request of this *name* was sent on, so that an answer will come."""
        if self._protocol is Protocol.REDIS:
            self._asked.append(name)

    def _postgres_length(self, side: Side, data: bytes) -> int:
        if side is Side.SERVER and self._asked:
            self._asked.clear()
            return 1  # S or N, to the question whether it speaks TLS
        if data[:1] == _STARTUP and data[4:8] == _SSL_REQUEST and side is Side.CLIENT:
            self._asked.append("ssl")
        start = 0 if data[:1] == _STARTUP else 1
        if len(data) < start + 4:
            return 0
        length = start + int.from_bytes(data[start : start + 4], "big")
        return length if len(data) >= length else 0


def resp_length(data: bytes, start: int = 0) -> int:
    """How many bytes the first value in *data* takes up, from the beginning; 0 if cut short."""
    end = data.find(b"\r\n", start) + 2
    if end == 1:
        return 0
    kind, number = data[start : start + 1], data[start + 1 : end - 2]
    if kind in b"$=!":
        end += max(int(number), -2) + 2 if int(number) >= 0 else 0
        return end if len(data) >= end else 0
    parts = int(number) if kind in b"*~>%|" else 0
    for _ in range(parts * 2 if kind in b"%|" else parts):
        end = resp_length(data, end)
        if not end:
            return 0
    return end
