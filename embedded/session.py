"""`make run`: servers, publisher and events in one terminal, until Ctrl-C."""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from embedded.errors import (
    AddressRefused,
    EmbeddedError,
    NotAnAddress,
    PublisherEnded,
    SampleFailed,
    ServerEnded,
)
from embedded.events import Readable, read_events
from embedded.folder import ADDRESSES, DATABASE_URL, PUBLISHER, REDIS_URL, DevFolder
from embedded.screen import Screen, without_password
from embedded.server import Server, last_lines

_DATABASE = "catalog"
_SAMPLE = ("-m", "examples.sample_catalog")
_HAS_DATABASE = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)"
_A_SLUG = "SELECT min(slug) FROM catalog.series"
_EXAMPLE = "UPDATE catalog.series SET title = title || ' (new)'"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_MOST_PARTITIONS = 64
_READ_COUNT = 1000
_READ_BLOCK_S = 5.0
_RECONNECT_PAUSE_S = 1.0
_PUBLISHER_STOP_TIMEOUT_S = 15.0

_Positions = dict[Any, Any]  # by stream, the last ID that was shown; redis-py's types are wider
_Replies = list[tuple[str, list[tuple[str, dict[str, str]]]]]  # with decode_responses, protocol 2


def run(folder: DevFolder, screen: Screen) -> int:
    """Run until a signal, or until a part of it ends; the exit code."""
    for number in _SIGNALS:
        signal.signal(number, signal.default_int_handler)
    try:
        with folder.lock(), ExitStack() as at_the_end:
            try:
                folder.stop_leftovers()
                servers, addresses = _given_or_ours(folder)
                for server in servers:
                    server.start()
                    at_the_end.callback(server.stop)
                folder.publish_addresses(addresses)
                at_the_end.callback(folder.withdraw_addresses)
                asyncio.run(Session(folder, screen, addresses, servers).run())
            finally:
                _let_nothing_interrupt()
    except KeyboardInterrupt:
        pass
    except EmbeddedError as failure:
        screen.failure(str(failure))
        return 1
    return 0


def _given_or_ours(folder: DevFolder) -> tuple[Sequence[Server], Mapping[str, str]]:
    """The servers to start, and all addresses: of those, or from the environment."""
    ours: Mapping[str, tuple[Server, str]] = {
        DATABASE_URL: (folder.postgres, folder.postgres.dsn(_DATABASE)),
        REDIS_URL: (folder.valkey, folder.valkey.url),
    }
    given = {name: os.environ[name] for name in ADDRESSES if os.environ.get(name)}
    servers = [server for name, (server, _) in ours.items() if name not in given]
    return servers, {name: given.get(name, address) for name, (_, address) in ours.items()}


