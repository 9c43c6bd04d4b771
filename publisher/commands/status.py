"""``status`` on the screen, and as JSON; once, or again each second."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import nullcontext, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from process import console
from process.console import Exit
from publisher.commands.overview import overview
from publisher.commands.servers import opened
from publisher.survey.survey import survey

if TYPE_CHECKING:
    from rich.live import Live

    from publisher.settings import Settings
    from publisher.survey.status import Status

_AGAIN_AFTER_S = 1.0


async def run(settings: Settings, *, as_json: bool, watch: bool) -> int:
    """Show the status; the exit code is that of the last one shown."""
    async with opened(settings) as servers:
        if not watch:
            now = await survey(settings, servers.pool, servers.redis)
            _show(now, as_json=as_json)
            return _exit_code(now)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        live = _live() if console.screen.is_terminal and not as_json else None
        code = Exit.FINE
        with live or nullcontext():
            while not stop.is_set():
                asking = asyncio.ensure_future(survey(settings, servers.pool, servers.redis))
                if not await _finished(asking, stop):
                    break
                now = asking.result()
                code = _exit_code(now)
                if live:
                    live.update(overview(now), refresh=True)
                else:
                    _show(now, as_json=as_json)
                await _pause(stop)
    return code


def _live() -> Live:
    from rich.live import Live  # noqa: PLC0415 - only who watches waits for it

    return Live(console=console.screen, auto_refresh=False, screen=True)


def _show(now: Status, *, as_json: bool) -> None:
    if as_json:
        groups = [asdict(group) for group in now.groups]
        whole = asdict(now) | {"groups": groups, "problems": now.problems}
        print(json.dumps(whole), flush=True)  # noqa: T201
    else:
        console.screen.print(overview(now))
        for said in now.away.values():
            console.notes.print(said, style="red", highlight=False, markup=False)


def _exit_code(now: Status) -> Exit:
    if now.away:
        return Exit.UNREACHABLE
    return Exit.DEGRADED if now.problems else Exit.FINE


async def _finished(asking: asyncio.Future[Status], stop: asyncio.Event) -> bool:
    """Wait for *asking*, or until *stop* is set; whether it was finished."""
    stopping = asyncio.ensure_future(stop.wait())
    waits: list[asyncio.Future[Any]] = [asking, stopping]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        if not asking.done():
            asking.cancel()
    return asking.done() and not asking.cancelled()


async def _pause(stop: asyncio.Event) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), _AGAIN_AFTER_S)
