"""Import a list of titles into the catalog."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from examples.command import Exit, Screen, run
from examples.title_list import FileRefused, read_title_list

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def import_catalog(
    path: Annotated[Path, typer.Argument(help="A CSV file, such as examples/titles.csv.")],
) -> None:
    """Import the titles in PATH. Run it again and it changes only what differs.

    Broken lines are reported and skipped. The database is the one that DATABASE_URL names; the
    manifests are on CDN_BASE_URL.
    """
    try:
        title_list = read_title_list(path.read_bytes())
    except OSError as error:
        Screen().failure(f"{path}: {error.strerror}")
        sys.exit(Exit.REFUSED)
    except FileRefused as refused:
        Screen().failure(f"{path}: {refused}")
        sys.exit(Exit.REFUSED)
    sys.exit(run(title_list.titles, title_list.skipped))


if __name__ == "__main__":
    app()
