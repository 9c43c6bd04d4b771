"""What redis-py raises, in our words."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from redis.exceptions import BusyLoadingError, RedisError, ResponseError

from consumer.errors import RedisRefused
from outbox.errors import StreamUnavailable
from process.redis.answers import answer_of, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def translated() -> Iterator[None]:
    """Raise StreamUnavailable where no answer came, and RedisRefused for one that says no."""
    try:
        yield
    except (ResponseError, BusyLoadingError) as exc:
        raise RedisRefused(reason_of(exc), answer_of(exc)) from exc
    except (RedisError, OSError) as exc:
        raise StreamUnavailable(f"Redis is away: {exc or type(exc).__name__}") from exc
