"""Commands behind `make run`, `make reset`, `make psql` and `make redis-cli`."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from embedded.errors import EmbeddedError, NotRunning
from embedded.folder import ADDRESSES, DATABASE_URL, REDIS_URL, DevFolder

_FAILURE, _USAGE, _UNREACHABLE = 1, 2, 4

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__
)
folder = DevFolder(Path(__file__).resolve().parent.parent)


@app.command()
def run() -> None:
    """Start everything, show the events; Ctrl-C stops everything."""
    from rich.console import Console  # noqa: PLC0415 - psql and env need none of these

    from embedded.screen import Screen  # noqa: PLC0415
    from embedded.session import run as run_until_ended  # noqa: PLC0415

    sys.exit(run_until_ended(folder, Screen(Console())))


@app.command()
def reset(*, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Remove .dev/: the data of both servers."""
    if not folder.path.exists():
        return
    if not yes:
        if not sys.stdin.isatty():
            typer.echo("This removes all data in .dev/; say --yes (make reset YES=1).", err=True)
            sys.exit(_USAGE)
        if not typer.confirm("Remove all data in .dev/?"):
            return
    folder.reset()


@app.command(context_settings={"ignore_unknown_options": True})
def psql(arguments: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Open psql on DATABASE_URL, or on the database of `make run`."""
    from embedded.shells import psql as become_psql  # noqa: PLC0415

    become_psql(folder.address(DATABASE_URL), arguments or [])


@app.command()
def redis_cli(
    command: Annotated[str, typer.Option(help="One command, with quotes as in a shell.")] = "",
) -> None:
    """Open redis-cli on REDIS_URL, or on the server of `make run`."""
    from embedded.shells import redis_cli as become_redis_cli  # noqa: PLC0415

    try:
        words = shlex.split(command)
    except ValueError as error:
        typer.echo(f"{error}: {command}", err=True)
        sys.exit(_USAGE)
    sys.exit(become_redis_cli(folder.address(REDIS_URL), words))


@app.command()
def env() -> None:
    """Print DATABASE_URL and REDIS_URL as the other commands see them."""
    for line in [f"{name}={folder.address(name)}" for name in ADDRESSES]:
        typer.echo(line)


def main() -> None:
    """Run the command that was asked for; say in a sentence why it could not be done."""
    try:
        app()
    except EmbeddedError as failure:
        typer.echo(str(failure), err=True)
        sys.exit(_UNREACHABLE if isinstance(failure, NotRunning) else _FAILURE)
