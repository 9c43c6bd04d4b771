"""``pause`` and ``resume``: nothing is published in between, by any process."""

from __future__ import annotations

import getpass
import json
import socket
from typing import TYPE_CHECKING

from outbox import control
from process.console import Exit, notes, screen
from publisher.commands.servers import opened

if TYPE_CHECKING:
    from publisher.settings import Settings


def who() -> str:
    """The person at this terminal."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


async def pause(settings: Settings, reason: str, *, as_json: bool) -> int:
    """Pause publishing; writers go on, and what they write waits."""
    async with opened(settings) as servers:
        await control.pause(servers.pool, by=who(), reason=reason)
        paused = await control.paused(servers.pool)
    if as_json and paused:
        print(json.dumps({"paused": True, "by": paused.by, "reason": paused.reason}))  # noqa: T201
    else:
        screen.print(
            "Paused: every publisher stops within a second or two. Go on with make resume."
        )
    return Exit.FINE


async def resume(settings: Settings, *, as_json: bool) -> int:
    """Publish again."""
    async with opened(settings) as servers:
        was = await control.resume(servers.pool)
    if as_json:
        print(json.dumps({"paused": False, "was": was.reason if was else None}))  # noqa: T201
    elif was is None:
        notes.print("It was not paused.")
    else:
        paused = f"It was paused by {was.by} at {was.at:%F %T %Z}: {was.reason}"
        screen.print(f"Publishing goes on. {paused}")
    return Exit.FINE
