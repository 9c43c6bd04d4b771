"""Files that one tool each can read: compose, Dockerfile, scripts, Prometheus, Envoy."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from deploy.checks.tools import DEPLOY, AbsentError, complaints, program, ran

_ENVOY_HOME = "/etc/envoy"


def compose() -> list[str]:
    """compose.yaml, against the Compose Specification."""
    return complaints(
        "check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml"
    )


def dockerfile() -> list[str]:
    """The Dockerfile, by hadolint."""
    return complaints("hadolint", "--no-color", DEPLOY / "Dockerfile")


def scripts() -> list[str]:
    """Each shell script, by shellcheck."""
    return complaints("shellcheck", *sorted(DEPLOY.rglob("*.sh")))


def prometheus() -> list[str]:
    """Configuration and rules, by promtool; and the rules' own tests."""
    found = complaints("promtool", "check", "config", DEPLOY / "prometheus/prometheus.yml")
    tests = sorted((DEPLOY / "prometheus/tests").glob("*.yml"))
    return found + complaints("promtool", "test", "rules", *tests)


def envoy() -> list[str]:
    """The bootstrap, by Envoy itself, with certificates that are thrown away."""
    program("envoy")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "envoy"
        shutil.copytree(DEPLOY / "envoy", home)
        shutil.copytree(secrets(Path(folder)) / "envoy", home / "tls")
        for file in [home / "envoy.yaml", *(home / "sds").iterdir()]:
            # It opens what the bootstrap names.
            file.write_text(file.read_text("utf-8").replace(_ENVOY_HOME, str(home)), "utf-8")
        validate = ("--mode", "validate", "--log-level", "error")
        return complaints("envoy", *validate, "--config-path", home / "envoy.yaml")


def secrets(folder: Path) -> Path:
    """What `secrets.sh` makes. Raises AbsentError."""
    program("openssl")
    made = folder / "secrets"
    try:
        ran("sh", DEPLOY / "secrets.sh", made)
    except subprocess.CalledProcessError as exc:
        raise AbsentError(f"secrets.sh made no secrets: {exc.stderr}") from exc
    return made
