"""Chaos itself: faults drawn from a deck, each healed after a while, several at a time."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from chaos_world import OutOfReach, World
from redis.exceptions import RedisError

Strike = Callable[[World, random.Random], AbstractAsyncContextManager[None]]
"""Brings the fault about; leaving it heals."""


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, and for how long, in seconds."""

    name: str
    strike: Strike
    lasts_s: tuple[float, float] = (0.0, 0.0)


class Deck:
    """Each fault comes up once before any comes up again; in which order, the dice say."""

    def __init__(
        self, faults: Sequence[Fault], dice: random.Random, *, pause_s: tuple[float, float]
    ) -> None:
        self._faults = faults
        self._dice = dice
        self._pause_s = pause_s
        self._left: list[Fault] = []
        self._under_way: set[str] = set()
        self.struck: Counter[str] = Counter({fault.name: 0 for fault in faults})
        self.missed: Counter[str] = Counter()
        self.lasted_s: dict[str, float] = dict.fromkeys(self.struck, 0.0)

    def draw(self) -> Fault:
        if not self._left:
            self._left = self._dice.sample(self._faults, len(self._faults))
        return self._left.pop()

    async def play(self, world: World, dice: random.Random, until: float) -> None:
        """One fault after the other; when this returns the last of them is healed."""
        while time.monotonic() < until:
            await asyncio.sleep(dice.uniform(*self._pause_s))
            fault = self.draw()
            if fault.name in self._under_way:
                continue
            self._under_way.add(fault.name)
            started = time.monotonic()
            try:
                async with fault.strike(world, random.Random(dice.random())):  # noqa: S311
                    await asyncio.sleep(dice.uniform(*fault.lasts_s))
            except (OutOfReach, RedisError, OSError):
                # Another fault was in its way.
                self.missed[fault.name] += 1
            else:
                self.struck[fault.name] += 1
                self.lasted_s[fault.name] += time.monotonic() - started
            finally:
                self._under_way.discard(fault.name)
            world.check_publishers()
