"""The programs that are measured, each a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import psutil

from benchmarks.errors import ProgramEnded
from benchmarks.servers import ROOT, Servers
from embedded.server import last_lines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PUBLISHER = ("-m", "publisher")
TEXTBOOK = ("-m", "benchmarks.textbook")
SNAPSHOT_SERVER = ("-m", "snapshot_server")
PROJECTOR = ("-m", "snapshot_server", "projector")
SEARCH = ("-m", "consumer", "search")
BETTERPROTO2 = ("-m", "benchmarks.encoding_server", "betterproto2")
VIEWER = ("-m", "viewer")
INVALIDATOR = ("-m", "viewer", "invalidate")
GRPCIO = ("-m", "benchmarks.encoding_server", "grpcio")

_READY = b"place.found"
_LOOK_EVERY_S = 0.01
_WATCH_EVERY_S = 0.1
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 15.0
_LOG_TIMEOUT_S = 600.0
_OURS = (
    *("CATALOG_", "PUBLISHER_", "STREAM_", "OUTBOX_", "PG", "LOG_LEVEL"),
    *("SNAPSHOT_", "GRPC_", "SERVICE_AUTH_TOKEN", "ALLOW_UNAUTHENTICATED"),
    *("CONSUMER_", "SEARCH_"),
    *("VIEWER_", "CACHE_", "CDN_BASE_URL"),
)
_SERVING = {
    "GRPC_BIND_ADDRESS": "127.0.0.1:0",
    "ALLOW_UNAUTHENTICATED": "1",
    "SNAPSHOT_HTTP_ADDRESS": "off",
    "CACHE_HTTP_ADDRESS": "off",
    "CDN_BASE_URL": "https://cdn.example.com",
}


class Program:
    """A running program."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        self._peak_bytes = 0
        self._read = 0

    def look(self) -> None:
        """Note how much memory it has. Raises ProgramEnded."""
        if self._process.poll() is not None:
            raise ProgramEnded(last_lines(self._log))
        with suppress(psutil.NoSuchProcess):
            resident = psutil.Process(self._process.pid).memory_info().rss
            self._peak_bytes = max(self._peak_bytes, resident)

    async def said(self, event: str) -> dict[str, Any]:
        """The next line of its log with this *event*. Looks at its memory while it waits."""
        async with asyncio.timeout(_LOG_TIMEOUT_S):
            while True:
                lines = self._log.read_bytes()
                while (end := lines.find(b"\n", self._read)) >= 0:
                    line, self._read = lines[self._read : end], end + 1
                    if line.startswith(b"{") and (found := json.loads(line))["event"] == event:
                        self.look()
                        return cast("dict[str, Any]", found)
                self.look()
                await asyncio.sleep(_LOOK_EVERY_S)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look at its memory, again and again, until the block ends."""

        async def watch() -> None:
            while True:
                self.look()
                await asyncio.sleep(_WATCH_EVERY_S)

        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch())
            yield
            watching.cancel()

    @property
    def peak_mb(self) -> float:
        """The most memory that it was seen to have, in 10^6 bytes."""
        return self._peak_bytes / 1e6

    async def ready(self) -> None:
        """Return when the publisher has said that it knows where the stream ends."""
        async with asyncio.timeout(_START_TIMEOUT_S):
            while _READY not in self._log.read_bytes():
                self.look()
                await asyncio.sleep(_LOOK_EVERY_S)


@asynccontextmanager
async def started(
    servers: Servers, dsn: str, program: tuple[str, ...], **settings: str
) -> AsyncIterator[Program]:
    """Run *program* with Python, against both servers, until the block ends."""
    log = servers.folder / f"{'-'.join(program[1:])}.log"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)}
    environment |= {"DATABASE_URL": dsn, "REDIS_URL": servers.redis_url}
    # The memory budget is out of the way: five million events are more than it lets stand.
    environment |= {"PUBLISHER_HTTP_ADDRESS": "127.0.0.1:0", "STREAM_MAX_MEMORY_MB": "65536"}
    environment |= _SERVING | settings
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: ASYNC220 - starts, and is waited for elsewhere
            [sys.executable, *program],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield Program(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(process.wait, _STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
