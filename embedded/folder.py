"""The folder .dev/: the servers of `make run`, their addresses, and who is using them."""

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from embedded import programs
from embedded.errors import AlreadyRunning, FolderForeign, NotRunning
from embedded.postgres import Postgres
from embedded.valkey import Valkey

DATABASE_URL = "DATABASE_URL"
REDIS_URL = "REDIS_URL"
ADDRESSES = (DATABASE_URL, REDIS_URL)


@dataclass(frozen=True)
class DevFolder:
    """State of `make run` for the checkout at *root*."""

    root: Path

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.root / ".dev"

    @property
    def postgres(self) -> Postgres:
        """The server used if DATABASE_URL is not set."""
        return Postgres(self.path / "postgres")

    @property
    def valkey(self) -> Valkey:
        """The server used if REDIS_URL is not set."""
        return Valkey(self.path / "valkey")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only one; the system lets go of it even after kill -9."""
        try:
            self.path.mkdir(mode=0o755, exist_ok=True)
            lock_file = (self.path / "lock").open("a+")
        except PermissionError:
            raise FolderForeign(str(self.path)) from None
        with lock_file:
            try:
                fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock_file.seek(0)
                raise AlreadyRunning("process id: " + lock_file.read().strip()) from None
            lock_file.truncate(0)
            lock_file.write(f"{os.getpid()}\n")
            lock_file.flush()
            yield

    def publish_addresses(self, addresses: Mapping[str, str]) -> None:
        """Let other commands find servers and programs; an address may hold a password."""
        self._env_file.touch(mode=0o600)
        self._env_file.write_text("".join(f"{k}={v}\n" for k, v in addresses.items()))

    def withdraw_addresses(self) -> None:
        """Nothing is running any more."""
        self._env_file.unlink(missing_ok=True)

    def address(self, name: str) -> str:
        """Where DATABASE_URL or REDIS_URL points to: the environment first, then `make run`."""
        if given := os.environ.get(name):
            return given
        with suppress(FileNotFoundError):
            for line in self._env_file.read_text().splitlines():
                key, _, value = line.partition("=")
                if key == name:
                    return value
        raise NotRunning(name)

    def stop_leftovers(self) -> None:
        """Stop what an earlier run could not, because it was killed."""
        programs.stop_leftovers(self.path)
        self.postgres.stop()
        self.valkey.stop()

    def reset(self) -> None:
        """Remove the folder and all data in it; refused while `make run` is up."""
        if self.path.exists():
            with self.lock():
                self.stop_leftovers()
                shutil.rmtree(self.path)

    @property
    def _env_file(self) -> Path:
        return self.path / "env"
