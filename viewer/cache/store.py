"""The cache as it lies in Redis. Whatever needs more than one step is one script."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import contextmanager
from hashlib import sha1
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.client import NEVER_DECODE
from redis.exceptions import NoScriptError, RedisError, ResponseError

from process.redis.answers import answer_of
from viewer import keys
from viewer.errors import CacheClosed, CacheUnavailable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from redis.asyncio import Redis

    from viewer.keys import PageName

_SCRIPTS = {
    name: resources.files("viewer.cache").joinpath(f"{name}.lua").read_text("utf-8")
    for name in ("look", "fill", "purge", "close", "open", "claim")
}
_SHAS = {name: sha1(text.encode()).hexdigest() for name, text in _SCRIPTS.items()}  # noqa: S324
_LOCK_MS = 2000
"""Longer than a page takes to load; others wait less."""
_PURGED_AT_ONCE = 1000
_TAGS_AT_ONCE = 500
_REMEMBERED_PURGES = 50_000
"""Of tags. A loader that has been at it for so many of them is refused."""
_SCANNED_AT_ONCE = 1000
_EMPTYING_ATTEMPTS = 20


class Place(NamedTuple):
    """A loader's place in the order of purges, taken before it reads the catalog."""

    life: bytes
    """Of the cache: it has a new one each time that it begins empty."""
    purges: int
    """How many there have been."""
    is_first: bool
    """Nobody else is loading the page."""

    def is_level_with(self, other: Place) -> bool:
        """Whether nothing was purged between the two."""
        return (self.life, self.purges) == (other.life, other.purges)


class Gone(NamedTuple):
    """A page that was purged."""

    key: str
    body: bytes
    """Empty if nobody wanted it."""


class Store:
    """Raises CacheUnavailable for whatever Redis does not do; and CacheClosed, where it says so.

    *maker* is for who looks: how its pages are made. All others are closed to it.
    """

    def __init__(
        self, redis: Redis, *, maker: str = "", remembered_purges: int = _REMEMBERED_PURGES
    ) -> None:
        self._redis = redis
        self._maker = maker
        self._me = secrets.token_hex(8)
        self._remembered = remembered_purges

    async def look(self, name: PageName) -> bytes | Place:
        """The page's body, or the place from which to load it. Raises CacheClosed."""
        found = await self._run(
            "look", [name.key, keys.STATE, name.lock], self._me, _LOCK_MS, self._maker
        )
        if found is None:
            raise CacheClosed
        if isinstance(found, bytes):
            return found
        life, purges, is_first = found
        return Place(life, int(purges), bool(is_first))

    async def fill(
        self, name: PageName, body: bytes, tags: Collection[str], place: Place, *, ttl_s: float
    ) -> bool:
        """Cache the page, unless something that it was made from was purged since *place*.

        Whoever waits for the page need not wait any longer.
        """
        kept_ms = int(ttl_s * 1000)
        answer = await self._run(
            "fill",
            [name.key, keys.STATE, keys.PURGED, name.lock, keys.TAG],
            *(self._me, place.life, place.purges, kept_ms, kept_ms * 2, body),
            *tags,
        )
        return bool(answer)

    async def let_go(self, name: PageName, place: Place) -> None:
        """Let others load the page: there is none."""
        await self.fill(name, b"", (), place, ttl_s=1)

    async def purge(self, tags: Collection[str], *, with_bodies: bool = False) -> list[Gone]:
        """Remove each page that was made from something with one of *tags*.

        When this returns, no page that was read from the catalog before it was called is in the
        cache, nor will be.
        """
        gone: list[Gone] = []
        ordered = sorted(tags)
        for start in range(0, len(ordered), _TAGS_AT_ONCE):
            some = ordered[start : start + _TAGS_AT_ONCE]
            more = 1
            while more:
                more, found, bodies = await self._run(
                    "purge",
                    [keys.STATE, keys.PURGED, keys.TAG],
                    *(_PURGED_AT_ONCE, int(with_bodies), self._remembered),
                    *some,
                )
                gone += [Gone(key.decode(), body) for key, body in zip(found, bodies, strict=True)]
        return gone

    async def empty(self) -> int:
        """Purge all; how many pages went. From its first step on nothing old is served.

        Raises CacheClosed if others do the same again and again.
        """
        pages = 0
        for _ in range(_EMPTYING_ATTEMPTS):
            token = secrets.token_hex(8)
            run = await self._run("close", [keys.STATE], token)
            pages += await self._sweep()
            life = secrets.token_hex(8)
            if await self._run("open", [keys.STATE, keys.PURGED], token, run, life):
                return pages
            if await self.is_open():
                # Somebody closed it after us, and has emptied it since.
                return pages
            # Not at the same time as the other again.
            await asyncio.sleep(secrets.randbelow(100) / 1000)
        raise CacheClosed

    async def is_open(self) -> bool:
        """Whether it can be used: it is of this run of the server, and nobody is emptying it."""
        server = await self._command("HGET", keys.STATE, "server")
        if not server:
            return False
        info = await self._command("INFO", "server")
        return bool(info["run_id"] == server.decode())

    async def claim(self, *, take_over: bool) -> bool:
        """Whether pages were made until now as our maker does.

        They are from now on, if nobody else's are in the cache or we are to take over.
        """
        before = await self._run("claim", [keys.STATE], self._maker, int(take_over))
        return bool(before == self._maker.encode())

    async def _sweep(self) -> int:
        """Remove every page and every set of a tag; nobody adds one, as the cache is closed."""
        pages, cursor = 0, 0
        while True:
            cursor, found = await self._command(
                "SCAN", cursor, "MATCH", f"{keys.PREFIX}:*", "COUNT", _SCANNED_AT_ONCE
            )
            names = [key.decode("utf-8", "backslashreplace") for key in found]
            ours = [name for name in names if keys.is_page(name)]
            sets = [name for name in names if name.startswith(keys.TAG)]
            if ours or sets:
                await self._command("UNLINK", *ours, *sets)
            pages += len(ours)
            if cursor == 0:
                return pages

    async def _run(self, name: str, key_names: Sequence[str], *arguments: object) -> Any:  # noqa: ANN401
        words = (len(key_names), *key_names, *arguments)
        with _translated():
            try:
                return await self._raw("EVALSHA", _SHAS[name], *words)
            except NoScriptError:
                # Redis was restarted, or its scripts were flushed.
                return await self._raw("EVAL", _SCRIPTS[name], *words)

    async def _command(self, *words: object) -> Any:  # noqa: ANN401
        with _translated():
            return await self._raw(*words)

    async def _raw(self, *words: object) -> Any:  # noqa: ANN401
        return await self._redis.execute_command(*words, **{NEVER_DECODE: True})  # type: ignore[no-untyped-call]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ResponseError as exc:
        raise CacheUnavailable(f"the cache refused: {answer_of(exc)}") from exc
    except (RedisError, OSError, TimeoutError) as exc:
        raise CacheUnavailable(f"the cache is away: {exc or type(exc).__name__}") from exc
