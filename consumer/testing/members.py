"""A member of the group under trial: started, stopped at an exact place, killed, asked to leave."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from consumer.testing.effects import Ledger, MemoryLedger
    from consumer.testing.proxy import Proxy


@dataclass
class Trial:
    """What the members of one scenario have in common."""

    stream: str
    group: str
    folder: Path
    ledger: Ledger
    memory: MemoryLedger
    """Where coroutines write."""
    effects_file: Path
    """Where commands write."""
    slow: dict[str, float] = field(default_factory=dict)
    """Events whose handler takes so many seconds."""


class Member(Protocol):
    """One life of a member, from its start to its end."""

    name: str
    proxy: Proxy

    async def start(self) -> None:
        """Let it run."""

    async def kill(self) -> None:
        """End it without a word; nothing that it does is seen any more."""

    async def leave(self) -> str:
        """Ask it to end; what was wrong with how it did, or ""."""

    def ended(self) -> str | None:
        """Its last words if it has ended, whoever wanted that; None while it runs."""
