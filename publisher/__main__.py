"""``python -m publisher``: publish until stopped; ``status`` says how it goes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Annotated

import typer

from outbox.errors import BadSetting, CatalogStreamError
from publisher.settings import Settings

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def run(context: typer.Context) -> None:
    """Publish until SIGTERM or Ctrl-C."""
    if context.invoked_subcommand is None:
        settings = _settings()
        try:
            asyncio.run(_publish(settings))
        except CatalogStreamError as exc:
            print(exc, file=sys.stderr)  # noqa: T201
            raise typer.Exit(2 if isinstance(exc, BadSetting) else 1) from None


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,  # noqa: FBT002
    watch: Annotated[bool, typer.Option("--watch", help="Again each second.")] = False,  # noqa: FBT002
) -> None:
    """The way from commit to consumer: what waits where."""
    from process import console  # noqa: PLC0415 - rich is slow to import
    from publisher.commands import status  # noqa: PLC0415 - rich is slow to import

    work = status.run(_settings(), as_json=as_json, watch=watch)
    raise typer.Exit(asyncio.run(console.reported(work)))


@app.command()
def group_drop(
    name: Annotated[str, typer.Argument(help="The consumer group.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,  # noqa: FBT002
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show.")] = False,  # noqa: FBT002
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,  # noqa: FBT002
) -> None:
    """Declare a consumer group dead: nothing is kept for it any more."""
    from process import console  # noqa: PLC0415
    from publisher.commands import group_drop  # noqa: PLC0415

    work = group_drop.run(_settings(), name, yes=yes, dry_run=dry_run, as_json=as_json)
    raise typer.Exit(asyncio.run(console.reported(work)))


@app.command()
def pause(
    reason: Annotated[str, typer.Option(help="Why; others see it.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,  # noqa: FBT002
) -> None:
    """Stop publishing, in every process, until it is resumed; writers go on."""
    from process import console  # noqa: PLC0415
    from publisher.commands import pause  # noqa: PLC0415

    work = pause.pause(_settings(), reason, as_json=as_json)
    raise typer.Exit(asyncio.run(console.reported(work)))


@app.command()
def resume(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,  # noqa: FBT002
) -> None:
    """Publish again after a pause."""
    from process import console  # noqa: PLC0415
    from publisher.commands import pause  # noqa: PLC0415

    work = pause.resume(_settings(), as_json=as_json)
    raise typer.Exit(asyncio.run(console.reported(work)))


@app.command()
def verify(
    since: Annotated[
        str | None, typer.Option(help="From this position on, or how long ago: 30m, 2h, 7d.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,  # noqa: FBT002
) -> None:
    """Compare outbox, ticks and streams, ID by ID; 1 if anything differs."""
    from process import console  # noqa: PLC0415
    from publisher.commands import verify  # noqa: PLC0415

    work = verify.run(_settings(), since=since, as_json=as_json)
    raise typer.Exit(asyncio.run(console.reported(work)))


@app.command()
def replay(  # noqa: PLR0913, PLR0917 - one for each option
    first: Annotated[str, typer.Option("--from", help="A position, or how long ago: 30m, 2h, 7d.")],
    last: Annotated[
        str | None, typer.Option("--to", help="The last one; all, if not given.")
    ] = None,
    entity: Annotated[str | None, typer.Option(help="Of this kind only: series, …")] = None,
    entity_id: Annotated[str | None, typer.Option(help="Of this entity only.")] = None,
    key: Annotated[
        str | None, typer.Option(help="Into this stream; <stream>:replay:<from>, if not given.")
    ] = None,
    rate: Annotated[int, typer.Option(min=1, max=1_000_000, help="Events a second.")] = 1000,
    go_on: Annotated[bool, typer.Option("--continue", help="After what is there.")] = False,  # noqa: FBT002
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,  # noqa: FBT002
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,  # noqa: FBT002
) -> None:
    """Write old events into a stream beside the live one, with the IDs that they had."""
    from process import console  # noqa: PLC0415
    from publisher.commands import replay  # noqa: PLC0415

    wish = replay.Wish(first, last, entity, entity_id, key, rate, go_on, dry_run)
    work = replay.run(_settings(), wish, as_json=as_json)
    raise typer.Exit(asyncio.run(console.reported(work)))


@app.command()
def explain(  # noqa: PLR0913, PLR0917 - one for each option
    id_: Annotated[str | None, typer.Option("--id", help="An event's ID.")] = None,
    entity_id: Annotated[str | None, typer.Option(help="Its newest events.")] = None,
    entity: Annotated[str | None, typer.Option(help="Of this kind only: series, …")] = None,
    last: Annotated[int, typer.Option(min=1, max=1000, help="How many of them.")] = 10,
    within_s: Annotated[float, typer.Option(min=0, help="How long to look for them.")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,  # noqa: FBT002
) -> None:
    """One event's way, from its transaction to its readers, or to where it is stuck."""
    from process import console  # noqa: PLC0415
    from publisher.commands import explain  # noqa: PLC0415

    wish = explain.Wish(id_, entity_id, entity, last, within_s)
    work = explain.run(_settings(), wish, as_json=as_json)
    raise typer.Exit(asyncio.run(console.reported(work)))


