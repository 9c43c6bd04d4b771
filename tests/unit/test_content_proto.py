"""What is in content_proto/ is generated from proto/content.proto, for two runtimes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from content_proto import content_pb2 as wire
from content_proto.content import v1

ROOT = Path(__file__).resolve().parents[2]
PROTO = (ROOT / "proto/content.proto").read_text("utf-8")


def _files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_content_proto_is_what_make_proto_writes(tmp_path: Path) -> None:
    made = tmp_path / "content_proto"
    # What is installed stays as it is, also where a lock file is newer.
    make = ["make", "--old-file=.venv/.dev-stamp", "proto"]
    settings = [f"PYTHON={sys.executable}", f"GENERATED={made}"]
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    subprocess.run(
        [*make, *settings], cwd=ROOT, env=environment, check=True, capture_output=True, timeout=60
    )
    assert _files(made) == _files(ROOT / "content_proto")


def test_every_field_message_and_method_has_a_comment() -> None:
    lines = PROTO.splitlines()
    declared = re.compile(r"\s*(?:message|enum|service|rpc) \w+|.* = \d+;$")
    bare = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if declared.match(line) and not line.startswith("syntax") and "//" not in before
    ]
    assert bare == []


def test_video_metadata_keeps_the_numbers_that_its_users_know() -> None:
    fields = wire.GetVideoMetadataResponse.DESCRIPTOR.fields_by_number
    assert [fields[number].name for number in range(1, 11)] == [
        *("id", "title", "description", "duration_seconds", "owner_id", "published_at"),
        *("visibility", "tags", "thumbnails", "stats"),
    ]


def test_both_runtimes_know_the_same_messages() -> None:
    theirs = {name for name in v1.__all__ if not name.startswith("ContentService")}
    file = wire.DESCRIPTOR
    ours = {*file.message_types_by_name, *file.enum_types_by_name}
    assert ours == theirs
