"""Where a consumer's effects are read: in a file, in memory, or in a store of its own."""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from outbox.errors import CatalogStreamError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_WORDS = 2


class BadEffect(CatalogStreamError):
    """A line of the file CONSUMER_EFFECTS is not ``<event id> <entity id>``."""


class Effect(NamedTuple):
    """What an event has brought about is persisted."""

    event_id: str
    entity_id: str


class Ledger(Protocol):
    """What a consumer's members have done so far."""

    async def effects(self) -> Sequence[Effect]:
        """All, in the order in which they were persisted; repeated ones as often as they came."""


class MemoryLedger:
    """Of coroutines."""

    def __init__(self) -> None:
        self.written: list[Effect] = []

    async def effects(self) -> Sequence[Effect]:
        """All so far."""
        return self.written


class FileLedger:
    """Of commands, which append a line for each effect."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: list[Effect] = []
        self._at = 0
        path.touch()

    async def effects(self) -> Sequence[Effect]:
        """All so far; a line that is still being written is not one yet. Raises BadEffect."""
        with self.path.open("rb") as file:
            file.seek(self._at)
            whole, end, _ = file.read().rpartition(b"\n")
        self._at += len(whole) + len(end)
        for line in whole.decode().splitlines():
            words = line.split()
            if len(words) != _WORDS:
                raise BadEffect(f"a line of CONSUMER_EFFECTS is {line!r}")
            self._read.append(Effect(*words))
        return self._read


class StoreLedger:
    """Of whoever can say it by a function."""

    def __init__(self, read: Callable[[str], object], redis_url: str) -> None:
        self._read, self._redis_url = read, redis_url

    async def effects(self) -> Sequence[Effect]:
        """All so far."""
        found = self._read(self._redis_url)
        if isawaitable(found):
            found = await found
        return [Effect(*pair) for pair in found]  # type: ignore[attr-defined]