@app.command()
def backfill(  # noqa: PLR0913, PLR0917 - each is an option
    entity: Annotated[str, typer.Option(help="As events call it: series, mediaAsset, …")],
    where: Annotated[str, typer.Option(help="A condition in SQL on its table.")] = "",
    chunk: Annotated[int, typer.Option(min=1, max=10_000, help="Rows at once.")] = 500,
    max_backlog: Annotated[int, typer.Option(min=1, help="Unpublished events.")] = 10_000,
    again: Annotated[bool, typer.Option("--again", help="From the first row.")] = False,  # noqa: FBT002
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,  # noqa: FBT002
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,  # noqa: FBT002
) -> None:
    """Emit a fresh event, with the full payload, for each row that is there."""
    from process import console  # noqa: PLC0415
    from publisher.commands import backfill  # noqa: PLC0415

    wish = backfill.Wish(entity, where, chunk, max_backlog, again, dry_run)
    work = backfill.run(_settings(), wish, as_json=as_json)
    raise typer.Exit(asyncio.run(console.reported(work)))


@app.command()
def dead_letters(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,  # noqa: FBT002
) -> None:
    """Events that could not be published and were set aside."""
    from process import console  # noqa: PLC0415
    from publisher.commands import dead_letters  # noqa: PLC0415

    work = dead_letters.run(_settings(), as_json=as_json)
    raise typer.Exit(asyncio.run(console.reported(work)))


@app.command()
def requeue(
    id_: Annotated[str | None, typer.Option("--id", help="The ID that it had.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that wait.")] = False,  # noqa: FBT002
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,  # noqa: FBT002
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show.")] = False,  # noqa: FBT002
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,  # noqa: FBT002
) -> None:
    """Publish dead letters after all, with new IDs."""
    from process import console  # noqa: PLC0415
    from publisher.commands import dead_letters, requeue  # noqa: PLC0415

    work = requeue.run(_settings(), dead_letters.Wish(id_, every, yes, dry_run, as_json))
    raise typer.Exit(asyncio.run(console.reported(work)))


@app.command()
def discard(
    id_: Annotated[str | None, typer.Option("--id", help="The ID that it had.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that wait.")] = False,  # noqa: FBT002
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,  # noqa: FBT002
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show.")] = False,  # noqa: FBT002
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,  # noqa: FBT002
) -> None:
    """Give dead letters up."""
    from process import console  # noqa: PLC0415
    from publisher.commands import dead_letters, discard  # noqa: PLC0415

    work = discard.run(_settings(), dead_letters.Wish(id_, every, yes, dry_run, as_json))
    raise typer.Exit(asyncio.run(console.reported(work)))


@app.command()
def reanchor(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,  # noqa: FBT002
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show.")] = False,  # noqa: FBT002
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,  # noqa: FBT002
) -> None:
    """Publish a database that was restored, and abandon what it does not know."""
    from process import console  # noqa: PLC0415
    from publisher.commands import reanchor  # noqa: PLC0415

    work = reanchor.run(_settings(), yes=yes, dry_run=dry_run, as_json=as_json)
    raise typer.Exit(asyncio.run(console.reported(work)))


def _settings() -> Settings:
    try:
        return Settings.from_environment(os.environ)
    except BadSetting as exc:
        print(exc, file=sys.stderr)  # noqa: T201 - the log is not set up yet
        raise typer.Exit(2) from None


async def _publish(settings: Settings) -> None:
    # Imported here so that `status` and `--help` need not wait for it.
    from process import logging  # noqa: PLC0415
    from process.redis import connection as redis_connection  # noqa: PLC0415
    from publisher import service  # noqa: PLC0415
    from publisher.store import connections  # noqa: PLC0415

    logging.configure(settings.log_level)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with (
        connections.postgres_pool(settings) as pool,
        redis_connection.client(settings.redis_url) as redis,
    ):
        await service.run(
            settings, pool, redis, lambda: connections.postgres_listener(settings), stop
        )


if __name__ == "__main__":
    app(prog_name="python -m publisher")
