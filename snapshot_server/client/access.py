"""How a program gets at the content service, as the environment says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from process import secrets
from snapshot_server.client.channels import Tls

if TYPE_CHECKING:
    from collections.abc import Mapping

_ADDRESS = "127.0.0.1:50061"
_HERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - where a server of ours listens


@dataclass(frozen=True, slots=True)
class Access:
    """Address, token and TLS, as `SnapshotClient` takes them."""

    address: str
    token: str | None = field(repr=False)
    tls: Tls | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """A server that listens everywhere also listens here. Raises BadSetting."""
        bound = environment.get("GRPC_BIND_ADDRESS", "") or _ADDRESS
        host, colon, port = bound.rpartition(":")
        address = environment.get("SNAPSHOT_ADDRESS", "") or f"{_HERE.get(host, host)}{colon}{port}"
        tokens = secrets.given(environment, "SERVICE_AUTH_TOKEN").split(",")
        names = ("SNAPSHOT_TLS_CA", "SNAPSHOT_TLS_CERT", "SNAPSHOT_TLS_KEY", "SNAPSHOT_TLS_NAME")
        files = [environment.get(name, "") or None for name in names]
        uses_tls = any(files) or environment.get("GRPC_TLS_CERT", "")
        return cls(address, tokens[0].strip() or None, Tls(*files) if uses_tls else None)
