"""A checkpoint in a file never goes back, and is whole whatever happens to who writes it."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from consumer.checkpoint import FileCheckpoint
from consumer.errors import CheckpointUnreadable
from outbox.position import Position

ROOT = Path(__file__).resolve().parents[2]
_SAVE_FOR_EVER = """
import asyncio, itertools, sys
from consumer.checkpoint import FileCheckpoint
from outbox.position import Position

async def save():
    checkpoint = FileCheckpoint(sys.argv[1])
    for ms in itertools.count(1):
        await checkpoint.save("g", "s", Position(ms, 0))
        print(ms, flush=True)

asyncio.run(save())
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


def test_a_checkpoint_survives_a_kill_while_it_is_written(tmp_path: Path) -> None:
    saved = 0
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", _SAVE_FOR_EVER, str(tmp_path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        ) as writer:
            assert writer.stdout is not None
            # It begins at 1 again: what is older than the known one is no news.
            while (known := int(writer.stdout.readline())) < saved + 20:
                pass
            writer.kill()
            saved = max([known, *map(int, writer.stdout.read().split())])
        position = asyncio.run(FileCheckpoint(tmp_path).load("g", "s"))
        assert position is not None
        assert position.ms in (saved, saved + 1)


async def test_a_file_that_holds_no_position_is_refused_by_name(tmp_path: Path) -> None:
    checkpoint = FileCheckpoint(tmp_path)
    await checkpoint.save("g", "s", Position(5, 1))
    (tmp_path / "s@g").write_text("")
    with pytest.raises(CheckpointUnreadable, match="s@g"):
        await checkpoint.load("g", "s")
