"""Publishers as processes of their own, and waiting for what they do."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).resolve().parents[2]
# Many run at once on one machine, and nobody asks them.
_DEFAULTS = {"PUBLISHER_HTTP_ADDRESS": "off"}


async def eventually(condition: Callable[[], Awaitable[bool]], *, within_s: float = 30) -> None:
    """Return once *condition* holds. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110 - it is another process that we wait for
            await asyncio.sleep(0.02)


async def command(environment: dict[str, str], *words: str) -> tuple[int, str]:
    """What on-call types, with nobody to ask: exit code and result."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "publisher", *words),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


class Publisher:
    """``python -m publisher`` with its log in a file; started at once."""

    def __init__(self, log_file: Path, environment: dict[str, str]) -> None:
        self.log_file = log_file
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "publisher"],
                cwd=ROOT,
                env=inherited | _DEFAULTS | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def holder(self) -> str:
        """What it calls itself in the table of leases. Raises IndexError before it has started."""
        name: str = self.lines("publisher.started")[0]["holder"]
        return name

    def kill(self) -> None:
        """End it without a word, as a power cut would."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Let it stand still in the middle of whatever it does."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on where it stood still."""
        self._process.send_signal(signal.SIGCONT)

    async def stop(self, number: signal.Signals = signal.SIGTERM, *, within_s: float = 30) -> int:
        """Ask it to end; its exit code."""
        self._process.send_signal(number)
        return await self.ended(within_s=within_s)

    async def ended(self, *, within_s: float = 30) -> int:
        """Its exit code, once it has ended. Raises TimeoutError."""

        async def has_ended() -> bool:
            return not self.is_running

        await eventually(has_ended, within_s=within_s)
        return self._process.wait()

    def text(self) -> str:
        return self.log_file.read_text("utf-8")

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        """What it logged, of *event* or at all. Raises ValueError for what is not JSON."""
        whole, _, _ = self.text().rpartition("\n")
        try:
            lines: list[dict[str, Any]] = [json.loads(line) for line in whole.splitlines()]
        except ValueError as exc:
            raise ValueError(whole) from exc
        return [line for line in lines if event in (None, line["event"])]


class Start(Protocol):
    """Starts one more publisher; names and values for its environment."""

    def __call__(self, **environment: str) -> Publisher: ...


@contextmanager
def publishers(dsn: str, redis_url: str, folder: Path) -> Iterator[Start]:
    """Start any number between *dsn* and *redis_url*; none outlives the block."""
    started: list[Publisher] = []

    def start(**environment: str) -> Publisher:
        here = {"DATABASE_URL": dsn, "REDIS_URL": redis_url}
        log_file = folder / f"publisher-{len(started) + 1}.log"
        started.append(Publisher(log_file, here | environment))
        return started[-1]

    try:
        yield start
    finally:
        for publisher in started:
            publisher.kill()
