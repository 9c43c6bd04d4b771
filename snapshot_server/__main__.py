"""``python -m snapshot_server``: serve the catalog until stopped; ``status`` says how it goes."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from outbox.errors import BadSetting, CatalogStreamError
from snapshot_server.settings import CommandSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Coroutine

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def run(
    context: typer.Context,
    number: Annotated[
        int | None, typer.Option(hidden=True, help="Which of several processes this is.")
    ] = None,
) -> None:
    """Serve, and keep the feed, until SIGTERM or Ctrl-C."""
    if context.invoked_subcommand is None:
        settings = _settings()
        if number is not None:
            _end(_serve(settings.of_process(number), is_child=True))
        elif settings.processes > 1:
            _end(_supervise(settings))
        else:
            _end(_serve(settings))


@app.command()
def projector() -> None:
    """Keep the feed and serve nobody, until SIGTERM or Ctrl-C."""
    _end(_project(_settings(of_projector=True)))


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,  # noqa: FBT002
) -> None:
    """Where the feed is, how far behind, and who keeps it."""
    from process import console  # noqa: PLC0415 - rich is slow to import
    from snapshot_server.commands import status  # noqa: PLC0415 - rich is slow to import

    try:
        settings = CommandSettings.from_environment(os.environ)
    except BadSetting as exc:
        raise _refused(exc) from None
    raise typer.Exit(asyncio.run(console.reported(status.run(settings, as_json=as_json))))


@app.command()
def snapshot(
    cursor: Annotated[str | None, typer.Option(help="From there; else everything.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Items in a chunk.")] = 1000,
    out: Annotated[str | None, typer.Option(help="File for JSON lines; - for stdout.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report.")] = False,  # noqa: FBT002
) -> None:
    """Take the catalog from the service, as any client would."""
    from snapshot_server.client import access  # noqa: PLC0415
    from snapshot_server.commands import snapshot  # noqa: PLC0415

    wish = snapshot.Wish(cursor, limit, out, as_json)
    try:
        own = access.Access.from_environment(os.environ)
    except BadSetting as exc:
        raise _refused(exc) from None
    work = snapshot.run(own, wish)
    raise typer.Exit(asyncio.run(work))


@app.command()
def diff(
    within_s: Annotated[float, typer.Option(help="How long to wait for the feed.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,  # noqa: FBT002
) -> None:
    """Compare the feed with the tables, item by item."""
    from process import console  # noqa: PLC0415
    from snapshot_server.commands import diff  # noqa: PLC0415

    try:
        settings = CommandSettings.from_environment(os.environ)
    except BadSetting as exc:
        raise _refused(exc) from None
    work = diff.run(settings, within_s=within_s, as_json=as_json)
    raise typer.Exit(asyncio.run(console.reported(work)))


def _settings(*, of_projector: bool = False) -> Settings:
    read = Settings.of_projector if of_projector else Settings.from_environment
    try:
        return read(os.environ)
    except BadSetting as exc:
        raise _refused(exc) from None


def _refused(exc: CatalogStreamError) -> typer.Exit:
    print(exc, file=sys.stderr)  # noqa: T201 - the log may not be set up yet
    return typer.Exit(2 if isinstance(exc, BadSetting) else 1)


def _end(work: Coroutine[None, None, int]) -> None:
    try:
        code = asyncio.run(work)
    except CatalogStreamError as exc:
        raise _refused(exc) from None
    raise typer.Exit(code)


def _asked_to_stop(settings: Settings) -> asyncio.Event:
    # Imported here so that `status` and `--help` need not wait for it.
    from process import logging  # noqa: PLC0415

    logging.configure(settings.log_level)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _serve(settings: Settings, *, is_child: bool = False) -> int:
    stop = _asked_to_stop(settings)
    from snapshot_server.serving import process, processes  # noqa: PLC0415

    # What is imported stays: no collection need look at it.
    gc.freeze()
    parent = asyncio.create_task(processes.end_with_parent(stop.set)) if is_child else None
    await process.serve(settings, stop, shared=is_child)
    if parent:
        parent.cancel()
    return 0


async def _supervise(settings: Settings) -> int:
    stop = _asked_to_stop(settings)
    from snapshot_server.serving import processes  # noqa: PLC0415

    return await processes.supervise(settings, stop)


async def _project(settings: Settings) -> int:
    stop = _asked_to_stop(settings)
    from snapshot_server.serving import process  # noqa: PLC0415

    gc.freeze()
    # Rows and items come in thousands and are in no cycle: looking for some took a tenth. Not where
    # clients are served: calls that they break off leave cycles, with chunks of 1 MiB in them.
    gc.set_threshold(20_000)
    await process.project(settings, stop)
    return 0


if __name__ == "__main__":
    app(prog_name="python -m snapshot_server")
