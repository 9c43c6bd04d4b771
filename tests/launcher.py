"""`make run` as a process of its own, and what it has started."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from embedded.folder import DevFolder
from embedded.programs import PROGRAMS


class Run:
    """`make run` in *root*, and its lines."""

    def __init__(self, root: Path, **settings: str) -> None:
        environment = {
            k: v for k, v in os.environ.items() if k not in {"DATABASE_URL", "REDIS_URL"}
        } | settings
        self.process = subprocess.Popen(
            [sys.executable, "-m", "embedded", "run"],
            cwd=root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def until(self, word: str) -> str:
        """All lines up to the first with *word* in it."""
        assert self.process.stdout is not None
        lines = ""
        for line in self.process.stdout:
            lines += line
            if word in line:
                return lines
        pytest.fail(f"ended before it said {word!r}:\n{lines}")

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.exit_code()

    def exit_code(self) -> int:
        self.process.communicate()
        return self.process.returncode


def pids_of(root: Path) -> list[int]:
    """The publisher's first."""
    folder = DevFolder(root)
    files = [program.pid_file(folder.path) for program in PROGRAMS]
    files += [folder.postgres.pid_file, folder.valkey.pid_file]
    return [int(file.read_text().split(maxsplit=1)[0]) for file in files]


def all_gone(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) and not _is_zombie(pid) for pid in pids)


def _is_zombie(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
