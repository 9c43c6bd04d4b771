"""What happens to publishers: they are killed, ended in order, and frozen."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chaos_faults import Fault
from chaos_world import World, end


@asynccontextmanager
async def killed(world: World, dice: random.Random) -> AsyncIterator[None]:
    number = world.take_publisher(dice)
    try:
        world.publishers[number].kill()
        yield
        world.publishers[number] = world.start_publisher()
    finally:
        world.give_back(number)


@asynccontextmanager
async def ended(world: World, dice: random.Random) -> AsyncIterator[None]:
    """Asked to end, it ends in order, whatever else is going on."""
    number = world.take_publisher(dice)
    try:
        await end(world.publishers[number])
        yield
        world.publishers[number] = world.start_publisher()
    finally:
        world.give_back(number)


@asynccontextmanager
async def frozen(world: World, dice: random.Random) -> AsyncIterator[None]:
    """It stands still for longer than its leases last, and then goes on as if nothing were."""
    number = world.take_publisher(dice)
    publisher = world.publishers[number]
    publisher.freeze()
    try:
        yield
    finally:
        publisher.thaw()
        world.give_back(number)
        await asyncio.sleep(0)


FAULTS = [
    Fault("publisher kill -9", killed, (0, 2)),
    Fault("publisher SIGTERM", ended, (0, 2)),
    Fault("publisher SIGSTOP past its lease", frozen, (3.2, 5)),
    Fault("publisher SIGSTOP, short", frozen, (0.2, 2)),
]
