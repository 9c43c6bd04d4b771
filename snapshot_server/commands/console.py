"""What every command shares: exit codes, where it writes, and how its errors are said."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from rich.console import Console

from outbox.errors import CatalogStreamError, OutboxUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable

screen = Console()
"""For results, on standard output."""
notes = Console(stderr=True)
"""For everything else: progress and errors."""


class Exit(IntEnum):
    """Exit codes."""

    FINE = 0
    FAILED = 1
    USAGE = 2
    DEGRADED = 3
    UNREACHABLE = 4


async def reported(work: Awaitable[int]) -> int:
    """The exit code of *work*; what it raises is said on standard error."""
    try:
        return await work
    except CatalogStreamError as exc:
        notes.print(str(exc), style="red", highlight=False, markup=False)
        return Exit.UNREACHABLE if isinstance(exc, OutboxUnavailable) else Exit.FAILED
