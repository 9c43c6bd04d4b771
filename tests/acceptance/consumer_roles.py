"""Consumers that chaos falls upon, forked from a process that has imported everything already.

Each says what it does in a file or a table that outlives it, so that others can judge it.
"""

import asyncio
import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence

import asyncpg
from chaos_check import live_rows
from redis.asyncio import Redis

from consumer import Consumer, Event, FileCheckpoint, Gap, Inbox, Options, PostgresCheckpoint
from consumer.reference.environment import Settings
from consumer.reference.search import service
from consumer.reference.search.settings import SearchSettings
from consumer.watching.observing import log_lines
from outbox.position import Position
from outbox.tables import at_newest_tick
from process import logging

LEASE_S = 0.8
LANES, INBOX, SEARCH = "lanes", "inbox", "search"

_OPTIONS = Options(lease_s=LEASE_S, batch=200, in_hand=1000, block_s=0.2, backoff_cap_s=0.3)
_PUT = (
    "INSERT INTO public.held AS h (entity, entity_id, live, fields) VALUES ($1, $2, $3, $4)"
    " ON CONFLICT (entity, entity_id) DO UPDATE SET live = excluded.live, fields ="
    " CASE WHEN $5 THEN excluded.fields ELSE h.fields || excluded.fields END"
)
TABLE = (
    "CREATE TABLE public.held (entity text, entity_id text, live bool NOT NULL,"
    " fields jsonb NOT NULL, PRIMARY KEY (entity, entity_id))"
)
# Whatever was before counts as applied, also of entities that are gone.
_MARK_ALL = (
    "INSERT INTO catalog_consumer.inbox AS i (group_name, entity, entity_id, version)"
    " SELECT DISTINCT $1::text, entity, entity_id, $2::bigint FROM outbox.event"
    " ON CONFLICT (group_name, entity, entity_id)"
    " DO UPDATE SET version = greatest(i.version, excluded.version)"
)


async def lanes(stop: asyncio.Event) -> None:
    """Handles event by event, in lanes; an effect is a line in a file."""
    environment = os.environ
    effects = os.open(environment["EFFECTS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    gaps = os.open(environment["GAPS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def handle(event: Event) -> None:
        if event.version % 7 == 0:
            await asyncio.sleep(0.001)
        os.write(effects, f"{event.id} {event.entity_id}\n".encode())

    async with Redis.from_url(environment["REDIS_URL"]) as redis:

        async def on_gap(gap: Gap) -> None:
            first = gap.first
            if first is None:
                info = await redis.xinfo_stream(gap.stream)
                first = Position.parse(info["last-generated-id"].decode())
            os.write(gaps, f"{gap.after} {first}\n".encode())

        checkpoint = FileCheckpoint(environment["CHECKPOINTS"])
        async with Consumer(
            redis,
            group=LANES,
            handler=handle,
            checkpoint=checkpoint,
            on_gap=on_gap,
            options=_OPTIONS,
            observe=log_lines(LANES),
        ) as consumer:
            await consumer.run(stop)


async def inbox(stop: asyncio.Event) -> None:
    """Keeps the last state of each entity in its own table, exactly once."""
    async with (
        asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=0, max_size=6) as pool,
        Redis.from_url(os.environ["REDIS_URL"]) as redis,
    ):
        taken, checkpoint = Inbox(pool, INBOX), PostgresCheckpoint(pool)
        await taken.prepare()

        async def apply(events: Sequence[Event]) -> None:
            async with taken.applying_all(events) as (connection, fresh):
                await connection.executemany(_PUT, [_row(event) for event in fresh])

        async def heal(_: Gap) -> Position:
            async with at_newest_tick(pool) as now:
                rows, position = await live_rows(now.connection), now.position
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute(_MARK_ALL, INBOX, position.version)
                await connection.execute("DELETE FROM public.held")
                held = [(*key, True, json.dumps(row), True) for key, row in rows.items()]
                await connection.executemany(_PUT, held)
            return position

        async with Consumer(
            redis,
            group=INBOX,
            batch_handler=apply,
            checkpoint=checkpoint,
            on_gap=heal,
            options=_OPTIONS,
            observe=log_lines(INBOX),
        ) as consumer:
            await consumer.run(stop)


async def search(_: asyncio.Event) -> None:
    """The reference consumer as it is."""
    settings = Settings.from_environment(os.environ)
    await service.run(settings, SearchSettings.from_environment(os.environ))


def _row(event: Event) -> tuple[str, str, bool, str, bool]:
    fields = {name: value for name, value in event.payload.items() if not name.startswith("$")}
    created, lives = event.operation == "create", event.operation != "delete"
    return event.entity, event.entity_id, lives, json.dumps(fields), created


_ROLES = {LANES: lanes, INBOX: inbox, SEARCH: search}


async def _play(role: str) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    logging.configure("debug")
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await _ROLES[role](stop)


def serve() -> None:
    """For each line of input a process; its pid is the answer."""
    # Nobody waits for them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        environment, role, log_file = json.loads(line)
        pid = os.fork()
        if pid:
            print(pid, flush=True)  # noqa: T201 - this is what it is for
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nowhere = os.open(os.devnull, os.O_RDONLY)
        for standard, its_own in ((0, nowhere), (1, log), (2, log)):
            os.dup2(its_own, standard)
        os.environ.update(environment)
        try:
            asyncio.run(_play(role))
        except BaseException:  # noqa: BLE001 - its last words
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(0)


if __name__ == "__main__":
    serve()
