"""Stands between one member and Redis: sees what it asks, and stops a message where it is told."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from consumer.testing.resp import Frames, words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

_CHUNK = 2**16


class _Side(NamedTuple):
    """One connection's end."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@dataclass(eq=False)
class Hold:
    """A message that goes no further until it is released."""

    what: str
    """The command of a request, or what a reply contains."""
    of_reply: bool
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    rewritten: Callable[[bytes], bytes] = bytes

    def release(self, rewritten: Callable[[bytes], bytes] = bytes) -> None:
        """Let it go on, as *rewritten* makes it."""
        self.rewritten = rewritten
        self.released.set()

    def is_for(self, frame: bytes, command: bytes) -> bool:
        """Whether this is the message; a reply has no *command*."""
        if self.reached.is_set() or self.of_reply is bool(command):
            return False
        what = self.what.encode()
        return what in frame if self.of_reply else what == command


class Proxy:
    """Forwards to the socket *target*; *look* is shown each request before Redis is."""

    def __init__(self, target: Path, look: Callable[[list[bytes]], Awaitable[None]]) -> None:
        self._target = target
        self._look = look
        self._holds: list[Hold] = []
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._faults: list[Exception] = []
        self.admits = True
        """False refuses new connections."""
        self.url = ""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Proxy]:
        """Serve at a port of its own until the end of the block."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        try:
            yield self
        finally:
            server.close()
            self.cut()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._faults:
            raise ExceptionGroup("the proxy failed", self._faults)

    def hold(self, command: str) -> Hold:
        """Stop the next such request; whatever follows it on its connection waits, too."""
        return self._hold(Hold(command, of_reply=False))

    def hold_reply(self, containing: str) -> Hold:
        """Stop the next reply with this in it; Redis has done what was asked."""
        return self._hold(Hold(containing, of_reply=True))

    def cut(self) -> None:
        """Close all connections now; what is held never arrives."""
        self._holds.clear()
        for writer in self._open:
            writer.transport.abort()

    def shut(self) -> None:
        """The member is dead: cut, and admit nobody any more."""
        self.admits = False
        self.cut()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with suppress(asyncio.CancelledError, OSError):
            async with self._kept(writer):
                if not self.admits:
                    return
                server = _Side(*await asyncio.open_unix_connection(self._target))
                async with self._kept(server.writer):
                    await self._relay(_Side(reader, writer), server)

    @asynccontextmanager
    async def _kept(self, writer: asyncio.StreamWriter) -> AsyncIterator[None]:
        self._open.add(writer)
        try:
            yield
        finally:
            self._open.discard(writer)
            writer.close()

    async def _relay(self, member: _Side, server: _Side) -> None:
        ways = [
            asyncio.create_task(self._requests(member.reader, server.writer)),
            asyncio.create_task(self._replies(server.reader, member.writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            ends = await asyncio.gather(*ways, return_exceptions=True)
            self._faults += [end for end in ends if isinstance(end, Exception)]

    async def _requests(self, member: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        frames = Frames()
        with suppress(OSError):
            while data := await member.read(_CHUNK):
                for frame in frames.feed(data):
                    request = words(frame)
                    await self._look(request)
                    server.write(await self._passed(frame, request[0].upper() if request else b""))
                await server.drain()

    async def _replies(self, server: asyncio.StreamReader, member: asyncio.StreamWriter) -> None:
        frames = Frames()
        with suppress(OSError):
            while data := await server.read(_CHUNK):
                for frame in frames.feed(data):
                    member.write(await self._passed(frame, b""))
                await member.drain()

    async def _passed(self, frame: bytes, command: bytes) -> bytes:
        """What goes on, when it may."""
        for hold in self._holds:
            if hold.is_for(frame, command):
                hold.reached.set()
                await hold.released.wait()
                return hold.rewritten(frame)
        return frame

    def _hold(self, hold: Hold) -> Hold:
        self._holds.append(hold)
        return hold
