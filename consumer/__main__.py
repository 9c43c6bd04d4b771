"""``python -m consumer``: the reference consumers, and what on-call does with dead letters."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.reference.environment import Settings, StreamSettings
from outbox.errors import BadSetting, CatalogStreamError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from redis.asyncio import Redis

    from consumer.letters.requests import Wish

app = typer.Typer(
    add_completion=False, help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False
)

Group = Annotated[str, typer.Option("--group", help="Whose dead letters.")]
Id = Annotated[str | None, typer.Option("--id", help="The event that was set aside.")]
Every = Annotated[bool, typer.Option("--all", help="All of them.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Within = Annotated[float, typer.Option(help="How long to wait for the member that reads.")]


@app.command()
def analytics() -> None:
    """Count events per entity, operation and minute, in PostgreSQL."""
    from consumer.reference.analytics import service  # noqa: PLC0415 - the commands do not need it

    _serve(service.run, needs_database=True)


@app.command()
def engagement() -> None:
    """Keep a score for each series and episode, in Redis."""
    from consumer.reference.engagement import service  # noqa: PLC0415

    _serve(service.run)


@app.command()
def search() -> None:
    """Keep a full-text index level with the catalog, in an SQLite file."""
    from consumer.reference.search import service  # noqa: PLC0415
    from consumer.reference.search.settings import SearchSettings  # noqa: PLC0415

    _serve(lambda settings: service.run(settings, SearchSettings.from_environment(os.environ)))


@app.command()
def query(
    asked: Annotated[str, typer.Argument(help="Words, or the beginnings of words.")],
    most: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 10,
    as_json: Json = False,  # noqa: FBT002
) -> None:
    """Search the index that `search` keeps."""
    from consumer.reference.search import query  # noqa: PLC0415
    from consumer.reference.search.settings import SearchSettings  # noqa: PLC0415

    try:
        index = SearchSettings.from_environment(os.environ).index
    except BadSetting as exc:
        raise _refused(exc) from None
    raise typer.Exit(query.run(index, asked, most=most, as_json=as_json))


@app.command("dead-letters")
def dead_letters(group: Group, as_json: Json = False) -> None:  # noqa: FBT002
    """Events that a group could not handle and set aside."""
    from consumer.commands import dead_letters  # noqa: PLC0415 - rich is slow to import

    _ask(lambda redis, streams: dead_letters.run(redis, group, streams, as_json=as_json))


@app.command()
def requeue(  # noqa: PLR0913, PLR0917 - options
    group: Group,
    event_id: Id = None,
    every: Every = False,  # noqa: FBT002
    yes: Yes = False,  # noqa: FBT002
    dry_run: DryRun = False,  # noqa: FBT002
    as_json: Json = False,  # noqa: FBT002
    within_s: Within = 10.0,
) -> None:
    """Have dead letters handled once more, by the member that reads."""
    from consumer.letters.requests import Wish  # noqa: PLC0415

    _settle(Wish.REQUEUE, group, event_id, every, yes, dry_run, as_json, within_s)


@app.command()
def discard(  # noqa: PLR0913, PLR0917 - options
    group: Group,
    event_id: Id = None,
    every: Every = False,  # noqa: FBT002
    yes: Yes = False,  # noqa: FBT002
    dry_run: DryRun = False,  # noqa: FBT002
    as_json: Json = False,  # noqa: FBT002
    within_s: Within = 10.0,
) -> None:
    """Give dead letters up; an entity without any is parked no longer."""
    from consumer.letters.requests import Wish  # noqa: PLC0415

    _settle(Wish.DISCARD, group, event_id, every, yes, dry_run, as_json, within_s)


def _settle(  # noqa: PLR0913, PLR0917
    wish: Wish,
    group: str,
    event_id: str | None,
    every: bool,  # noqa: FBT001
    yes: bool,  # noqa: FBT001
    dry_run: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
    within_s: float,
) -> None:
    from consumer.commands import settle  # noqa: PLC0415

    asked = settle.Asked(wish, event_id, every, yes, dry_run, as_json, within_s)
    _ask(lambda redis, streams: settle.run(redis, group, streams, asked))


def _ask(command: Callable[[Redis, list[str]], Awaitable[int]]) -> None:
    from process import console  # noqa: PLC0415
    from process.redis.connection import client  # noqa: PLC0415

    async def asked(settings: StreamSettings) -> int:
        async with client(settings.redis_url) as redis:
            return await console.reported(command(redis, settings.keys))

    try:
        settings = StreamSettings.from_environment(os.environ)
        code = asyncio.run(asked(settings))
    except BadSetting as exc:
        raise _refused(exc) from None
    raise typer.Exit(code)


def _serve(
    run: Callable[[Settings], Coroutine[None, None, None]], *, needs_database: bool = False
) -> None:
    try:
        settings = Settings.from_environment(os.environ, needs_database=needs_database)
        asyncio.run(run(settings))
    except CatalogStreamError as exc:
        raise _refused(exc) from None


def _refused(exc: CatalogStreamError) -> typer.Exit:
    print(exc, file=sys.stderr)  # noqa: T201 - the log may not be set up yet
    return typer.Exit(2 if isinstance(exc, BadSetting) else 1)


if __name__ == "__main__":
    app(prog_name="python -m consumer")
