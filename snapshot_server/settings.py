"""What the environment says, read once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from process.secrets import file_variable
from process.settings import Reader
from snapshot_server.content.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from process.address import Address
    from process.tokens import Tokens

_MAX_CHUNK = 7 << 19
"""Clients of gRPC refuse messages above 4 MiB; the rest is headroom."""
_GRPC_ADDRESS = "0.0.0.0:50061"
_HTTP_ADDRESS = "0.0.0.0:9465"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of PEM files."""

    certificate: str
    key: str
    client_ca: str
    """Empty: clients need no certificate."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The server's settings. What may hold a password stays out of its repr."""

    database_url: str = field(repr=False)
    address: Address
    tokens: Tokens | None = field(repr=False)
    """None: everybody may call."""
    tls: TlsFiles | None
    """None: plain HTTP/2."""
    reflection: bool
    log_level: str
    processes: int
    limits: Limits
    drain_s: int
    ready_max_lag_s: int
    """Of the feed behind the newest tick."""
    http_address: Address | None
    """None: no HTTP."""
    projector: bool
    tombstone_days: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Raises BadSetting, whose sentence names every variable that is wrong."""
        read = Reader(environment)
        address = read.address("GRPC_BIND_ADDRESS", _GRPC_ADDRESS)
        settings = cls(
            database_url=read.database_url(),
            address=address,
            tokens=read.tokens("SERVICE_AUTH_TOKEN", at=address),
            tls=_tls(read, "GRPC_TLS_CERT", "GRPC_TLS_KEY", "GRPC_TLS_CLIENT_CA"),
            reflection=read.choice("GRPC_REFLECTION", "off", "on", "off") == "on",
            log_level=read.log_level(),
            processes=read.number("SNAPSHOT_SERVER_PROCESSES", 1, 1, 64),
            limits=Limits(
                max_full_syncs=read.number("SNAPSHOT_MAX_FULL_SYNCS", 16, 1, 10_000),
                max_chunk_bytes=read.number("SNAPSHOT_MAX_CHUNK_BYTES", 1 << 20, 1024, _MAX_CHUNK),
                stalled_reader_s=read.number("SNAPSHOT_STALLED_READER_S", 60, 1, 3600),
            ),
            drain_s=read.number("SNAPSHOT_DRAIN_S", 10, 0, 3600),
            ready_max_lag_s=read.number("SNAPSHOT_READY_MAX_LAG_S", 60, 1, 86_400),
            http_address=read.address_or_off("SNAPSHOT_HTTP_ADDRESS", _HTTP_ADDRESS),
            projector=read.choice("SNAPSHOT_PROJECTOR", "on", "on", "off") == "on",
            tombstone_days=read.number("SNAPSHOT_TOMBSTONE_DAYS", 30, 1, 3650),
        )
        read.refuse()
        return settings

    @classmethod
    def of_projector(cls, environment: Mapping[str, str]) -> Self:
        """Those of a process that serves nobody, so that no token is asked for."""
        alone = {"ALLOW_UNAUTHENTICATED": "1", "GRPC_BIND_ADDRESS": "127.0.0.1:0"}
        served = (
            *("SERVICE_AUTH_TOKEN", file_variable("SERVICE_AUTH_TOKEN")),
            *("GRPC_TLS_CERT", "GRPC_TLS_KEY", "GRPC_TLS_CLIENT_CA"),
        )
        rest = {name: environment[name] for name in environment if name not in served}
        return cls.from_environment(rest | alone)

    def of_process(self, number: int) -> Settings:
        """Those of one of several, numbered from 0: each has HTTP at a port of its own."""
        http = self.http_address
        if http and http.port:
            http = replace(http, port=http.port + number)
        return replace(self, processes=1, http_address=http)


@dataclass(frozen=True, slots=True)
class CommandSettings:
    """What commands need that only look at the feed."""

    database_url: str = field(repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Raises BadSetting."""
        read = Reader(environment)
        settings = cls(read.database_url())
        read.refuse()
        return settings


def _tls(read: Reader, certificate: str, key: str, client_ca: str) -> TlsFiles | None:
    files = TlsFiles(read.text(certificate), read.text(key), read.text(client_ca))
    if bool(files.certificate) != bool(files.key):
        missing = key if files.certificate else certificate
        read.wrong(f"{missing} is not set, and {certificate} goes with {key}")
    elif files.client_ca and not files.certificate:
        read.wrong(f"{certificate} and {key} are not set, and {client_ca} needs them")
    return files if files.certificate else None
