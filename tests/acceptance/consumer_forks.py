"""Where consumers are forked; see consumer_roles."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forked import Forked
from processes import ROOT, eventually


class ConsumerFork(Forked):
    """One member of one group; started by `ConsumerNursery.start`."""

    def __init__(self, pid: int, log_file: Path, role: str) -> None:
        super().__init__(pid, log_file)
        self.role = role

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    async def stop(self, *, within_s: float) -> None:
        """Ask it to end, and see it do so in good order."""
        self.send(signal.SIGTERM)

        async def has_ended() -> bool:
            return not self.is_running

        await eventually(has_ended, within_s=within_s)
        assert "Traceback" not in self.tail(), self.tail()

    def tail(self) -> str:
        """The end of its log."""
        return "\n".join(self.log_file.read_text("utf-8").splitlines()[-30:])


class ConsumerNursery:
    """Starts any number of members; *environment* is what all of them are told."""

    def __init__(
        self, program: "subprocess.Popen[str]", folder: Path, environment: dict[str, str]
    ) -> None:
        self._program, self._folder, self._environment = program, folder, environment
        self.started: list[ConsumerFork] = []

    def start(self, role: str) -> ConsumerFork:
        log_file = self._folder / f"{role}-{len(self.started) + 1:04}.log"
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.write(json.dumps([self._environment, role, str(log_file)]) + "\n")
        self._program.stdin.flush()
        log_file.touch()
        pid = int(self._program.stdout.readline())
        self.started.append(ConsumerFork(pid, log_file, role))
        return self.started[-1]


@contextmanager
def consumer_nursery(folder: Path, environment: dict[str, str]) -> Iterator[ConsumerNursery]:
    """None of its processes outlives the block."""
    program = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("consumer_roles.py"))],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with program:
        forks = ConsumerNursery(program, folder, environment)
        try:
            yield forks
        finally:
            for fork in forks.started:
                fork.kill()
