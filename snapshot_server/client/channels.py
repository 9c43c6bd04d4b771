"""Connections of a client to the content service."""

from __future__ import annotations

import ssl
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Self

from grpclib.client import Channel
from grpclib.config import Configuration

from outbox.errors import BadSetting

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS to the service; paths of PEM files."""

    ca: str | None = None
    """Who signed the server's certificate; None: whom the system trusts."""
    certificate: str | None = None
    """The client's own, where the service asks for one; with the chain, if there is any."""
    key: str | None = None
    server_name: str | None = None
    """The name in the server's certificate, where it is not the one in the address."""

    def context(self) -> ssl.SSLContext:
        """Raises OSError for files that cannot be read."""
        context = ssl.create_default_context(cafile=self.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2"])
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key)
        return context


@dataclass(frozen=True, slots=True)
class Target:
    """Where a service listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``<host>:<port>``. Raises BadSetting."""
        host, _, port = text.strip().rpartition(":")
        if not (host and port.isascii() and port.isdigit() and 0 < int(port) <= _MAX_PORT):
            raise BadSetting(f"{text!r} is not an address such as 127.0.0.1:50061")
        return cls(host.strip("[]"), int(port))


class Channels:
    """One connection at a time, shared by all calls; one that failed is left for a new one."""

    def __init__(self, addresses: str, tls: Tls | None) -> None:
        self._targets = cycle([Target.parse(text) for text in addresses.split(",")])
        self._context = tls.context() if tls else None
        self._config = Configuration(ssl_target_name_override=tls.server_name if tls else None)
        self._current: Channel | None = None
        self._users: Counter[Channel] = Counter()

    @contextmanager
    def borrowed(self) -> Iterator[Channel]:
        """The connection for one call; it is opened when the call begins."""
        channel = self._current = self._current or self._opened()
        self._users[channel] += 1
        try:
            yield channel
        finally:
            self._users[channel] -= 1
            self._close_if_left(channel)

    def leave(self, channel: Channel) -> None:
        """Begin later calls elsewhere; those that run on *channel* may end."""
        if channel is self._current:
            self._current = None
            self._close_if_left(channel)

    def close(self) -> None:
        """Break off whatever runs."""
        self._current = None
        for channel in self._users:
            channel.close()
        self._users.clear()

    def _opened(self) -> Channel:
        target = next(self._targets)
        return Channel(target.host, target.port, ssl=self._context, config=self._config)

    def _close_if_left(self, channel: Channel) -> None:
        if channel is not self._current and self._users[channel] <= 0:
            channel.close()
            del self._users[channel]
