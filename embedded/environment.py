"""What the programs of `make run` are told: all of it is on this machine alone."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

HOST = "127.0.0.1"
SNAPSHOT_ADDRESS = "SNAPSHOT_ADDRESS"
SEARCH_INDEX = "SEARCH_INDEX"
_GRPC, _VIEWER = "GRPC_BIND_ADDRESS", "VIEWER_HTTP_ADDRESS"
_PORTS = {
    _GRPC: 50061,
    _VIEWER: 8080,
    "PUBLISHER_HTTP_ADDRESS": 9464,
    "SNAPSHOT_HTTP_ADDRESS": 9465,
    "CACHE_HTTP_ADDRESS": 9467,
}
_SHARED = "CONSUMER_HTTP_ADDRESS"
_HIGHEST_PORT = 65_535


class Told:
    """The environment of the programs; what is set already stays, but for where they listen."""

    def __init__(self, addresses: Mapping[str, str], folder: Path, cdn_base_url: str) -> None:
        listening = {name: _address(name, port) for name, port in _PORTS.items()}
        self.search_index = os.environ.get(SEARCH_INDEX) or str(folder / "search.db")
        self.snapshot_address = listening[_GRPC]
        self.viewer_address = listening[_VIEWER]
        names = ("SERVICE_AUTH_TOKEN", "SERVICE_AUTH_TOKEN_FILE")
        self.has_token = any(os.environ.get(name) for name in names)
        # What we set ourselves must not be in a file, too.
        files = [f"{name}_FILE" for name in addresses]
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in files},
            **listening,
            # Several programs read it; each takes any port, and logs which.
            _SHARED: f"{HOST}:0",
            **addresses,
            SNAPSHOT_ADDRESS: self.snapshot_address,
            SEARCH_INDEX: self.search_index,
            "CDN_BASE_URL": cdn_base_url,
            # Where a token is set it is asked for nevertheless.
            "ALLOW_UNAUTHENTICATED": "1",
        }

    @property
    def for_commands(self) -> Mapping[str, str]:
        """What the commands of other terminals need to find them."""
        return {SNAPSHOT_ADDRESS: self.snapshot_address, SEARCH_INDEX: self.search_index}


def _address(name: str, port: int) -> str:
    given = os.environ.get(name, "")
    if given.lower() == "off":
        return given
    asked = given.rpartition(":")[2]
    if asked.isascii() and asked.isdigit() and int(asked) <= _HIGHEST_PORT:
        port = int(asked)
    return f"{HOST}:{_free(port)}"


def _free(wanted: int) -> int:
    """*wanted*, or another port where somebody listens there."""
    with suppress(OSError):
        return _bound(wanted)
    return _bound(0)


def _bound(port: int) -> int:
    with socket.create_server((HOST, port)) as probe:
        number: int = probe.getsockname()[1]
    return number
