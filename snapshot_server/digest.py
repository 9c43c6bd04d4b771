"""What a client must hold, as one number that does not depend on the order of the items."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID


def item_digest(kind: int, id: UUID, version: int) -> int:  # noqa: A002
    """What one item adds to the digest, which is the sum modulo 2**64; see CatalogSummary."""
    hashed = sha256(kind.to_bytes(1, "big") + id.bytes + version.to_bytes(8, "big"))
    return int.from_bytes(hashed.digest()[:8], "big")
