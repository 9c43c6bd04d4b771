"""Publishers in a hurry: forked from a process that has imported everything already."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from processes import ROOT

_SHARED_PACING = {"renew_s": 0.1, "stand_by_s": 0.05, "quiet_check_s": 0.2}
"""So that nobody waits for long until another takes over; a lease lasts as long as ever."""


class Forked:
    """A publisher; started by `Nursery.start`."""

    def __init__(self, pid: int, log_file: Path) -> None:
        self.pid, self.log_file = pid, log_file

    @property
    def is_running(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def kill(self) -> None:
        """End it without a word; it is gone when this returns."""
        with suppress(ProcessLookupError):
            while True:
                os.kill(self.pid, signal.SIGKILL)


class Nursery:
    """Where they are forked."""

    def __init__(self, program: "subprocess.Popen[str]", folder: Path) -> None:
        self._program, self._folder = program, folder
        self.started: list[Forked] = []

    def start(self, **environment: str) -> Forked:
        log_file = self._folder / f"forked-{len(self.started) + 1}.log"
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        environment = {"PUBLISHER_HTTP_ADDRESS": "off"} | environment
        self._program.stdin.write(json.dumps([environment, str(log_file)]) + "\n")
        self._program.stdin.flush()
        self.started.append(Forked(int(self._program.stdout.readline()), log_file))
        return self.started[-1]


@contextmanager
def nursery(folder: Path) -> Iterator[Nursery]:
    """None of its publishers outlives the block."""
    program = subprocess.Popen(
        [sys.executable, __file__],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with program:
        forks = Nursery(program, folder)
        try:
            yield forks
        finally:
            for fork in forks.started:
                fork.kill()


def _serve() -> None:
    """For each line of input a publisher; its pid is the answer."""
    from publisher import __main__ as program  # noqa: PLC0415 - the tests have no use for it
    from publisher import service  # noqa: PLC0415
    from publisher.pacing import Pacing  # noqa: PLC0415
    from publisher.settings import Settings  # noqa: PLC0415
    from publisher.store import connections  # noqa: PLC0415

    assert connections
    vars(service)["Pacing"] = lambda: Pacing(**_SHARED_PACING)
    # Nobody waits for them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        environment, log_file = json.loads(line)
        pid = os.fork()
        if pid:
            print(pid, flush=True)  # noqa: T201 - this is what it is for
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nowhere = os.open(os.devnull, os.O_RDONLY)
        for standard, its_own in ((0, nowhere), (1, log), (2, log)):
            os.dup2(its_own, standard)
        try:
            asyncio.run(program._publish(Settings.from_environment(environment)))  # noqa: SLF001
        finally:
            os._exit(0)


if __name__ == "__main__":
    _serve()
