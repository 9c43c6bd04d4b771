"""Where a program listens."""

from __future__ import annotations

import ipaddress
import os
import socket
from dataclasses import dataclass
from typing import Self

from outbox.errors import BadSetting

_MAX_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int
    """0 takes any that is free."""
    chosen: bool = True
    """Somebody asked for it; otherwise another port will do if it is taken."""

    @classmethod
    def parse(cls, text: str, *, chosen: bool = True) -> Self:
        """Read ``<host>:<port>``. Raises ValueError."""
        host, _, port = text.rpartition(":")
        if not (host and port.isascii() and port.isdigit() and int(port) <= _MAX_PORT):
            raise ValueError(text)
        return cls(host.strip("[]"), int(port), chosen)

    @property
    def is_loopback(self) -> bool:
        """Nobody on another machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        """As it is written in the environment."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def nobody_can_listen(name: str, wanted: Address, exc: OSError, *, else_: str = "") -> BadSetting:
    """The sentence for an address that the variable *name* names."""
    if isinstance(exc, socket.gaierror):
        cause = (exc.strerror or str(exc)).lower()
    else:
        # asyncio wraps the cause in words of its own.
        known = os.strerror(exc.errno) if exc.errno and exc.errno > 0 else exc.strerror
        cause = (known or str(exc)).lower()
    return BadSetting(
        f"{name} is {wanted}, and nobody can listen there: {cause}; choose another{else_}"
    )
