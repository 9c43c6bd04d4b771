"""Each kind of server, and the rights that the documents give to a viewer's user there."""

import re
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from viewing import name_of

from process.redis.connection import client
from viewer.cache.store import Place, Store
from viewer.errors import CacheUnavailable
from viewer.keys import Kind

OPERATIONS = Path(__file__).resolve().parents[2] / "docs/operations.md"


async def test_the_documented_rights_are_enough_for_the_cache_and_keep_it_off_the_stream(
    each_redis_url: str,
) -> None:
    rights = r"^ACL SETUSER catalog-viewer on >… (.*)$"
    [words] = re.findall(rights, OPERATIONS.read_text("utf-8"), re.MULTILINE)
    admin: Any = Redis.from_url(each_redis_url)
    await admin.execute_command("ACL", "SETUSER", "catalog-viewer", "on", ">s", *words.split())
    try:
        async with client(f"{each_redis_url}?username=catalog-viewer&password=s") as as_viewer:
            store = Store(as_viewer, maker="1", remembered_purges=1)
            await store.claim(take_over=True)
            await store.empty()
            assert await store.is_open()
            for kind in Kind:
                name = name_of(kind, "pond")
                place = await store.look(name)
                assert isinstance(place, Place)
                await store.let_go(name, place)
                assert await store.fill(name, b"{}", ["category:1"], place, ttl_s=9)
            assert len(await store.purge(["category:1", "category:2"], with_bodies=True)) == 2
            assert isinstance(await store.look(name), Place)
            await store.empty()
            with pytest.raises(CacheUnavailable, match="NOPERM"):
                await store._command("XADD", "catalog:events", "*", "a", "b")  # noqa: SLF001
    finally:
        await admin.execute_command("ACL", "DELUSER", "catalog-viewer")
        await admin.aclose()
