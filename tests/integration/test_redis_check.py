"""The check at start, on real servers: what it finds, and that it changes nothing."""

import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from appending import as_entries, batch, client_of
from publishing import KEY, entries
from redis.asyncio import Redis
from redis_servers import IN_MEMORY, running

from embedded.valkey import Valkey
from outbox.errors import StreamRefused, StreamUnavailable
from outbox.position import ORIGIN
from publisher.store.keys import epoch_key
from publisher.store.server_check import check_server
from publisher.store.stream import EventStream
from publisher.survey.view import look, pending_between
from publisher.trim.trimmer import Trimmer
from publisher.trim.trimming import Limits

EVENTS = batch((5, 0, 3))
ABOUT_THE_SERVER = {"memory", "persistence"}
DOCUMENT = Path(__file__).resolve().parents[2] / "docs/operations.md"

Admin = Any


@pytest.fixture
async def admin(each_redis_url: str) -> AsyncIterator[Admin]:
    async with client_of(each_redis_url) as admin:
        yield admin


async def names(redis: Redis) -> set[str]:
    """Of what is found, beyond what a server for tests is like."""
    return {found.name for found in await check_server(redis, [KEY])} - ABOUT_THE_SERVER


@pytest.mark.parametrize("kept", ["nothing", "an empty stream", "events"])
async def test_the_check_finds_nothing_wrong_and_changes_nothing(admin: Admin, kept: str) -> None:
    if kept == "an empty stream":
        await admin.xgroup_create(KEY, "g", mkstream=True)
    if kept == "events":
        await EventStream(admin, KEY).append(EVENTS, after=ORIGIN, epoch=7)
    before = await admin.keys("*")
    assert await names(admin) == set()
    assert await admin.keys("*") == before
    if kept == "an empty stream":
        assert (await admin.xinfo_stream(KEY))["last-generated-id"] == "0-0"
    if kept == "events":
        assert await entries(admin) == as_entries(EVENTS)
        assert await admin.get(epoch_key(KEY)) == f"7 {EVENTS.last}"


async def test_what_a_server_for_tests_lacks_is_found(admin: Admin) -> None:
    found = {finding.name: finding for finding in await check_server(admin, [KEY])}
    assert found.keys() == ABOUT_THE_SERVER


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}, "eviction"),
        ({"maxmemory": "1"}, "oom"),
        ({"min-replicas-to-write": "1"}, "noreplicas"),
    ],
)
async def test_how_it_is_set_up_is_found(admin: Admin, settings: dict[str, str], name: str) -> None:
    before = {name: (await admin.config_get(name))[name] for name in settings}
    try:
        for setting, value in settings.items():
            await admin.config_set(setting, value)
        assert await names(admin) == {name}
    finally:
        for setting, value in before.items():
            await admin.config_set(setting, value)


async def test_a_replica_is_found(admin: Admin) -> None:
    await admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        assert await names(admin) == {"replica", "readonly"}
    finally:
        await admin.execute_command("REPLICAOF", "NO", "ONE")


async def test_a_key_of_another_type_is_found(admin: Admin) -> None:
    await admin.set(KEY, "mine")
    assert await names(admin) == {"wrongtype"}


async def test_an_expiry_is_found(admin: Admin) -> None:
    await EventStream(admin, KEY).append(EVENTS, after=ORIGIN)
    await admin.expire(KEY, 100)
    assert await names(admin) == {"expiry"}


async def test_snapshots_and_an_append_only_file_are_persistence(tmp_path: Path) -> None:
    for number, settings in enumerate(({"save": "3600 1"}, {"appendonly": "yes"})):
        with running(tmp_path / str(number), IN_MEMORY | settings) as server:
            async with client_of(server.url) as client:
                found = {finding.name for finding in await check_server(client, [KEY])}
                assert found == {"memory"}


@asynccontextmanager
async def limited(server: Valkey, admin: Admin, rules: str) -> AsyncIterator[Redis]:
    """A client whose user has these *rules*."""
    name = f"publisher-{secrets.token_hex(4)}"
    await admin.execute_command("ACL", "SETUSER", name, "on", ">secret", *rules.split())
    async with client_of(f"{server.url}?username={name}&password=secret") as client:
        yield client


async def test_the_rules_that_are_documented_are_enough(
    each_redis_server: Valkey, admin: Admin
) -> None:
    text = DOCUMENT.read_text("utf-8")
    [rules] = re.findall(r"^ACL SETUSER catalog-publisher on >… (.*)$", text, re.MULTILINE)
    for key in (KEY, f"{KEY}:{{0}}", f"{KEY}:{{63}}"):
        async with limited(each_redis_server, admin, rules) as client:
            found = {finding.name for finding in await check_server(client, [key])}
            assert found == ABOUT_THE_SERVER
            await EventStream(client, key).append(EVENTS, after=ORIGIN, epoch=1)
            await admin.xgroup_create(key, "g", id="0")
            assert (await look(client, key)).length == EVENTS.events
            await EventStream(client, key).overview()
            limits = Limits(retention_ms=1, budget_bytes=1 << 30)
            await Trimmer(client, key, limits).trim()
            assert await pending_between(client, key, "g", ORIGIN, EVENTS.last) == 0


@pytest.mark.parametrize(
    ("rules", "severity", "added"),
    [
        ("~* +@all -evalsha", "unfit", "+evalsha"),
        ("~* +@all -script", "unfit", "+script|load"),
        ("~* +@all -xadd", "unfit", "+xadd"),
        ("~* +@all -set -get", "unfit", "+get +set"),
        (f"~{KEY} +@all", "unfit", f"~{KEY} ~{epoch_key(KEY)}"),
        ("~* +@all -xtrim", "warning", "+xtrim"),
        ("~* +@all -memory -xpending", "warning", "+memory|usage +xpending"),
    ],
)
async def test_the_rule_that_is_missing_is_named(
    each_redis_server: Valkey, admin: Admin, rules: str, severity: str, added: str
) -> None:
    async with limited(each_redis_server, admin, rules) as client:
        found = {one.severity.value: one for one in await check_server(client, [KEY])}
    assert found[severity].name == "rights"
    assert found[severity].sentence.endswith(f"add to its ACL {added}")


async def test_a_server_that_tells_nothing_of_itself_is_used(
    each_redis_server: Valkey, admin: Admin
) -> None:
    async with limited(each_redis_server, admin, "~* +@all -info -config") as client:
        assert await names(client) == {"unseen"}


async def test_a_server_that_is_away_or_does_not_know_us_is_no_finding(tmp_path: Path) -> None:
    with running(tmp_path / "away", IN_MEMORY | {"requirepass": "secret"}) as server:
        async with client_of(server.url) as client:
            with pytest.raises(StreamRefused):
                await check_server(client, [KEY])
            server.kill()
            with pytest.raises(StreamUnavailable):
                await check_server(client, [KEY])
