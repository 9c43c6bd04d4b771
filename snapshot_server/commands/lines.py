"""Items as JSON lines, in a file that is there whole or not at all."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from google.protobuf.json_format import MessageToDict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

    from snapshot_server.client.chunk import Chunk


class Lines:
    """One line for each item and each removal, as they come; of an item the last line counts."""

    def __init__(self, file: TextIO | None) -> None:
        self._file = file

    def write(self, chunk: Chunk) -> None:
        """Nothing where there is no file."""
        if self._file:
            for item in chunk.items:
                self._file.write(_line(item))
            for gone in chunk.removed:
                self._file.write(_line(gone, removed=True))


@contextmanager
def opened(out: str | None) -> Iterator[Lines]:
    """``-`` is standard output; a file gets its name when the block has ended well.

    Raises OSError.
    """
    if out is None:
        yield Lines(None)
        return
    if out == "-":
        yield Lines(sys.stdout)
        sys.stdout.flush()
        return
    path = Path(out)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("x", encoding="utf-8") as file:
            yield Lines(file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _line(message: Message, **more: bool) -> str:
    fields = MessageToDict(message, preserving_proto_field_name=True)
    return json.dumps(more | fields, ensure_ascii=False) + "\n"
