"""`make run`: servers, programs and events in one terminal, until Ctrl-C."""

import asyncio
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from embedded.catalog import DATABASE, Catalog
from embedded.environment import Told
from embedded.errors import EmbeddedError, ServerEnded
from embedded.folder import ADDRESSES, DATABASE_URL, REDIS_URL, DevFolder
from embedded.programs import Programs, Running, stopped_at_the_end
from embedded.screen import Screen, without_password
from embedded.server import Server, last_lines
from embedded.stream import ShownStreams

_EXAMPLE = "UPDATE catalog.series SET title = title || ' (new)'"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_READY_TIMEOUT_S = 20.0


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
        DATABASE_URL: (folder.postgres, folder.postgres.dsn(DATABASE)),
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
            # Once: another cancel would break off the wait for the programs.
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
        catalog = Catalog(self.folder, self.addresses)
        await catalog.prepare()
        slug = await catalog.a_slug()
        loads_sample = slug is None and not os.environ.get(DATABASE_URL)
        told = Told(self.addresses, self.folder.path, await catalog.cdn_base_url())
        self.folder.publish_addresses({**self.addresses, **told.for_commands})
        programs = Programs(self.folder.root, self.folder.path, told.environment)
        failures: list[BaseException] = []
        try:
            async with (
                ShownStreams.opened(self.addresses[REDIS_URL], self.screen) as streams,
                stopped_at_the_end(programs),
                asyncio.TaskGroup() as tasks,
            ):
                started = await programs.start(later=False)
                for program in started:
                    tasks.create_task(program.ended())
                for server in self.servers:
                    tasks.create_task(_server_ended(server))
                if loads_sample:
                    streams.expect_flood()
                tasks.create_task(streams.show())
                if loads_sample:
                    self.screen.note("First start: loading the sample catalog.")
                    await catalog.load_sample()
                    slug = await catalog.a_slug()
                await self._all_ready(started)
                for program in await programs.start(later=True):
                    tasks.create_task(program.ended())
                self._show_header(streams.keys, slug, told)
        except* EmbeddedError as group:
            failures.extend(group.exceptions)
        if failures:
            raise failures[0]

    async def _all_ready(self, started: Sequence[Running]) -> None:
        """What the header promises works when it is shown, unless that takes very long."""
        try:
            async with asyncio.timeout(_READY_TIMEOUT_S):
                await asyncio.gather(*(program.ready() for program in started))
        except TimeoutError:
            self.screen.note("Not everything is ready yet; the logs say why.")

    def _show_header(self, keys: Sequence[str], slug: str | None, told: Told) -> None:
        examples = sorted((self.folder.root / "examples").glob("*.csv"))
        csv = examples[0].relative_to(self.folder.root) if examples else "your.csv"
        slug = slug or "a-slug"
        page = f"http://{told.viewer_address}/v1/catalog/series/{slug}"
        token = ' -H "Authorization: Bearer $SERVICE_AUTH_TOKEN"' if told.has_token else ""
        self.screen.header(
            [
                ("PostgreSQL", "make psql", without_password(self.addresses[DATABASE_URL])),
                ("Redis", "make redis-cli", without_password(self.addresses[REDIS_URL])),
                ("Stream", "", keys[0] if len(keys) == 1 else f"{keys[0]} to {keys[-1]}"),
                ("Snapshots", "make snapshot", told.snapshot_address),
                ("Viewer", "", page),
                ("Logs", "", f"{self.folder.path.relative_to(self.folder.root)}/*.log"),
            ],
            [
                f"curl{token} {page}",
                f'make search Q="{slug.partition("-")[0]}"',
                f"make psql SQL=\"{_EXAMPLE} WHERE slug = '{slug}'\"   # and both change",
                f"make import CSV={csv}",
                f'make redis-cli CMD="XRANGE {keys[0]} - + COUNT 3"',
                "make status",
            ],
        )


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
