"""``requeue``: dead letters are written once more, to be published with new IDs."""

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
    """Requeue what is wished for, after asking."""

    async def requeue(pool: asyncpg.Pool, position: Position, by: str) -> bool:
        return await dead_letters.requeue(pool, position, by=by)

    question = "Publish these now, behind later changes of the same entities?"
    return await settle(settings, wish, requeue, question=question, done="Requeued")
