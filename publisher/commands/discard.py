"""``discard``: dead letters are given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outbox import dead_letters
from publisher.commands.dead_letters import settle

if TYPE_CHECKING:
    import asyncpg

    from outbox.position import Position
    from publisher.commands.dead_letters import Wish
    from publisher.settings import Settings


async def run(settings: Settings, wish: Wish) -> int:
    """Discard what is wished for, after asking."""

    async def discard(pool: asyncpg.Pool, position: Position, by: str) -> bool:
        return await dead_letters.discard(pool, position, by=by)

    question = "Give these up? Consumers will never know of them."
    return await settle(settings, wish, discard, question=question, done="Discarded")
