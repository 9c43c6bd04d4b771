"""Names that must agree, which no tool knows: variables, secrets and metrics."""

from __future__ import annotations

import re
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.checks.files import secrets
from deploy.checks.manifests import OVERLAYS, rendered
from deploy.checks.tools import DEPLOY, ROOT, documents

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OURS = "catalog-outbound"


def variables() -> list[str]:
    """Each variable that a program of ours is given is one that it may be given."""
    rows = re.findall(r"^\| (`[A-Z].*?) \|", _operations(), re.MULTILINE)
    known = {name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)}
    return [
        f"{where}: {name} is no setting"
        for where, given in _programs()
        for name in given
        if name not in known
    ]


def files() -> list[str]:
    """Each file that a variable names is mounted, and `secrets.sh` makes it."""
    with tempfile.TemporaryDirectory() as folder:
        made = secrets(Path(folder))
        return [*_files_of_compose(made), *_files_of_pods(made)]


def queries() -> list[str]:
    """Whatever scales by a metric asks for one that there is."""
    asked = {
        metric
        for overlay in OVERLAYS
        for one in rendered(overlay)
        for trigger in one.get("spec", {}).get("triggers", [])
        for metric in re.findall(r"\bcatalog_\w+", trigger["metadata"]["query"])
    }
    return [
        f"{metric} is no metric"
        for metric in sorted(asked)
        if f"| `{metric}` |" not in _operations()
    ]


def listed() -> list[str]:
    """What is generated of a folder's files is generated of all of them."""
    found = []
    for pattern in ("prometheus/rules/*.yml", "grafana/dashboards/*.json", "envoy/**/*.yaml"):
        there = {path.relative_to(DEPLOY) for path in DEPLOY.glob(pattern)}
        home = DEPLOY / pattern.partition("/")[0]
        text = (home / "kustomization.yaml").read_text("utf-8")
        there.discard((home / "kustomization.yaml").relative_to(DEPLOY))
        [generators] = (one["configMapGenerator"] for one in documents(text))
        named = {(home / file).relative_to(DEPLOY) for one in generators for file in one["files"]}
        found += [f"{path} is generated or there, and not both" for path in sorted(there ^ named)]
    return found


def copied() -> list[str]:
    """The image has every package of ours, and no other folder."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packages = {name.partition(".")[0] for name in project["tool"]["setuptools"]["packages"]}
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    there = set(re.findall(r"^COPY (\w+) \1$", text, re.MULTILINE))
    kept = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    differing = {name for name in packages | there if f"!{name}" not in kept} | packages ^ there
    return [f"{name} is in the package or the image, and not both" for name in sorted(differing)]


def _programs() -> Iterator[tuple[str, Mapping[str, str]]]:
    """Where each program of ours is started, and the variables that it is given."""
    for name, service in _compose()["services"].items():
        if _OURS in service["image"]:
            yield f"compose, {name}", service["environment"]
    for overlay in OVERLAYS:
        objects = rendered(overlay)
        shared = {one["metadata"]["name"]: one["data"] for one in objects if "data" in one}
        for name, _, container in _containers(objects):
            given = {one["name"]: one.get("value", "") for one in container.get("env", [])}
            for source in container.get("envFrom", []):
                given |= shared[source["configMapRef"]["name"]]
            yield f"{overlay}, {name}", given


def _containers(objects: list[dict[str, Any]]) -> Iterator[tuple[str, Any, Any]]:
    """Of the programs of ours: name, pod and container."""
    for one in objects:
        pod = one.get("spec", {}).get("template", {}).get("spec", {})
        for container in pod.get("containers", []):
            if container["name"] == "program":
                yield one["metadata"]["name"], pod, container


def _files_of_compose(made: Path) -> Iterator[str]:
    compose = _compose()
    for name, secret in compose["secrets"].items():
        path = made / secret["file"].removeprefix("./secrets/")
        if not path.is_file():
            yield f"compose: secrets.sh makes no {secret['file']}, which is {name}"
    for name, service in compose["services"].items():
        listed = service.get("secrets", [])
        targets = {one if isinstance(one, str) else one["target"] for one in listed}
        for variable, value in service.get("environment", {}).items():
            path = str(value).removeprefix("/run/secrets/")
            if path != value and path and path not in targets:
                yield f"compose, {name}: {variable} names {value}, which is not mounted"


def _files_of_pods(made: Path) -> Iterator[str]:
    for overlay in OVERLAYS:
        for name, pod, container in _containers(rendered(overlay)):
            [volume] = (one["secret"] for one in pod["volumes"] if one["name"] == "secrets")
            [mount] = (one for one in container["volumeMounts"] if one["name"] == "secrets")
            there = {
                f"{mount['mountPath']}/{item['path']}": item["key"] for item in volume["items"]
            }
            named = {one["value"] for one in container["env"] if one["name"].endswith("_FILE")}
            for path in named ^ there.keys():
                yield f"{overlay}, {name}: {path} is mounted or named, and not both"
            for key in there.values():
                if not (made / volume["secretName"] / key).is_file():
                    yield f"{overlay}, {name}: secrets.sh makes no {volume['secretName']}/{key}"


def _compose() -> Any:  # noqa: ANN401 - as it is
    [compose] = documents((DEPLOY / "compose.yaml").read_text("utf-8"))
    return compose


def _operations() -> str:
    return (ROOT / "docs/operations.md").read_text("utf-8")
