"""Snapshot servers and projectors in a hurry: forked from a process that has imported all already.

They forget removals after seconds, instead of days.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from forked import Forked
from processes import ROOT, eventually

TOKEN = "of-the-storm"  # noqa: S105
_PURGE_S = 0.3
_DEFAULTS = {
    "SERVICE_AUTH_TOKEN": TOKEN,
    "SNAPSHOT_HTTP_ADDRESS": "off",
    "SNAPSHOT_DRAIN_S": "2",
    "SNAPSHOT_TOMBSTONE_DAYS": "1",
    "LOG_LEVEL": "debug",
}


class Fork(Forked):
    """A server or a projector; started by `SnapshotNursery.start`."""

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    async def stop(self, *, within_s: float) -> None:
        """Ask it to end, and see it do so in good order."""
        self.send(signal.SIGTERM)

        async def has_ended() -> bool:
            return not self.is_running

        await eventually(has_ended, within_s=within_s)
        # One that had not begun yet has nothing to say.
        assert ".stopped" in self.tail() or ".started" not in self.tail(), self.tail()

    def tail(self) -> str:
        """The end of its log."""
        return "\n".join(self.log_file.read_text("utf-8").splitlines()[-30:])


class SnapshotNursery:
    """Where they are forked."""

    def __init__(self, program: "subprocess.Popen[str]", folder: Path) -> None:
        self._program, self._folder = program, folder
        self.started: list[Fork] = []

    def start(self, *words: str, **environment: str) -> Fork:
        """``python -m snapshot_server`` with these *words*."""
        log_file = self._folder / f"snapshot-{len(self.started) + 1:03}.log"
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        environment = _DEFAULTS | environment
        self._program.stdin.write(json.dumps([environment, words, str(log_file)]) + "\n")
        self._program.stdin.flush()
        self.started.append(Fork(int(self._program.stdout.readline()), log_file))
        return self.started[-1]


@contextmanager
def snapshot_nursery(folder: Path, *, keep_s: float) -> Iterator[SnapshotNursery]:
    """None of its processes outlives the block."""
    program = subprocess.Popen(
        [sys.executable, __file__, str(keep_s)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with program:
        forks = SnapshotNursery(program, folder)
        try:
            yield forks
        finally:
            for fork in forks.started:
                fork.kill()


def _serve() -> None:
    """For each line of input a process; its pid is the answer."""
    from process import logging  # noqa: PLC0415
    from snapshot_server import __main__ as program  # noqa: PLC0415 - the tests have no use for it
    from snapshot_server.feed.projector import Pace, Projector  # noqa: PLC0415
    from snapshot_server.serving import process, processes  # noqa: PLC0415

    assert logging
    assert processes
    vars(process)["_SECONDS_IN_A_DAY"] = float(sys.argv[1])
    vars(process)["Projector"] = partial(Projector, pace=Pace(purge_s=_PURGE_S))
    # Nobody waits for them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        environment, words, log_file = json.loads(line)
        pid = os.fork()
        if pid:
            print(pid, flush=True)  # noqa: T201 - this is what it is for
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nowhere = os.open(os.devnull, os.O_RDONLY)
        for standard, its_own in ((0, nowhere), (1, log), (2, log)):
            os.dup2(its_own, standard)
        os.environ.update(environment)
        try:
            program.app(words, prog_name="python -m snapshot_server")
        finally:
            os._exit(0)


if __name__ == "__main__":
    _serve()
