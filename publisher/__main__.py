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
    from publisher.commands import console, status  # noqa: PLC0415 - rich is slow to import

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
    from publisher.commands import console, group_drop  # noqa: PLC0415

    work = group_drop.run(_settings(), name, yes=yes, dry_run=dry_run, as_json=as_json)
    raise typer.Exit(asyncio.run(console.reported(work)))


@app.command()
def pause(
    reason: Annotated[str, typer.Option(help="Why; others see it.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,  # noqa: FBT002
) -> None:
    """Stop publishing, in every process, until it is resumed; writers go on."""
    from publisher.commands import console, pause  # noqa: PLC0415

    work = pause.pause(_settings(), reason, as_json=as_json)
    raise typer.Exit(asyncio.run(console.reported(work)))


@app.command()
def resume(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,  # noqa: FBT002
) -> None:
    """Publish again after a pause."""
    from publisher.commands import console, pause  # noqa: PLC0415

    work = pause.resume(_settings(), as_json=as_json)
    raise typer.Exit(asyncio.run(console.reported(work)))


def _settings() -> Settings:
    try:
        return Settings.from_environment(os.environ)
    except BadSetting as exc:
        print(exc, file=sys.stderr)  # noqa: T201 - the log is not set up yet
        raise typer.Exit(2) from None


async def _publish(settings: Settings) -> None:
    # Imported here so that `status` and `--help` need not wait for it.
    from publisher import connections, logging, service  # noqa: PLC0415

    logging.configure(settings.log_level)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with (
        connections.postgres_pool(settings) as pool,
        connections.redis_client(settings) as redis,
    ):
        await service.run(
            settings, pool, redis, lambda: connections.postgres_listener(settings), stop
        )


if __name__ == "__main__":
    app(prog_name="python -m publisher")
