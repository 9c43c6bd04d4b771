"""Ours and its peers in turn, so that a noisy minute falls on all of them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from benchmarks.screen import Screen

T = TypeVar("T")


async def alternate(
    screen: Screen,
    title: str,
    runs: Mapping[str, Callable[[], Awaitable[T]]],
    *,
    rounds: int,
) -> dict[str, list[T]]:
    """Each of *runs* once, then each of them again: *rounds* results by name."""
    results: dict[str, list[T]] = defaultdict(list)
    for number in range(1, rounds + 1):
        for name, run in runs.items():
            screen.doing(f"{title}: {name}, round {number} of {rounds}")
            result = await run()
            screen.did(
                f"{title}: {name}", f"{result:,.2f}" if isinstance(result, float) else str(result)
            )
            results[name].append(result)
    return results
