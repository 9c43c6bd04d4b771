"""Members that are processes."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from consumer.testing.consumers import Command
    from consumer.testing.members import Trial
    from consumer.testing.proxy import Proxy

_ENDS_WITHIN_S = 10.0
_TAIL_LINES = 15


class CommandMember:
    """A process, with all that it starts."""

    def __init__(self, consumer: Command, name: str, proxy: Proxy, trial: Trial) -> None:
        self.name, self.proxy = name, proxy
        self._consumer, self._trial = consumer, trial
        self._process: asyncio.subprocess.Process | None = None
        self._log = trial.folder / f"{name}.log"

    async def start(self) -> None:
        """Start it in a session of its own, its output in a file."""
        trial = self._trial
        told = {
            "REDIS_URL": self.proxy.url,
            "CATALOG_EVENT_STREAM_KEY": trial.stream,
            "CONSUMER_GROUP": trial.group,
            "CONSUMER_NAME": self.name,
            "CONSUMER_EFFECTS": str(trial.effects_file),
        }
        for event_id, pause_s in trial.slow.items():
            told |= {"CONSUMER_SLOW_EVENT": event_id, "CONSUMER_SLOW_S": f"{pause_s:g}"}
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._consumer.argv,
                cwd=self._consumer.folder,
                env={**os.environ, **self._consumer.environment, **told},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def kill(self) -> None:
        """SIGKILL to it and all that it has started."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()
        self.proxy.shut()

    async def leave(self) -> str:
        """Ask it to end; what was wrong with how it did, or ""."""
        assert self._process is not None  # noqa: S101 - for the type checker
        with suppress(ProcessLookupError):
            self._process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(_ENDS_WITHIN_S):
                await self._process.wait()
        code = self._process.returncode
        if code is None:
            return f"{self.name} got SIGTERM {_ENDS_WITHIN_S:g} s ago, and runs"
        if code in (0, -signal.SIGTERM):
            return ""
        return f"{self.name} left with exit code {code}: {self._tail()}"

    def ended(self) -> str | None:
        """Its last words if it has ended."""
        if self._process is None or self._process.returncode is None:
            return None
        return f"exit code {self._process.returncode}: {self._tail()}"

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _tail(self) -> str:
        lines = self._log.read_text("utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:]) or "it said nothing"
