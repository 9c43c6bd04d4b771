"""What capture costs the writers."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import AsyncExitStack
from functools import partial
from statistics import median
from subprocess import PIPE
from typing import TYPE_CHECKING

import asyncpg

from benchmarks.errors import ProgramEnded
from benchmarks.programs import PUBLISHER, started
from benchmarks.rounds import alternate
from benchmarks.row import Row
from benchmarks.servers import SQL, Servers
from embedded.postgres import wheel_binaries

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks.screen import Screen

_CONNECTIONS = (1, 16)
_OURS, _WITHOUT, _BY_HAND = "capture", "without", "insert_by_hand"
_RATE = re.compile(rb"^tps = ([0-9.]+)", re.MULTILINE)


async def run(servers: Servers, screen: Screen, *, quick: bool) -> list[Row]:
    """Transactions of one row, and one statement over 100,000, with and without capture."""
    seconds, rounds = (2, 2) if quick else (4, 5)
    rows: list[Row] = []
    async with (
        servers.database("capture") as dsn,
        servers.redis() as redis,
        AsyncExitStack() as end,
    ):
        await redis.flushall()
        connection = await asyncpg.connect(dsn)
        end.push_async_callback(connection.close)
        bench = Writers(servers, dsn, connection, seconds)
        for connections in _CONNECTIONS:
            case = f"1 row, {connections} connection{'s' * (connections > 1)}"
            rates = await alternate(
                screen,
                f"capture, {case}",
                {
                    _WITHOUT: partial(bench.without, connections),
                    _OURS: partial(bench.captured, connections),
                    _BY_HAND: partial(bench.by_hand, connections),
                },
                rounds=rounds,
            )
            rows.append(_row(case, "tx/s", rates))
        times = await alternate(
            screen,
            "capture, 100,000 rows",
            {
                _WITHOUT: partial(bench.bulk, capture=False),
                _OURS: partial(bench.bulk, capture=True),
            },
            rounds=rounds,
        )
        rows.append(_row("1 statement, 100,000 rows", "s", times))
        dead = await _dead_tuples(connection)
        rows.append(Row("capture", "dead tuples in outbox.event and outbox.tick", "rows", dead, {}))
        await redis.flushall()
    return rows


class Writers:
    """Those who change series, in three ways."""

    def __init__(
        self, servers: Servers, dsn: str, connection: asyncpg.Connection, seconds: int
    ) -> None:
        self._servers = servers
        self._dsn = dsn
        self._connection = connection
        self._seconds = seconds

    async def without(self, connections: int) -> float:
        """Nobody hears of the change."""
        await self._connection.execute(SQL["capture_off"])
        return await self._pgbench(connections, SQL["pgbench_update"])

    async def captured(self, connections: int) -> float:
        """As in production: triggers on, and a publisher that sleeps and is woken."""
        await self._connection.execute(SQL["capture_on"])
        async with started(self._servers, self._dsn, PUBLISHER) as publisher:
            await publisher.ready()
            return await self._pgbench(connections, SQL["pgbench_update"])

    async def by_hand(self, connections: int) -> float:
        """The application writes the outbox row itself."""
        await self._connection.execute(SQL["capture_off"])
        return await self._pgbench(connections, SQL["pgbench_update_and_insert"])

    async def bulk(self, *, capture: bool) -> float:
        """Seconds that one statement over all rows takes."""
        await self._connection.execute(SQL["capture_on" if capture else "capture_off"])
        await self._connection.execute(SQL["vacuum"])
        await self._connection.execute(SQL["checkpoint"])
        began = time.perf_counter()
        await self._connection.execute(SQL["update_all"], str(began))
        return time.perf_counter() - began

    def _write(self, script: str) -> Path:
        file = self._servers.folder / "pgbench.sql"
        file.write_text(script + ";\n", "utf-8")
        return file

    async def _pgbench(self, connections: int, script: str) -> float:
        await self._connection.execute(SQL["checkpoint"])
        file = self._write(script)
        pgbench = await asyncio.create_subprocess_exec(
            wheel_binaries() / "pgbench",
            *("--no-vacuum", "--protocol=prepared", f"--file={file}", f"--time={self._seconds}"),
            *(f"--client={connections}", f"--jobs={min(connections, 2)}", self._dsn),
            stdout=PIPE,
            stderr=PIPE,
        )
        said, complained = await pgbench.communicate()
        rate = _RATE.search(said)
        if pgbench.returncode or rate is None:
            raise ProgramEnded((said + complained).decode(errors="replace"))
        return float(rate[1])


def _row(case: str, unit: str, found: Mapping[str, list[float]]) -> Row:
    middle = {name: median(values) for name, values in found.items()}
    return Row("capture", case, unit, middle.pop(_OURS), middle)


async def _dead_tuples(connection: asyncpg.Connection) -> int:
    await connection.execute(SQL["show_statistics_now"])
    dead: int = await connection.fetchval(SQL["dead_tuples"])
    return dead
