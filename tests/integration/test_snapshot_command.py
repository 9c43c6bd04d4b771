"""``make snapshot``: what it writes, what it prints, and how it ends."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from faulty_service import POSITION, FaultyService, answered, ends_well, item, serving
from google.rpc.error_details_pb2 import ErrorInfo
from grpclib.const import Status

from content_proto.content_pb2 import CatalogSummary

ROOT = Path(__file__).resolve().parents[2]
UNAVAILABLE = answered(Status.UNAVAILABLE, "draining")
EXPIRED = answered(Status.OUT_OF_RANGE, "too old", ErrorInfo(reason="CURSOR_EXPIRED"))
MALFORMED = answered(Status.INVALID_ARGUMENT, "what?", ErrorInfo(reason="CURSOR_MALFORMED"))


async def snapshot(address: str, *words: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "snapshot_server", "snapshot", *words),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "SNAPSHOT_ADDRESS": address, "SERVICE_AUTH_TOKEN": "a,b"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_it_counts_verifies_and_prints_the_position() -> None:
    service = FaultyService(7, [(2, UNAVAILABLE)])
    async with serving(service) as address:
        code, out, _ = await snapshot(address, "--limit", "2")
    assert code == 0
    assert "0 series, 7 episodes" in out
    assert "verified" in out
    assert "7 items, 0 removed in 4 chunks" in out
    assert "1 interruptions" in out
    assert out.endswith(f"position {POSITION}\n")
    assert service.tokens == ["Bearer a", "Bearer a"]


async def test_its_file_holds_an_item_in_each_line(tmp_path: Path) -> None:
    async with serving(FaultyService(3)) as address:
        code, out, _ = await snapshot(address, "--out", str(tmp_path / "items"), "--json")
    assert code == 0
    lines = [json.loads(line) for line in (tmp_path / "items").read_text("utf-8").splitlines()]
    assert [(line["id"], line["title"]) for line in lines] == [
        (item(number).id, f"no {number}") for number in (1, 2, 3)
    ]
    report = json.loads(out)
    assert (report["position"], report["items"], report["verified"]) == (POSITION, 3, True)
    assert report["digest"] == f"{FaultyService(3).summary.digest:016x}"


async def test_standard_output_holds_items_and_nothing_else() -> None:
    async with serving(FaultyService(3)) as address:
        code, out, err = await snapshot(address, "--out", "-")
    assert code == 0
    assert [json.loads(line)["title"] for line in out.splitlines()] == ["no 1", "no 2", "no 3"]
    assert f"position {POSITION}" in err


async def test_from_a_cursor_it_takes_what_follows_and_does_not_say_verified() -> None:
    service = FaultyService(3)
    async with serving(service) as address:
        code, out, _ = await snapshot(address, "--cursor", "c2", "--json")
    report = json.loads(out)
    assert (code, report["items"], report["verified"], report["digest"]) == (0, 1, False, None)
    assert service.requests[0].cursor == "c2"


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (answered(Status.UNAUTHENTICATED, "unknown token"), 1, "unknown token"),
        (EXPIRED, 1, "too old"),
        (MALFORMED, 2, "what?"),
    ],
    ids=["unauthenticated", "expired", "malformed"],
)
async def test_what_is_refused_is_said_and_leaves_the_file_as_it_was(
    fault: object, code: int, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "items"
    file.write_text("of yesterday")
    service = FaultyService(3, [(1, fault)])  # type: ignore[list-item]
    async with serving(service) as address:
        ended, out, err = await snapshot(address, "--limit", "1", "--out", str(file))
    assert (ended, out) == (code, "")
    assert said in err
    assert names_in(tmp_path) == ["items"]
    assert file.read_text() == "of yesterday"


async def test_what_differs_from_the_summary_is_degraded_and_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FaultyService, "summary", CatalogSummary(episodes=4, digest=1))
    async with serving(FaultyService(3)) as address:
        code, _, err = await snapshot(address, "--out", str(tmp_path / "items"))
    assert code == 3
    assert "episodes 3 instead of 4" in " ".join(err.split())
    assert names_in(tmp_path) == []


async def test_a_service_that_is_not_there_is_unreachable() -> None:
    async with serving(FaultyService(0)) as dead:
        pass
    code, out, err = await snapshot(dead)
    assert (code, out) == (4, "")
    assert "given up after 7 attempts" in err


async def test_a_service_that_always_breaks_off_is_unreachable() -> None:
    async with serving(FaultyService(3, [(0, ends_well)] * 99)) as address:
        code, _, err = await snapshot(address)
    assert code == 4
    assert "without its last chunk" in " ".join(err.split())


async def test_an_address_that_is_none_is_a_wrong_use() -> None:
    code, _, err = await snapshot("feed")
    assert code == 2
    assert "is not an address" in err
