"""A reference consumer that is killed after an effect and before its acknowledgement.

``dying_consumer.py <name> <effects>``
"""

import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from consumer.__main__ import app
from consumer.reference.analytics.counting import Counting
from consumer.reference.engagement.popularity import Popularity

Effect = Callable[..., Coroutine[Any, Any, None]]


def dying(effect: Effect, after: int) -> Effect:
    """*effect*, and the process ends when it has been done so many times."""
    done = 0

    async def do(*arguments: Any) -> None:  # noqa: ANN401 - whatever it takes
        nonlocal done
        await effect(*arguments)
        done += 1
        if done == after:
            os.kill(os.getpid(), signal.SIGKILL)

    return do


if __name__ == "__main__":
    effects = int(sys.argv[2])
    Counting.count = dying(Counting.count, effects)  # type: ignore[method-assign]
    Popularity.score = dying(Popularity.score, effects)  # type: ignore[method-assign]
    app([sys.argv[1]])
