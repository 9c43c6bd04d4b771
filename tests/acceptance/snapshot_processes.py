"""Snapshot servers as processes of their own, and what is asked of them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from processes import ROOT, eventually

TOKEN = "swordfish"  # noqa: S105
_DEFAULTS = {
    "GRPC_BIND_ADDRESS": "127.0.0.1:0",
    "SNAPSHOT_HTTP_ADDRESS": "127.0.0.1:0",
    "SERVICE_AUTH_TOKEN": TOKEN,
}


class SnapshotServer:
    """``python -m snapshot_server`` with its log in a file; started at once."""

    def __init__(self, log_file: Path, environment: dict[str, str], *words: str) -> None:
        self.log_file = log_file
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "snapshot_server", *words],
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

    def kill(self) -> None:
        """End it without a word."""
        self._process.kill()
        self._process.wait()

    def hit(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self, *, within_s: float = 30) -> int:
        """Its exit code, once it has ended. Raises TimeoutError."""

        async def has_ended() -> bool:
            return not self.is_running

        await eventually(has_ended, within_s=within_s)
        return self._process.wait()

    async def stop(self, number: signal.Signals = signal.SIGTERM, *, within_s: float = 30) -> int:
        """Ask it to end; its exit code."""
        self.hit(number)
        return await self.ended(within_s=within_s)

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

    async def said(self, event: str, *, times: int = 1) -> list[dict[str, Any]]:
        """Its lines of *event*, once there are as many. Raises if it ends before."""

        async def has_said() -> bool:
            if len(self.lines(event)) >= times:
                return True
            assert self.is_running, self.text()
            return False

        await eventually(has_said)
        return self.lines(event)

    async def port(self) -> int:
        """Where it serves, once it does."""
        [line, *_] = await self.said("server.started")
        return int(line["address"].rpartition(":")[2])

    async def http_port(self) -> int:
        """Where its health and metrics are."""
        [line, *_] = await self.said("http.started")
        return int(line["address"].rpartition(":")[2])


class StartServer(Protocol):
    """Starts one more server; words for its command line, names and values for its environment."""

    def __call__(self, *words: str, **environment: str) -> SnapshotServer: ...


@contextmanager
def snapshot_servers(dsn: str, folder: Path) -> Iterator[StartServer]:
    """Start any number over *dsn*; none outlives the block."""
    started: list[SnapshotServer] = []

    def start(*words: str, **environment: str) -> SnapshotServer:
        log_file = folder / f"snapshot-{len(started) + 1}.log"
        here = {"DATABASE_URL": dsn} | environment
        started.append(SnapshotServer(log_file, here, *words))
        return started[-1]

    try:
        yield start
    finally:
        for server in started:
            server.kill()
