"""Who may call: any of the tokens that are configured, compared in constant time."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

_FIRST, _LAST = "!", "~"


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens that are accepted, as digests: of one length, and nothing to be told from them."""

    digests: tuple[bytes, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a list with commas. Raises ValueError, which does not quote what it refuses."""
        tokens = text.split(",")
        for number, token in enumerate(tokens, 1):
            which = f"token {number} of {len(tokens)}" if len(tokens) > 1 else "its token"
            if not token:
                raise ValueError(f"{which} is empty")
            if not all(_FIRST <= letter <= _LAST for letter in token):
                raise ValueError(f"{which} has a space, or something else than printable ASCII")
        return cls(tuple(_digest(token) for token in tokens))

    def admit(self, headers: Sequence[str]) -> bool:
        """Whether *headers*, all values of ``authorization``, are one token of ours."""
        if len(headers) != 1:
            return False
        given, found = _digest(_without_scheme(headers[0])), False
        for digest in self.digests:
            # All of them, always: how long it takes must not tell which one it was.
            found |= hmac.compare_digest(digest, given)
        return found


def _without_scheme(value: str) -> str:
    scheme, _, rest = value.strip(" ").partition(" ")
    return rest.lstrip(" ") if scheme.lower() == "bearer" else value


def _digest(token: str) -> bytes:
    # As bytes: comparing text that is not ASCII raises.
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