def _let_nothing_interrupt() -> None:
    """Stopping is short; a second Ctrl-C would leave a part behind."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@dataclass(frozen=True)
class Session:
    """One run, once the servers are up."""

    folder: DevFolder
    screen: Screen
    addresses: Mapping[str, str]
    servers: Sequence[Server]  # those of ours

    async def run(self) -> None:
        """Return after a signal; raise what ended it otherwise."""
        loop, work = asyncio.get_running_loop(), asyncio.create_task(self._work())

        def stop() -> None:
            # Once: another cancel would break off the wait for the publisher.
            if not work.cancelling():
                work.cancel()
                self.screen.note("Stopping.")

        for number in _SIGNALS:
            loop.add_signal_handler(number, stop)
        try:
            await work
        except asyncio.CancelledError:
            pass
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
            _let_nothing_interrupt()

    async def _work(self) -> None:
        slug = await self._prepare_database()
        positions: _Positions = {}
        try:
            # No time limit on replies: the read below waits for them.
            stream = Redis.from_url(
                self.addresses[REDIS_URL], decode_responses=True, socket_timeout=None, protocol=2
            )
            for key in _stream_keys():
                newest = await stream.xrevrange(key, count=1)
                positions[key] = str(newest[0][0]) if newest else "0-0"
        except RedisError as error:
            raise AddressRefused(f"REDIS_URL: {error}") from None
        except ValueError:
            # Its own words may quote the password.
            raise NotAnAddress(REDIS_URL) from None
        readable, loads_sample = Readable(), slug is None and not os.environ.get(DATABASE_URL)
        if loads_sample:
            readable.expect_flood(time.monotonic())
        failures: list[BaseException] = []
        try:
            async with stream, self._publisher() as publisher, asyncio.TaskGroup() as tasks:
                tasks.create_task(self._publisher_ended(publisher))
                for server in self.servers:
                    tasks.create_task(_server_ended(server))
                tasks.create_task(self._show_events(stream, positions, readable))
                if loads_sample:
                    slug = await self._load_sample()
                self._show_header(list(positions), slug)
        except* EmbeddedError as group:
            failures.extend(group.exceptions)
        if failures:
            raise failures[0]

    async def _prepare_database(self) -> str | None:
        """Bring the schema up to date; the slug of a series, None if there is none."""
        try:
            if not os.environ.get(DATABASE_URL):
                async with _connection(self.folder.postgres.dsn()) as database:
                    if not await database.fetchval(_HAS_DATABASE, _DATABASE):
                        await database.execute(f"CREATE DATABASE {_DATABASE}")
            async with _connection(self.addresses[DATABASE_URL]) as database:
                await database.execute((self.folder.root / "schema.sql").read_text("utf-8"))
                if base_url := os.environ.get("CDN_BASE_URL"):
                    await database.execute("SELECT catalog.set_cdn_base_url($1)", base_url)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise AddressRefused(f"DATABASE_URL: {error}") from error
        except ValueError:
            raise NotAnAddress(DATABASE_URL) from None
        return await self._a_slug()

    async def _a_slug(self) -> str | None:
        async with _connection(self.addresses[DATABASE_URL]) as database:
            slug: str | None = await database.fetchval(_A_SLUG)
        return slug

    async def _load_sample(self) -> str | None:
        self.screen.note("First start: loading the sample catalog.")
        loader = await asyncio.create_subprocess_exec(
            sys.executable,
            *_SAMPLE,
            cwd=self.folder.root,
            env={**os.environ, **self.addresses},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            said, _ = await loader.communicate()
        except asyncio.CancelledError:
            with suppress(ProcessLookupError):
                loader.kill()
            raise
        if loader.returncode != 0:
            raise SampleFailed(said.decode(errors="replace"))
        return await self._a_slug()

    @asynccontextmanager
    async def _publisher(self) -> AsyncIterator[asyncio.subprocess.Process]:
        with self.folder.publisher_log.open("wb") as log:
            publisher = await asyncio.create_subprocess_exec(
                sys.executable,
                *PUBLISHER,
                cwd=self.folder.root,
                env={**os.environ, **self.addresses},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                # Ctrl-C is for us; the publisher is to end before its servers do.
                start_new_session=True,
            )
        self.folder.publisher_pid_file.write_text(str(publisher.pid))
        try:
            yield publisher
        finally:
            with suppress(ProcessLookupError):
                publisher.terminate()
            try:
                async with asyncio.timeout(_PUBLISHER_STOP_TIMEOUT_S):
                    await publisher.wait()
            except TimeoutError:
                publisher.kill()
                await publisher.wait()
            self.folder.publisher_pid_file.unlink(missing_ok=True)

    async def _publisher_ended(self, publisher: asyncio.subprocess.Process) -> None:
        code = await publisher.wait()
        raise PublisherEnded(f"{last_lines(self.folder.publisher_log)}\nexit code {code}")

    async def _show_events(self, stream: Redis, positions: _Positions, readable: Readable) -> None:
        while True:
            due_in_s = readable.due_in_s(time.monotonic())
            block_s = _READ_BLOCK_S if due_in_s is None else due_in_s
            try:
                # BLOCK 0 would mean for ever.
                replies = cast(
                    "_Replies",
                    await stream.xread(
                        positions, count=_READ_COUNT, block=max(1, round(block_s * 1000))
                    ),
                )
            except RedisConnectionError as error:
                self.screen.note(f"The stream cannot be read, trying again: {error}")
                await asyncio.sleep(_RECONNECT_PAUSE_S)
                continue
            for key, entries in replies:
                positions[key] = entries[-1][0]
                events = read_events((entry for _, entry in entries), datetime.now(UTC))
                for event in readable.take(events, time.monotonic()):
                    self.screen.event(event)
            if (summary := readable.summary(time.monotonic())) is not None:
                self.screen.summary(summary)

    def _show_header(self, keys: Sequence[str], slug: str | None) -> None:
        examples = sorted((self.folder.root / "examples").glob("*.csv"))
        csv = examples[0].relative_to(self.folder.root) if examples else "your.csv"
        log = self.folder.publisher_log.relative_to(self.folder.root)
        self.screen.header(
            [
                ("PostgreSQL", "make psql", without_password(self.addresses[DATABASE_URL])),
                ("Redis", "make redis-cli", without_password(self.addresses[REDIS_URL])),
                ("Stream", "", keys[0] if len(keys) == 1 else f"{keys[0]} to {keys[-1]}"),
                ("Publisher", "", str(log)),
            ],
            [
                f"make psql SQL=\"{_EXAMPLE} WHERE slug = '{slug or 'a-slug'}'\"",
                f"make import CSV={csv}",
                f'make redis-cli CMD="XRANGE {keys[0]} - + COUNT 3"',
                "make status",
            ],
        )


def _stream_keys() -> list[str]:
    """The streams as the publisher names them; it says what is wrong with a number."""
    key = os.environ.get("CATALOG_EVENT_STREAM_KEY") or "catalog:events"
    text = os.environ.get("CATALOG_EVENT_STREAM_PARTITIONS", "")
    partitions = int(text) if text.isdecimal() else 1
    if not 1 < partitions <= _MOST_PARTITIONS:
        return [key]
    return [f"{key}:{{{number}}}" for number in range(partitions)]


@asynccontextmanager
async def _connection(address: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(address)
    try:
        yield connection
    finally:
        await connection.close()


async def _server_ended(server: Server) -> None:
    ended, loop = asyncio.Event(), asyncio.get_running_loop()

    def watch() -> None:
        server.wait()
        with suppress(RuntimeError):  # the loop is closed, nobody is waiting any more
            loop.call_soon_threadsafe(ended.set)

    # A daemon: at the end of the run it still waits for the server, which is stopped last.
    threading.Thread(target=watch, daemon=True).start()
    await ended.wait()
    raise ServerEnded(f"{last_lines(server.log_file)}\n{server.log_file}")
