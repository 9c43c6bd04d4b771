"""What the environment says, read once."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from outbox.errors import BadSetting
from snapshot_server.content.limits import Limits
from snapshot_server.serving.authorization import Tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

_LEVELS = ("debug", "info", "warning", "error")
_MAX_PORT = 65_535
_MAX_CHUNK = 7 << 19
"""Clients of gRPC refuse messages above 4 MiB; the rest is headroom."""
_GRPC_ADDRESS = "0.0.0.0:50061"
_HTTP_ADDRESS = "0.0.0.0:9465"


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
        read = _Reader(environment)
        address = read.address("GRPC_BIND_ADDRESS", _GRPC_ADDRESS)
        open_to_all = read.choice("ALLOW_UNAUTHENTICATED", "0", "0", "1") == "1"
        settings = cls(
            database_url=read.url("DATABASE_URL", "postgresql", "postgres"),
            address=address,
            tokens=read.tokens("SERVICE_AUTH_TOKEN", open_to_all=open_to_all, at=address),
            tls=read.tls("GRPC_TLS_CERT", "GRPC_TLS_KEY", "GRPC_TLS_CLIENT_CA"),
            reflection=read.choice("GRPC_REFLECTION", "off", "on", "off") == "on",
            log_level=read.choice("LOG_LEVEL", "info", *_LEVELS),
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
        served = ("SERVICE_AUTH_TOKEN", "GRPC_TLS_CERT", "GRPC_TLS_KEY", "GRPC_TLS_CLIENT_CA")
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
        read = _Reader(environment)
        settings = cls(read.url("DATABASE_URL", "postgresql", "postgres"))
        read.refuse()
        return settings


class _Reader:
    """Reads variables, and gathers what is wrong with them; an empty one is not set."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._wrong: list[str] = []

    def refuse(self) -> None:
        """Raises BadSetting if anything was wrong."""
        if self._wrong:
            raise BadSetting("; ".join(self._wrong))

    def text(self, name: str) -> str:
        return self._environment.get(name, "")

    def url(self, name: str, *schemes: str) -> str:
        value = self.text(name)
        if _scheme(value) not in schemes:
            given = "is not set" if not value else "is not such a URL"
            self._wrong.append(f"{name} {given}; it must begin with {' or '.join(schemes)}://")
        return value

    def choice(self, name: str, default: str, *choices: str) -> str:
        value = self.text(name).lower() or default
        if value not in choices:
            self._wrong.append(f"{name} is {value!r}; it must be one of {', '.join(choices)}")
        return value

    def number(self, name: str, default: int, least: int, most: int) -> int:
        text = self.text(name) or str(default)
        value = int(text) if text.isascii() and text.isdigit() else -1
        if not least <= value <= most:
            self._wrong.append(f"{name} is {text!r}; it must be a number from {least} to {most}")
        return value

    def address(self, name: str, default: str, *, also: str = "") -> Address:
        text = self.text(name)
        try:
            return Address.parse(text or default, chosen=bool(text))
        except ValueError:
            self._wrong.append(f"{name} is {text!r}; it must be <host>:<port>{also}")
            return Address.parse(default, chosen=False)

    def address_or_off(self, name: str, default: str) -> Address | None:
        off = self.text(name).lower() == "off"
        return None if off else self.address(name, default, also=" or off")

    def tokens(self, name: str, *, open_to_all: bool, at: Address) -> Tokens | None:
        text = self.text(name)
        if text:
            try:
                return Tokens.parse(text)
            except ValueError as exc:
                self._wrong.append(f"{name} cannot be used: {exc}")
        elif not open_to_all:
            self._wrong.append(f"{name} is not set; clients must have a token to show")
        elif not at.is_loopback:
            self._wrong.append(
                f"{name} is not set, and ALLOW_UNAUTHENTICATED=1 is for a loopback address alone,"
                f" not for {at}"
            )
        return None

    def tls(self, certificate: str, key: str, client_ca: str) -> TlsFiles | None:
        files = TlsFiles(self.text(certificate), self.text(key), self.text(client_ca))
        if bool(files.certificate) != bool(files.key):
            missing = key if files.certificate else certificate
            self._wrong.append(f"{missing} is not set, and {certificate} goes with {key}")
        elif files.client_ca and not files.certificate:
            self._wrong.append(f"{certificate} and {key} are not set, and {client_ca} needs them")
        return files if files.certificate else None


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""
