"""One server process: started, found again, stopped, killed, and not left behind."""

import atexit
import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import psutil

from embedded.errors import FolderForeign, ServerDidNotStart
from embedded.identity import Identity, own
from embedded.sockets import make_private

_PAUSE_S = 0.005
_LOG_TAIL_LINES = 15

# What this process has started, by data folder.
_started: dict[Path, tuple["Server", subprocess.Popen[bytes]]] = {}
os.register_at_fork(after_in_child=_started.clear)


@atexit.register
def _stop_what_is_left() -> None:
    for server, _ in list(_started.values()):
        server.stop()


class Server(ABC):
    """A server over one data folder. All state is in that folder; one owner at a time."""

    start_timeout_s: ClassVar[float] = 60.0  # crash recovery included
    stop_timeout_s: ClassVar[float] = 30.0
    stop_signal: ClassVar[signal.Signals]

    @property
    @abstractmethod
    def home(self) -> Path:
        """The data folder as an absolute path; the last word on whose process this is."""

    @property
    @abstractmethod
    def socket_path(self) -> Path:
        """The Unix socket it listens on."""

    @property
    @abstractmethod
    def pid_file(self) -> Path:
        """The file in which the server itself writes its process id."""

    @property
    def identity(self) -> Identity:
        """Whose rights it runs with."""
        return own()

    @property
    def log_file(self) -> Path:
        """What it wrote to its output, over all its starts."""
        return self.home / "server.log"

    @abstractmethod
    def prepare(self) -> None:
        """Make the data folder if there is none yet."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The program and its arguments; the data folder is one of them."""

    @abstractmethod
    def answers(self, pid: int) -> bool:
        """Whether the process *pid* serves clients by now."""

    def start(self) -> None:
        """Start it and return when it answers. A leftover of a dead owner is stopped first."""
        if self.home in _started and self.is_running():
            return
        self.stop()
        self.prepare()
        self._clear_traces()
        folder, who = self.socket_path.parent, self.identity
        if not make_private(folder, who.uid, who.gid):
            raise FolderForeign(str(folder))
        with self.log_file.open("ab") as log:
            log_start = log.tell()
            child = launch(self.command(), who, [self.home], cwd=self.home, output=log.fileno())
        _started[self.home] = (self, child)
        try:
            ready = wait_until(
                lambda: child.poll() is not None or self.answers(child.pid), self.start_timeout_s
            )
        except BaseException:
            self.kill()
            raise
        if not ready or child.poll() is not None:
            self.kill()
            raise ServerDidNotStart(last_lines(self.log_file, since=log_start))

    def stop(self) -> None:
        """Stop it in order, whoever started it; killed if that takes too long."""
        process = self._process()
        if process is not None:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(self.stop_signal)
                # A server halted by SIGSTOP would never see the signal.
                process.resume()
            if not wait_until(lambda: gone(process), self.stop_timeout_s):
                self.kill()
        self._forget()

    def kill(self) -> None:
        """End it and all its processes at once, as a power cut would."""
        process = self._process()
        if process is not None:
            kill_family(process)
        self._forget()

    def restart(self) -> None:
        """Stop it in order and start it again."""
        self.stop()
        self.start()

    def is_running(self) -> bool:
        """Whether its process is alive, whoever started it."""
        return self._process() is not None

    def wait(self) -> None:
        """Block until the server that this process started has ended, for whatever reason."""
        if self.home in _started:
            _, child = _started[self.home]
            child.wait()

    def _process(self) -> psutil.Process | None:
        started = _started.get(self.home)
        if started is not None and started[1].poll() is None:
            return psutil.Process(started[1].pid)
        # A pid outlives its process: after a crash it may be anyone's.
        return find(self.pid_file, lambda command: str(self.home) in command)

    def _forget(self) -> None:
        started = _started.pop(self.home, None)
        if started is not None:
            started[1].wait()
        if not self.is_running():
            self._clear_traces()

    def _clear_traces(self) -> None:
        # Left by a killed server. PostgreSQL would take whoever has its pid now for that server.
        for trace in (
            self.pid_file,
            self.socket_path,
            self.socket_path.with_name(f"{self.socket_path.name}.lock"),
        ):
            trace.unlink(missing_ok=True)
        if self.socket_path.parent != self.home:
            with suppress(OSError):
                self.socket_path.parent.rmdir()


def launch(
    command: Sequence[str], who: Identity, paths: Iterable[Path], *, cwd: Path, output: int
) -> subprocess.Popen[bytes]:
    """Start *command* under the identity *who*, out of reach of the terminal's Ctrl-C."""
    argv = who.command(command, [Path(command[0]), *paths])
    drops_root = not who.is_ours() and argv == list(command)
    return subprocess.Popen(
        argv,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        # Settings come from us alone; macOS needs a locale for a single-threaded postmaster.
        env={k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"LC_ALL": "C"},
        start_new_session=True,
        user=who.uid if drops_root else None,
        group=who.gid if drops_root else None,
        extra_groups=[] if drops_root else None,
    )


def find(pid_file: Path, is_it: Callable[[list[str]], bool]) -> psutil.Process | None:
    """The live process that *pid_file* names, if *is_it* knows it by its command line."""
    try:
        process = psutil.Process(int(pid_file.read_text().split(maxsplit=1)[0]))
        return process if not gone(process) and is_it(process.cmdline()) else None
    except (OSError, ValueError, IndexError, psutil.NoSuchProcess, psutil.AccessDenied):
        return None


def kill_family(process: psutil.Process) -> None:
    """SIGKILL to *process* and all that it started; returns when they are gone."""
    family = [process]
    with suppress(psutil.NoSuchProcess):
        # Halted, it cannot start another one behind the back of the list.
        process.suspend()
        family = [*process.children(recursive=True), process]
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    wait_until(lambda: all(gone(member) for member in family), timeout_s=10.0)


def gone(process: psutil.Process) -> bool:
    """Whether *process* has ended; one that nobody has collected yet has."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Ask every few milliseconds; whether *condition* came true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE_S)
    return True


def last_lines(log_file: Path, *, since: int = 0) -> str:
    """The end of *log_file*, of what was written after byte *since*."""
    try:
        text = log_file.read_bytes()[since:].decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-_LOG_TAIL_LINES:])
