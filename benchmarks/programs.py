"""The relays that are measured, each a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import psutil

from benchmarks.errors import ProgramEnded
from benchmarks.servers import ROOT, Servers
from embedded.server import last_lines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PUBLISHER = ("-m", "publisher")
TEXTBOOK = ("-m", "benchmarks.textbook")

_READY = b"place.found"
_LOOK_EVERY_S = 0.01
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 15.0
_OURS = ("CATALOG_", "PUBLISHER_", "STREAM_", "OUTBOX_", "PG", "LOG_LEVEL")


class Program:
    """A running program."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        self._peak_bytes = 0

    def look(self) -> None:
        """Note how much memory it has. Raises ProgramEnded."""
        if self._process.poll() is not None:
            raise ProgramEnded(last_lines(self._log))
        with suppress(psutil.NoSuchProcess):
            resident = psutil.Process(self._process.pid).memory_info().rss
            self._peak_bytes = max(self._peak_bytes, resident)

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
    log = servers.folder / f"{program[1]}.log"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)}
    environment |= {"DATABASE_URL": dsn, "REDIS_URL": servers.redis_url}
    # The memory budget is out of the way: five million events are more than it lets stand.
    environment |= {"PUBLISHER_HTTP_ADDRESS": "127.0.0.1:0", "STREAM_MAX_MEMORY_MB": "65536"}
    environment |= settings
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
