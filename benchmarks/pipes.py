"""How fast it could be: the same rows through a pipe, and entries out of nowhere."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import asynccontextmanager
from subprocess import DEVNULL, PIPE
from typing import TYPE_CHECKING

from benchmarks.errors import ProgramEnded
from benchmarks.servers import SQL, STREAM_KEY, Servers
from embedded.postgres import wheel_binaries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_ROWS_AT_ONCE = 1000
_COMMANDS_AT_ONCE = 64
_FIELDS = (
    *("type", "catalog.updated", "entity", "series"),
    *("entityId", "5f0c2a7e-9d43-4c1b-8a86-3f2d1e7b6c05", "operation", "update"),
    *("timestamp", "2026-11-22T11:37:51.008Z", "payload", '{"title":"' + 168 * "x" + '"}'),
)


def redis_cli() -> str | None:
    """The program, where it is installed."""
    return shutil.which("redis-cli") or shutil.which("valkey-cli")


def redis_benchmark() -> str | None:
    """The program, where it is installed."""
    return shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")


@asynccontextmanager
async def table_to_stream(servers: Servers, dsn: str, client: str) -> AsyncIterator[None]:
    """``psql | redis-cli --pipe`` over outbox.event; ended, and its answer read, with the block."""
    read_end, write_end = os.pipe()
    psql = await asyncio.create_subprocess_exec(
        wheel_binaries() / "psql",
        dsn,
        "--no-psqlrc",
        "--quiet",
        "--tuples-only",
        "--no-align",
        "--record-separator=",
        f"--set=FETCH_COUNT={_ROWS_AT_ONCE}",
        f"--command={SQL['redis_protocol']}",
        stdin=DEVNULL,
        stdout=write_end,
        # As the publisher reads: from the index, from the first row on.
        env=os.environ
        | {"PGOPTIONS": "-c enable_seqscan=off -c enable_bitmapscan=off -c enable_sort=off"},
    )
    pipe = await asyncio.create_subprocess_exec(
        client,
        "-s",
        str(servers.valkey.socket_path),
        "--pipe",
        stdin=read_end,
        stdout=PIPE,
        stderr=PIPE,
    )
    os.close(read_end)
    os.close(write_end)
    try:
        yield
        said, complained = await pipe.communicate()
        await psql.wait()
        if psql.returncode or pipe.returncode or b"errors: 0," not in said:
            raise ProgramEnded((said + complained).decode(errors="replace"))
    finally:
        for process in (psql, pipe):
            if process.returncode is None:
                process.kill()
                await process.wait()


async def out_of_nowhere(servers: Servers, program: str, events: int) -> float:
    """Entries a second that ``redis-benchmark`` adds, with fields of the same size."""
    benchmark = await asyncio.create_subprocess_exec(
        program,
        "-s",
        str(servers.valkey.socket_path),
        *("-n", str(events), "-P", str(_COMMANDS_AT_ONCE), "--csv"),
        *("XADD", STREAM_KEY, "*", *_FIELDS),
        stdout=PIPE,
        stderr=PIPE,
    )
    said, complained = await benchmark.communicate()
    last = said.decode().strip().rpartition("\n")[2].split('","')
    if benchmark.returncode or len(last) < 2:  # noqa: PLR2004 - the name and the rate
        raise ProgramEnded((said + complained).decode(errors="replace"))
    return float(last[1].strip('"'))
