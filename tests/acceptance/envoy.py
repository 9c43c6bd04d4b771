"""Envoy with the bootstrap of `deploy/`, before a snapshot server; certificates for its callers."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from deployed import DEPLOY, Deployed, run
from redis_servers import free_port

from deploy.checks.tools import AbsentError, program
from snapshot_server.client.channels import Tls

_GRPC, _OUTSIDE, _ADMIN, _FIGURES = 50061, 50443, 9901, 9902
_CERTIFICATE = """
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x \
  -keyout tls.key -out asked
printf 'subjectAltName=%s\\n' "$NAMES" >names
openssl x509 -req -in asked -CA "$CA/ca.crt" -CAkey "$CA/ca.key" -CAcreateserial -days 1 \
  -extfile names -out tls.crt
"""


@dataclass(frozen=True)
class Envoy:
    """Where it is, and what it said."""

    world: Deployed
    home: Path
    ports: dict[int, int]

    @property
    def address(self) -> str:
        return f"localhost:{self.ports[_OUTSIDE]}"

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Of its access log."""
        text = (self.home / "log").read_text("utf-8")
        found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return [line for line in found if line["event"] == event]

    def asked_to(self, path: str) -> None:
        """At the admin port."""
        urlopen(Request(f"http://127.0.0.1:{self.ports[_ADMIN]}{path}", method="POST")).close()

    def figures(self) -> str:
        with urlopen(f"http://127.0.0.1:{self.ports[_FIGURES]}/stats/prometheus") as answer:
            return str(answer.read().decode())

    def caller(self, names: str | None, *, ca: Path | None = None) -> Tls:
        """With a certificate in these names, of our authority or another; None: without one."""
        trusted = str(self.world.secrets / "search/ca.crt")
        if names is None:
            return Tls(trusted)
        made = certificate(self.home / names.replace(":", "-"), names, ca or self.authority)
        return Tls(trusted, str(made / "tls.crt"), str(made / "tls.key"))

    @property
    def authority(self) -> Path:
        return self.world.secrets / "tls"

    def renew(self) -> None:
        """Show a new certificate: one link is moved, and no file, as Kubernetes does it."""
        new = certificate(self.home / "tls/..new", "DNS:localhost", self.authority)
        shutil.copy(self.authority / "ca.crt", new)
        link = self.home / "tls/..link"
        link.symlink_to(new.name)
        link.replace(self.home / "tls/..data")


def certificate(folder: Path, names: str, authority: Path) -> Path:
    folder.mkdir(exist_ok=True)
    script = f"cd '{folder}'\n{_CERTIFICATE}"
    run(["sh", "-ec", script], {"NAMES": names, "CA": str(authority)})
    return folder


@contextmanager
def envoy_before(world: Deployed, folder: Path, grpc: int) -> Iterator[Envoy]:
    """Meanwhile it stands before the server at the port *grpc*. Skips where there is none."""
    try:
        binary = program("envoy")
    except AbsentError as exc:
        pytest.skip(f"NOT TESTED: {exc}; make deploy-check installs it")
    home = folder / "envoy"
    shutil.copytree(DEPLOY / "envoy", home)
    shutil.copytree(world.secrets / "envoy", home / "tls/..old")
    (home / "tls/..data").symlink_to("..old")
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (home / "tls" / name).symlink_to(f"..data/{name}")
    ports = {_GRPC: grpc} | {port: free_port() for port in (_OUTSIDE, _ADMIN, _FIGURES)}
    for file in (home / "envoy.yaml", *(home / "sds").iterdir()):
        text = file.read_text("utf-8").replace("/etc/envoy", str(home))
        for port, here in ports.items():
            text = text.replace(f"port_value: {port}", f"port_value: {here}")
        file.write_text(text)
    command = [binary, "--config-path", str(home / "envoy.yaml"), "--disable-hot-restart"]
    # By itself it writes its lines every ten seconds.
    command += ["--log-level", "warning", "--file-flush-interval-msec", "20"]
    with (home / "log").open("wb") as log:
        child = subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"]},
            stdout=log,
            stderr=log,
        )
    try:
        yield Envoy(world, home, ports)
    finally:
        child.terminate()
        try:
            child.wait(20)
        finally:
            child.kill()
