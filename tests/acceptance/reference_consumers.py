"""Reference consumers as processes of their own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DYING = Path(__file__).with_name("dying_consumer.py")
_DEFAULTS = {"CONSUMER_NAME": "m", "CONSUMER_LEASE_S": "1", "CONSUMER_HTTP_ADDRESS": "off"}


class Running:
    """A process, with its log in a file."""

    def __init__(self, log: Path, environment: Mapping[str, str], *words: str) -> None:
        self._log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, *words],
                cwd=ROOT,
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": str(ROOT),
                    **_DEFAULTS,
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )

    def end(self) -> int:
        """Ask it to; its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(20)

    def ended(self) -> int:
        """Its exit code, when it has ended by itself."""
        return self._process.wait(20)

    def kill(self) -> None:
        """Let nothing of it be left."""
        self._process.kill()
        self._process.wait()

    def lines(self, event: str) -> list[dict[str, Any]]:
        """What it logged of *event*."""
        whole, _, _ = self._log.read_text("utf-8").rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines()]
        return [line for line in lines if line["event"] == event]


@contextmanager
def running(log: Path, environment: Mapping[str, str], *words: str) -> Iterator[Running]:
    """``python <words>`` meanwhile."""
    process = Running(log, environment, *words)
    try:
        yield process
    finally:
        process.kill()
