"""Clients, each a process of its own: see reader.py."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from contextlib import asynccontextmanager
from subprocess import PIPE
from typing import TYPE_CHECKING, Any

from benchmarks.errors import ProgramEnded
from benchmarks.reader import Sync, Wish
from benchmarks.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_START_TIMEOUT_S = 60.0


async def syncs(wish: Wish) -> list[Sync]:
    """What each of the calls came to."""
    return [Sync(*one) for one in await _said(wish)]


async def videos(wish: Wish) -> list[float]:
    """Milliseconds, one for each call."""
    return [float(one) for one in await _said(wish)]


@asynccontextmanager
async def reading(address: str, count: int) -> AsyncIterator[list[float]]:
    """Have *count* clients take full syncs, one after the other, until the block ends.

    Then the list has the bytes a second that each of them came to.
    """
    processes = [await _started(Wish(address, forever=True)) for _ in range(count)]
    rates: list[float] = []
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            for process in processes:
                assert process.stdout  # noqa: S101 - a pipe was asked for
                if not await process.stdout.readline():
                    raise ProgramEnded(await _last_words(process))
        yield rates
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            said, complained = await process.communicate()
            if process.returncode:
                raise ProgramEnded(complained.decode(errors="replace"))
            rates.append(json.loads(said))
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _said(wish: Wish) -> Any:  # noqa: ANN401 - JSON
    process = await _started(wish)
    try:
        said, complained = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise ProgramEnded(complained.decode(errors="replace"))
    return json.loads(said)


async def _started(wish: Wish) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.reader", json.dumps(wish._asdict())),
        cwd=ROOT,
        stdout=PIPE,
        stderr=PIPE,
    )


async def _last_words(process: asyncio.subprocess.Process) -> str:
    _, complained = await process.communicate()
    return complained.decode(errors="replace")
