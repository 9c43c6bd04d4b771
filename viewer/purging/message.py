"""What the webhook is told, and how it can tell that it was us."""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SIGNATURE_HEADER = "X-Catalog-Signature"


@dataclass(frozen=True, slots=True)
class Message:
    """One purge."""

    id: str
    """The same whenever it is sent again."""
    tags: Sequence[str] = ()
    """What has changed, whether or not pages of it were cached."""
    keys: Sequence[str] = ()
    """Of the pages that went."""
    manifest_urls: Sequence[str] = ()
    """That were on them."""
    event_ids: Sequence[str] = ()
    everything: bool = False
    """All pages went: whoever has copies must let go of all of them."""

    @property
    def body(self) -> bytes:
        """As it is sent."""
        said = {
            "type": "catalog.purged",
            "id": self.id,
            "everything": self.everything,
            "tags": self.tags,
            "keys": self.keys,
            "manifestUrls": self.manifest_urls,
            "eventIds": self.event_ids,
        }
        return json.dumps(said, separators=(",", ":")).encode()


def signature(body: bytes, secret: str, *, at_s: int) -> str:
    """The value of the header: the time, and a digest of time and body that takes the secret."""
    digest = hmac.new(secret.encode(), b"%d.%b" % (at_s, body), sha256).hexdigest()
    return f"t={at_s},v1={digest}"
