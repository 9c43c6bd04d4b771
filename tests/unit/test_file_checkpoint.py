"""A checkpoint in a file never goes back, and is whole whatever happens to who writes it."""

import subprocess
import sys
from pathlib import Path

import pytest

from consumer.errors import CheckpointUnreadable
from consumer.keeping.checkpoint import FileCheckpoint
from outbox.position import Position

ROOT = Path(__file__).resolve().parents[2]
_DIE_AT_EACH_LINE = """
import asyncio, os, signal, sys
from consumer.keeping.checkpoint import FileCheckpoint
from outbox.position import Position

def dying_at(line):
    lines = 0

    def trace(frame, event, _):
        nonlocal lines
        code = frame.f_code
        is_ours = code.co_filename.endswith("checkpoint.py")
        if not (is_ours or code.co_name in ("write_text", "write_bytes")):
            return None
        lines += 1
        if lines == line:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace

checkpoint, ms, ended = FileCheckpoint(sys.argv[1]), 0, False
while not ended:
    ms += 1
    if (child := os.fork()) == 0:
        # What save() does in a thread.
        sys.settrace(dying_at(ms))
        checkpoint._save(checkpoint._file("g", "s"), Position(ms, 0))
        os._exit(0)
    ended = os.waitpid(child, 0)[1] == 0
    print(ms, asyncio.run(checkpoint.load("g", "s")))
"""


@pytest.fixture
def checkpoint(tmp_path: Path) -> FileCheckpoint:
    return FileCheckpoint(tmp_path / "checkpoints")


async def test_nothing_is_known_at_first(checkpoint: FileCheckpoint) -> None:
    assert await checkpoint.load("search", "catalog:events") is None


async def test_what_was_saved_is_loaded_for_each_group_and_stream(
    checkpoint: FileCheckpoint,
) -> None:
    await checkpoint.save("search", "catalog:events:{0}", Position(5, 1))
    await checkpoint.save("a/../b", "catalog:events:{0}", Position(7, 2))
    assert await checkpoint.load("search", "catalog:events:{0}") == Position(5, 1)
    assert await checkpoint.load("a/../b", "catalog:events:{0}") == Position(7, 2)
    assert await checkpoint.load("search", "catalog:events:{1}") is None


async def test_a_checkpoint_in_a_file_never_goes_back(checkpoint: FileCheckpoint) -> None:
    for position in (Position(5, 1), Position(5, 0), Position(4, 9)):
        await checkpoint.save("g", "s", position)
    assert await checkpoint.load("g", "s") == Position(5, 1)


def test_a_checkpoint_is_whole_wherever_its_writer_is_killed(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", _DIE_AT_EACH_LINE, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    lines = [line.split() for line in result.stdout.splitlines()]
    assert len(lines) > 20
    before = "None"
    for ms, loaded in lines:
        assert loaded in (before, f"{ms}-0")
        before = loaded
    # The last one was let alone.
    assert before == f"{len(lines)}-0"


async def test_a_file_that_holds_no_position_is_refused_by_name(tmp_path: Path) -> None:
    checkpoint = FileCheckpoint(tmp_path)
    await checkpoint.save("g", "s", Position(5, 1))
    (tmp_path / "s@g").write_text("")
    with pytest.raises(CheckpointUnreadable, match="s@g"):
        await checkpoint.load("g", "s")
