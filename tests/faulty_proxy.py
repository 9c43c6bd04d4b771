"""A proxy between a client and a server that does with each message what a test tells it.

It knows where the messages of Redis and of PostgreSQL begin and end, so that "before the third
request" or "in the middle of that reply" is the same place in every run.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from wire import Side, Talk

Address = Path | tuple[str, int]
"""A Unix socket, or host and port."""

_CHUNK = 2**16


class Cut(Exception):
    """Raised by a hook: close the connection on both sides, now."""


@dataclass(frozen=True)
class Message:
    """One message on its way. A hook that neither sends it on nor answers has swallowed it."""

    side: Side
    name: str
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


class FaultyProxy:
    """Forwards to *target*; *hook* and *target* may be exchanged at any time.

    *talk* is RedisTalk or PostgresTalk. What a hook raises, other than Cut, is raised at the end.
    """

    def __init__(
        self,
        talk: Callable[[], Talk],
        target: Address,
        hook: Callable[[Message], Awaitable[None]] = pass_on,
    ) -> None:
        self.target = target
        self.hook = hook
        self._talk = talk
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._faults: list[Exception] = []

    @asynccontextmanager
    async def listening(self, at: Address = ("127.0.0.1", 0)) -> AsyncIterator[Address]:
        """Serve *at* this address, which is yielded with its port."""
        if isinstance(at, Path):
            server = await asyncio.start_unix_server(self._connected, at)
        else:
            server = await asyncio.start_server(self._connected, *at)
            at = server.sockets[0].getsockname()[:2]
        try:
            yield at
        finally:
            server.close()
            self.cut()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
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
        with suppress(asyncio.CancelledError, OSError):
            async with self._kept(to_client):
                if isinstance(self.target, Path):
                    server, to_server = await asyncio.open_unix_connection(self.target)
                else:
                    server, to_server = await asyncio.open_connection(*self.target)
                async with self._kept(to_server):
                    await self._relay(client, to_client, server, to_server)

    @asynccontextmanager
    async def _kept(self, writer: asyncio.StreamWriter) -> AsyncIterator[None]:
        self._open.add(writer)
        try:
            yield
        finally:
            self._open.discard(writer)
            writer.close()

    async def _relay(
        self,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        talk = self._talk()
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

    async def _forward(
        self,
        side: Side,
        talk: Talk,
        source: asyncio.StreamReader,
        ahead: asyncio.StreamWriter,
        back: asyncio.StreamWriter,
    ) -> None:
        waiting = b""
        with suppress(OSError, Cut):
            while chunk := await source.read(_CHUNK):
                waiting += chunk
                while length := talk.length(side, waiting):
                    data, waiting = waiting[:length], waiting[length:]
                    name = talk.name(side, data)
                    if side is Side.CLIENT:
                        send = _sender(ahead, first=partial(talk.asked, name))
                    else:
                        send = _sender(ahead)
                    await self.hook(Message(side, name, data, send, _sender(back)))
            # The other side ended in the middle of a message.
            await _sender(ahead)(waiting)


def _sender(
    writer: asyncio.StreamWriter, *, first: Callable[[], None] | None = None
) -> Callable[[bytes], Awaitable[None]]:
    """Writes to *writer*; calls *first* once, before it."""

    async def send(data: bytes) -> None:
        nonlocal first
        if first:
            first()
            first = None
        writer.write(data)
        await writer.drain()

    return send
