"""``python -m viewer``: serve pages until stopped; ``invalidate``: purge what events touch."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

import typer

from outbox.errors import BadSetting, CatalogStreamError
from process.logging import configure
from viewer.settings import InvalidatorSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Coroutine

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)

_FAILED, _USAGE = 1, 2


@app.callback(invoke_without_command=True)
def serve(context: typer.Context) -> None:
    """Serve pages for the gateway, until SIGTERM or Ctrl-C."""
    if context.invoked_subcommand is None:
        _end(_serve())


@app.command()
def invalidate() -> None:
    """Purge from the cache what events touch, until SIGTERM or Ctrl-C."""
    _end(_invalidate())


async def _serve() -> None:
    settings = Settings.from_environment(os.environ)
    from viewer import service  # noqa: PLC0415 - aiohttp is slow to import

    await service.serve(settings, _asked_to_stop(settings.log_level))


async def _invalidate() -> None:
    settings = InvalidatorSettings.from_environment(os.environ)
    from viewer.purging import service as purging  # noqa: PLC0415

    await purging.invalidate(settings, _asked_to_stop(settings.log_level))


def _asked_to_stop(log_level: str) -> asyncio.Event:
    configure(log_level)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _end(work: Coroutine[None, None, None]) -> NoReturn:
    try:
        asyncio.run(work)
    except CatalogStreamError as exc:
        print(exc, file=sys.stderr)  # noqa: T201 - the log may not be set up yet
        raise typer.Exit(_USAGE if isinstance(exc, BadSetting) else _FAILED) from None
    raise typer.Exit


if __name__ == "__main__":
    app(prog_name="python -m viewer")
