"""Several servers at one port: a parent that starts them, and starts again the one that dies."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from outbox.errors import BadSetting
from process.address import Address, nobody_can_listen

if TYPE_CHECKING:
    from collections.abc import Callable

    from snapshot_server.settings import Settings

log = structlog.get_logger(__name__)

_GRACE_S = 15.0
"""Beyond its drain, before a process is killed."""
_BACKOFF_BASE_S, _BACKOFF_CAP_S = 0.5, 10.0
_SOUND_S = 30.0
"""One that ran for so long did not die of how it was started."""
_USAGE = 2
"""The exit code for settings that cannot be used."""


def pause_before_restart(deaths: int, *, dice: float) -> float:
    """Exponential with half jitter, in seconds; *dice* is in [0, 1)."""
    ceiling = min(_BACKOFF_CAP_S, _BACKOFF_BASE_S * 2.0 ** min(deaths - 1, 32))
    return ceiling * (1 + dice) / 2


async def supervise(settings: Settings, stop: asyncio.Event) -> int:
    """Keep ``settings.processes`` of them running until *stop* is set; the exit code.

    Raises BadSetting.
    """
    with _reserved(settings.address) as held:
        address = Address(settings.address.host, held.getsockname()[1])
        log.info("processes.started", address=str(address), processes=settings.processes)
        async with asyncio.TaskGroup() as tasks:
            kept = [
                tasks.create_task(_keep(settings, number, address, stop))
                for number in range(settings.processes)
            ]
        codes = [task.result() for task in kept]
    log.info("processes.stopped", codes=codes)
    return _USAGE if _USAGE in codes else max(codes)


async def _keep(settings: Settings, number: int, address: Address, stop: asyncio.Event) -> int:
    """One of them, until *stop* is set; 0 if the last one ended well."""
    deaths = 0
    while True:
        began = time.monotonic()
        process = await _start(number, address)
        stopping = asyncio.ensure_future(stop.wait())
        ending = asyncio.ensure_future(process.wait())
        await asyncio.wait({stopping, ending}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if stop.is_set():
            return await _stopped(process, ending, within_s=settings.drain_s + _GRACE_S)
        code = ending.result()
        log.error("process.died", number=number, pid=process.pid, code=code)
        if code == _USAGE:
            # It has said why, and would say it again.
            stop.set()
            return code
        deaths = 1 if time.monotonic() - began > _SOUND_S else deaths + 1
        pause_s = pause_before_restart(deaths, dice=random.random())  # noqa: S311
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause_s)
        if stop.is_set():
            return 0


async def _start(number: int, address: Address) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "snapshot_server", "--number", str(number)),
        env=os.environ | {"GRPC_BIND_ADDRESS": str(address)},
        # It ends when this pipe does: when the parent is gone, however it went.
        stdin=asyncio.subprocess.PIPE,
        # A Ctrl-C at the terminal is for the parent, which hands it on as SIGTERM.
        start_new_session=True,
    )
    log.info("process.started", number=number, pid=process.pid)
    return process


async def _stopped(
    process: asyncio.subprocess.Process, ending: asyncio.Future[int], *, within_s: float
) -> int:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        # One that died of the signal was still being started.
        code = await asyncio.wait_for(asyncio.shield(ending), within_s)
    except TimeoutError:
        log.warning("process.killed", pid=process.pid, after_s=within_s)
        process.kill()
        code = await ending
    return 0 if code in {0, -signal.SIGTERM} else 1


def _reserved(wanted: Address) -> socket.socket:
    """A socket that holds the port without listening, so that 0 is one port for all of them.

    Raises BadSetting if somebody else listens there.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise BadSetting("SNAPSHOT_SERVER_PROCESSES is above 1; this system has no SO_REUSEPORT")
    try:
        [(family, kind, protocol, _, where), *_] = socket.getaddrinfo(
            wanted.host, wanted.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        if wanted.port:
            # Without SO_REUSEPORT it is refused if anybody else listens, another of us included.
            with socket.socket(family, kind, protocol) as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                trial.bind(where)
        held = socket.socket(family, kind, protocol)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(where)
    except OSError as exc:
        raise nobody_can_listen("GRPC_BIND_ADDRESS", wanted, exc) from exc
    return held


async def end_with_parent(stop: Callable[[], None]) -> None:
    """Call *stop* when the pipe from the parent closes. It runs until then."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    stop()
