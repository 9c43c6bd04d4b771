"""Viewers and invalidators as processes of their own; an invalidator says what it has purged.

Run as a program this is ``python -m viewer …`` with one difference: after each purge it writes down
the events, in the file PURGED.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from processes import ROOT

VIEWER, INVALIDATOR = (), ("invalidate",)


class Program:
    """One of them; started at once."""

    def __init__(self, log_file: Path, words: Sequence[str], environment: dict[str, str]) -> None:
        self.words = words
        self.environment = environment
        self._log_file = log_file
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, __file__, *words],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it without a word, also if it is frozen."""
        self._process.kill()
        self._process.wait()

    def wait(self, timeout_s: float) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired."""
        return self._process.wait(timeout_s)

    def tail(self) -> str:
        return self._log_file.read_text("utf-8")[-3000:]


class Programs:
    """Starts any number; *told* is what all of them are told."""

    def __init__(self, folder: Path, told: dict[str, str]) -> None:
        self._folder, self._told = folder, told
        self.started: list[Program] = []

    def start(self, words: Sequence[str], **environment: str) -> Program:
        number = len(self.started) + 1
        log_file = self._folder / f"viewer-{number:03}.log"
        self.started.append(Program(log_file, words, self._told | environment))
        return self.started[-1]


@contextmanager
def viewer_programs(folder: Path, told: dict[str, str]) -> Iterator[Programs]:
    """None of them outlives the block."""
    programs = Programs(folder, told)
    try:
        yield programs
    finally:
        for program in programs.started:
            program.kill()


def _main() -> None:
    from consumer.event import Event  # noqa: PLC0415 - the tests have no use for these
    from consumer.settings import Options  # noqa: PLC0415
    from viewer import __main__ as program  # noqa: PLC0415
    from viewer.purging import service  # noqa: PLC0415
    from viewer.purging.invalidator import Invalidator  # noqa: PLC0415

    class Telling(Invalidator):
        async def purge(self, events: Sequence[Event]) -> None:
            await super().purge(events)
            lines = [f"{one.entity_id} {one.payload.get('title', '')}" for one in events]
            os.write(purged, "".join(f"{line}\n" for line in lines).encode())

    assert asyncio
    purged = os.open(os.environ["PURGED"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    vars(service)["Invalidator"] = Telling
    vars(service)["_OPTIONS"] = Options(lease_s=0.8, block_s=0.2, backoff_cap_s=0.3)
    program.app(prog_name="python -m viewer")


if __name__ == "__main__":
    _main()
