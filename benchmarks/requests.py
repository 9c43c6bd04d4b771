"""A gateway in a process of its own, started as ``python -m benchmarks.requests '<wish>'``.

HTTP as bytes over connections that stay open. What it found goes to standard output, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from asyncio.subprocess import PIPE
from dataclasses import asdict, dataclass
from itertools import cycle

from benchmarks.errors import ProgramEnded
from benchmarks.row import quantile
from benchmarks.servers import ROOT

_HEADER_END = b"\r\n\r\n"
_LENGTH = b"Content-Length: "
_FINE = b"HTTP/1.1 200 "


@dataclass(frozen=True)
class Wish:
    """What is to be asked for."""

    host: str
    port: int
    paths: tuple[str, ...]
    """In turn, one for each request."""
    requests: int
    connections: int
    per_s: float = 0.0
    """Of requests, whatever became of those before; 0: the next one when there is an answer."""


@dataclass(frozen=True)
class Answers:
    """What came of it."""

    took_s: float
    ms: list[float]
    """One for each request, from when it was due."""
    hits: int

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return len(self.ms) / self.took_s

    def __str__(self) -> str:
        """For people."""
        p50, p99 = (quantile(self.ms, share) for share in (0.5, 0.99))
        return f"{self.per_s:,.0f} requests/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms"


async def ask(wish: Wish) -> Answers:
    """Have a process of its own ask. Raises ProgramEnded."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.requests"),
        cwd=ROOT,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
    said, complained = await process.communicate(json.dumps(asdict(wish)).encode())
    if process.returncode:
        raise ProgramEnded(complained.decode(errors="replace"))
    return Answers(**json.loads(said))


class _Connection:
    """One, on which one request is under way at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def get(self, request: bytes) -> bool:
        """Whether it came from the cache."""
        self._writer.write(request)
        head = await self._reader.readuntil(_HEADER_END)
        _, _, rest = head.partition(_LENGTH)
        await self._reader.readexactly(int(rest[: rest.index(b"\r")]))
        if not head.startswith(_FINE):
            raise RuntimeError(head.decode(errors="replace"))
        return b"X-Cache: hit" in head


async def _asked(wish: Wish) -> Answers:
    ready: asyncio.Queue[_Connection] = asyncio.Queue()
    for _ in range(wish.connections):
        ready.put_nowait(_Connection(*await asyncio.open_connection(wish.host, wish.port)))
    requests = cycle(
        f"GET {path} HTTP/1.1\r\nHost: {wish.host}\r\n\r\n".encode() for path in wish.paths
    )
    ms: list[float] = []
    hits = 0

    async def one(connection: _Connection, request: bytes, due: float) -> None:
        nonlocal hits
        is_hit = await connection.get(request)
        hits += is_hit
        ms.append((time.perf_counter() - due) * 1000)
        ready.put_nowait(connection)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(wish.requests):
            due = began + number / wish.per_s if wish.per_s else 0.0
            early_s = due - time.perf_counter()
            if early_s > 0:
                await asyncio.sleep(early_s)
            connection = await ready.get()
            tasks.create_task(one(connection, next(requests), due or time.perf_counter()))
    return Answers(time.perf_counter() - began, ms, hits)


def _main() -> None:
    told = json.loads(sys.stdin.read())
    told["paths"] = tuple(told["paths"])
    print(json.dumps(asdict(asyncio.run(_asked(Wish(**told))))))  # noqa: T201 - what it is for


if __name__ == "__main__":
    _main()
