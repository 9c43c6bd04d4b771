"""Checkpoints: up to where a group has handled a stream, kept outside of Redis.

They outlive what Redis loses: a group that is gone is made again where its checkpoint stands.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from consumer.errors import CheckpointUnreadable
from outbox.errors import BadPosition
from outbox.position import Position

if TYPE_CHECKING:
    from collections.abc import Iterator

    import asyncpg


class Checkpoint(Protocol):
    """Where each group stands in each stream. It never goes back."""

    async def load(self, group: str, stream: str) -> Position | None:
        """Everything up to there is handled; None if nothing is known."""
        ...

    async def save(self, group: str, stream: str, position: Position) -> None:
        """Everything up to *position* is handled; one before the known one is no news."""
        ...


class FileCheckpoint:
    """A small file for each group and stream, in *folder*, which is made if need be.

    It is replaced as a whole, and durable when `save` returns. Processes of one machine may share
    the folder. Raises OSError, and CheckpointUnreadable.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)

    async def load(self, group: str, stream: str) -> Position | None:
        """As of Checkpoint."""
        return await asyncio.to_thread(self._load, self._file(group, stream))

    async def save(self, group: str, stream: str, position: Position) -> None:
        """As of Checkpoint."""
        await asyncio.to_thread(self._save, self._file(group, stream), position)

    def _file(self, group: str, stream: str) -> Path:
        return self._folder / f"{quote(stream, safe='')}@{quote(group, safe='')}"

    def _load(self, file: Path) -> Position | None:
        try:
            return Position.parse(file.read_text("ascii").strip())
        except FileNotFoundError:
            return None
        except (BadPosition, UnicodeDecodeError) as exc:
            raise CheckpointUnreadable(f"{file} holds no position: {exc}") from exc

    def _save(self, file: Path, position: Position) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with _locked(file.with_name(f".{file.name}.lock")):
            known = self._load(file)
            if known is not None and known >= position:
                return
            # Only who holds the lock writes here: what one that was killed left is not kept.
            beside = file.with_name(f".{file.name}.new")
            with beside.open("w", encoding="ascii") as new:
                new.write(f"{position}\n")
                new.flush()
                os.fsync(new.fileno())
            beside.replace(file)
            # The new name is durable when the folder is.
            _sync(self._folder)


class PostgresCheckpoint:
    """A row for each group and stream, in the database of *pool*, which stays the caller's."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def prepare(self) -> None:
        """Make the tables unless they are there. Raises DatabaseUnavailable."""
        from consumer.keeping import database  # noqa: PLC0415 - who keeps files needs no asyncpg

        await database.prepare(self._pool)

    async def load(self, group: str, stream: str) -> Position | None:
        """As of Checkpoint. Raises DatabaseUnavailable."""
        from consumer.keeping import database  # noqa: PLC0415

        with database.translated():
            row = await self._pool.fetchrow(database.STATEMENTS["load_checkpoint"], group, stream)
        return Position(row["ms"], row["seq"]) if row else None

    async def save(self, group: str, stream: str, position: Position) -> None:
        """As of Checkpoint. Raises DatabaseUnavailable."""
        from consumer.keeping import database  # noqa: PLC0415

        with database.translated():
            await self._pool.execute(
                database.STATEMENTS["save_checkpoint"],
                *(group, stream, position.ms, position.seq),
            )


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
