"""Import a list of titles into the catalog."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from examples.command import Exit, Screen, run
from examples.title_list import FileRefused, TitleList, read_title_list

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
        title_list = _read(path)
    except FileRefused as refused:
        Screen().failure(f"{path}: {refused}")
        sys.exit(Exit.REFUSED)
    sys.exit(run(title_list.titles, title_list.skipped))


def _read(path: Path) -> TitleList:
    if not path.is_file():
        raise FileRefused("There is no such file." if not path.exists() else "It is not a file.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileRefused(f"It cannot be read: {error.strerror}.") from error
    return read_title_list(content)


if __name__ == "__main__":
    app()
