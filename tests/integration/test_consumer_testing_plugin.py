"""The harness from another repository: a folder of its own, and nothing of ours but the package."""

import os
import subprocess
import sys
from pathlib import Path

from own_consumer import OWN_COMMAND

_ROOT = Path(__file__).resolve().parents[2]
_TESTS = f"""
import asyncio

import asyncpg
import pytest
import redis

from consumer.testing import Command

OURS = Command({OWN_COMMAND.argv!r}, {OWN_COMMAND.environment!r})


def test_keeps_its_promises(consumer_scenarios):
    report = consumer_scenarios.check(OURS, "steady")
    assert report["steady"].effects == 100


def test_is_told_what_it_breaks(consumer_scenarios):
    async def acknowledges_nothing(context):
        await context.stop.wait()

    with pytest.raises(AssertionError, match="had no effect"):
        consumer_scenarios.check(acknowledges_nothing, "steady", within_s=0.2)


def test_has_servers_and_a_publisher(catalog_redis, catalog_postgres, scripted_publisher):
    events = scripted_publisher.publish(10)
    with redis.Redis.from_url(catalog_redis, decode_responses=True) as client:
        assert [id_ for id_, _ in client.xrange("catalog:events")] == [e.id for e in events]
        assert len(scripted_publisher.trim(keep=4)) == 6
        scripted_publisher.forget()
        assert client.dbsize() == 0
        assert scripted_publisher.restore() == events
    assert "host=" in catalog_postgres


async def connected(dsn):
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE mine ()")
    await connection.close()


def test_has_a_database_of_its_own(catalog_postgres):
    asyncio.run(connected(catalog_postgres))


def test_and_the_next_one_has_another(catalog_postgres):
    asyncio.run(connected(catalog_postgres))
"""


def test_another_repository_tests_its_consumer_with_the_plugin(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (tmp_path / "test_ours.py").write_text(_TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "consumer.testing.plugin", "-W", "error", "-q"],
        cwd=tmp_path,
        # Nothing else that happens to be installed here: no plugin for coroutines either.
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(_ROOT),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout
