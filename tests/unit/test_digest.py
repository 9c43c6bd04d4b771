"""The digest is what proto/content.proto says it is."""

from __future__ import annotations

from hashlib import sha256
from uuid import UUID

import pytest

from snapshot_server.digest import item_digest

ID = UUID("00112233-4455-6677-8899-aabbccddeeff")


@pytest.mark.parametrize(
    ("kind", "item_id", "version", "digest"),
    [
        (1, ID, 0, 0xCF796FD1DA7EEEF6),
        (2, ID, 0, 0xD31264D6DEFC3702),
        (2, ID, 1882604396756041728, 0xC8296F702F824834),
        (1, UUID(int=0), 1, 0x88847F714F42B687),
        (2, UUID(int=2**128 - 1), 2**63 - 1, 0x9A0F0DBEF74406C8),
    ],
)
def test_an_item_has_the_digest_that_every_client_reckons(
    kind: int, item_id: UUID, version: int, digest: int
) -> None:
    assert item_digest(kind, item_id, version) == digest


def test_the_digest_is_of_one_byte_sixteen_and_eight() -> None:
    told = bytes.fromhex("02 00112233445566778899aabbccddeeff 0000000000000007")
    assert item_digest(2, ID, 7) == int.from_bytes(sha256(told).digest()[:8], "big")
