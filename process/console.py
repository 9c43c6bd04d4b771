"""What every command shares: exit codes, where it writes, how its errors are said, and asking."""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import TYPE_CHECKING

from rich.console import Console

from outbox.errors import CatalogStreamError, OutboxUnavailable, StreamRefused, StreamUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable

screen = Console()
"""For results, on standard output."""
notes = Console(stderr=True)
"""For everything else: progress, questions, errors."""


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
        away = isinstance(exc, OutboxUnavailable | StreamUnavailable | StreamRefused)
        return Exit.UNREACHABLE if away else Exit.FAILED


def confirmed(question: str, *, yes: bool) -> bool:
    """Whether to go on; where nobody can be asked, only if *yes* was given."""
    if yes:
        return True
    if not sys.stdin.isatty():
        notes.print("Not done: nobody to ask. Give --yes (make: YES=1).")
        return False
    notes.print(f"{question} \\[y/N] ", end="")
    return input().strip().lower() in {"y", "yes"}
