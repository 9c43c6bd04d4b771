"""How fast one process handles and acknowledges what waits in a stream."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from functools import partial
from importlib import resources
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.errors import ProgramEnded
from benchmarks.rounds import alternate
from benchmarks.row import Row
from benchmarks.servers import ROOT, STREAM_KEY, Servers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.screen import Screen

GROUP = "bench"
_FILL = resources.files("benchmarks").joinpath("fill_stream.lua").read_text("utf-8")
_PROGRAM = ("-m", "benchmarks.consumers")
_AT_ONCE = 5_000
_ENTITIES = 10_000
_TIMEOUT_S = 300.0
_SLOW = "faststream"
"""This one gets a tenth of the events."""


@dataclass(frozen=True)
class Consumed:
    """What one program came to."""

    events_per_s: float
    cpu_us: float
    """Of its own, for each event."""

    def __str__(self) -> str:
        """For people."""
        return f"{self.events_per_s:,.0f} events/s, {self.cpu_us:.1f} µs of CPU each"


async def run(servers: Servers, screen: Screen, *, quick: bool) -> list[Row]:
    """A backlog, a handler that does nothing, and an acknowledgement for each event."""
    events, rounds = (100_000, 3) if quick else (400_000, 5)
    runs: dict[str, Callable[[], Awaitable[Consumed]]] = {
        name: partial(_consumed, servers, name, events // 10 if name == _SLOW else events)
        for name in ("ours", _SLOW, "bare")
    }
    found = await alternate(screen, "consumer", runs, rounds=rounds)
    rate = {name: median(one.events_per_s for one in results) for name, results in found.items()}
    cpu = {name: median(one.cpu_us for one in results) for name, results in found.items()}
    return [
        Row("consumer", "no-op handler", "events/s", rate.pop("ours"), rate),
        Row("consumer", "no-op handler, CPU for an event", "µs", cpu.pop("ours"), cpu),
    ]


async def _consumed(servers: Servers, name: str, events: int) -> Consumed:
    async with servers.redis() as redis:
        await redis.flushall()
        fill = redis.register_script(_FILL)
        for first in range(0, events, _AT_ONCE):
            await fill(keys=[STREAM_KEY], args=[first, _AT_ONCE, _ENTITIES])
        await redis.xgroup_create(STREAM_KEY, GROUP, "0")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *_PROGRAM, name, str(events)),
        cwd=ROOT,
        env=os.environ | {"REDIS_URL": servers.redis_url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            said, wrong = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise ProgramEnded(wrong.decode()[-2000:])
    return Consumed(**json.loads(said))
