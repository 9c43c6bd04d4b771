"""The programs of `make run`: started together, ended readers first, none left behind."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from embedded.errors import ProgramEnded
from embedded.server import find, gone, kill_family, last_lines, wait_until

_STOP_TIMEOUT_S = 15.0
_LOOK_EVERY_S = 0.02


@dataclass(frozen=True)
class Program:
    """One of them. What differs from run to run is in its environment, not in its words."""

    name: str
    words: tuple[str, ...]
    reads: bool = False
    """It lives on what the others give, and ends before them."""
    ready: str | None = None
    """What its log says once it does its work, where somebody waits for it."""
    later: bool = False
    """Nobody looks at it at once: it need not share the processors while others start."""

    def log(self, folder: Path) -> Path:
        """What it has said since it was last started."""
        return folder / f"{self.name}.log"

    def pid_file(self, folder: Path) -> Path:
        """Which process it is."""
        return folder / f"{self.name}.pid"


PROGRAMS = (
    Program("publisher", ("-m", "publisher")),
    Program("snapshot-server", ("-m", "snapshot_server")),
    Program("viewer", ("-m", "viewer"), ready="http.started"),
    Program("search", ("-m", "consumer", "search"), reads=True, ready="index.level"),
    Program("invalidator", ("-m", "viewer", "invalidate"), reads=True),
    Program("analytics", ("-m", "consumer", "analytics"), reads=True, later=True),
    Program("engagement", ("-m", "consumer", "engagement"), reads=True, later=True),
)


class Running:
    """A program that was started."""

    def __init__(self, program: Program, folder: Path, process: asyncio.subprocess.Process) -> None:
        self.program = program
        self._log = program.log(folder)
        self._pid_file = program.pid_file(folder)
        self._process = process

    async def ready(self) -> None:
        """Return once it does its work, if it says so."""
        words = (self.program.ready or "").encode()
        while words not in self._log.read_bytes():  # noqa: ASYNC110 - of another process
            await asyncio.sleep(_LOOK_EVERY_S)

    async def ended(self) -> None:
        """Raises ProgramEnded, whenever that is."""
        code = await self._process.wait()
        said = last_lines(self._log)
        raise ProgramEnded(f"{self.program.name}: {self._log}\n{said}\nexit code {code}")

    async def stop(self) -> None:
        """Ask it to end; after a while, end it."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        self._pid_file.unlink(missing_ok=True)


class Programs:
    """All of them, in *root*, with logs in *folder*."""

    def __init__(self, root: Path, folder: Path, environment: Mapping[str, str]) -> None:
        self._root, self._folder, self._environment = root, folder, environment
        self._started: list[Running] = []

    async def start(self, *, later: bool) -> Sequence[Running]:
        """Those that are to start at once, or those that may start later."""
        begun = len(self._started)
        for program in PROGRAMS:
            if program.later is later:
                self._started.append(await self._start(program))
        return self._started[begun:]

    async def stop(self) -> None:
        """Readers first."""
        for reads in (True, False):
            stopping = [one.stop() for one in self._started if one.program.reads is reads]
            await asyncio.gather(*stopping)

    async def _start(self, program: Program) -> Running:
        with program.log(self._folder).open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *program.words,
                cwd=self._root,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                # Ctrl-C is for us; a program is to end before what it needs does.
                start_new_session=True,
            )
        program.pid_file(self._folder).write_text(str(process.pid))
        return Running(program, self._folder, process)


@asynccontextmanager
async def stopped_at_the_end(programs: Programs) -> AsyncIterator[Programs]:
    """Whatever has been started is stopped."""
    try:
        yield programs
    finally:
        await programs.stop()


def stop_leftovers(folder: Path) -> None:
    """Stop what a run that was killed has left, readers first."""
    for reads in (True, False):
        left = [_left(program, folder) for program in PROGRAMS if program.reads is reads]
        processes = [process for process in left if process is not None]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGTERM)
        if not wait_until(lambda: all(gone(one) for one in processes), _STOP_TIMEOUT_S):  # noqa: B023
            for process in processes:
                kill_family(process)
    for program in PROGRAMS:
        program.pid_file(folder).unlink(missing_ok=True)


def _left(program: Program, folder: Path) -> psutil.Process | None:
    # By its words: a process id outlives its process.
    return find(program.pid_file(folder), lambda words: tuple(words[1:]) == program.words)
