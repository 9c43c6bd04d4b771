"""The overlays: rendered by kubectl, each object against the schema of its kind."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from deploy.checks.tools import DEPLOY, documents, library, ran

OVERLAYS: Final = sorted(path.name for path in (DEPLOY / "kustomize/overlays").iterdir())
_KINDS = json.loads(Path(__file__).with_name("kinds.json").read_text("utf-8"))
_VERSION = "1.37"
"""Of Kubernetes: the newest of which there are schemas."""


@cache
def rendered(overlay: str) -> list[dict[str, Any]]:
    """Each object of the overlay. Raises AbsentError."""
    return documents(ran("kubectl", "kustomize", DEPLOY / "kustomize/overlays" / overlay))


def manifests() -> list[str]:
    """Every object of every overlay."""
    library("kubernetes_validate")
    return [
        f"{overlay}: {one['kind']} {one['metadata'].get('name')}: {complaint}"
        for overlay in OVERLAYS
        for one in rendered(overlay)
        for complaint in complaints_about(one)
    ]


def complaints_about(one: dict[str, Any]) -> list[str]:
    """What is wrong with one object; a kind that nobody knows is, too."""
    kind = f"{one['apiVersion']} {one['kind']}"
    if kind in _KINDS["$defs"]:
        schema = {"$ref": f"#/$defs/{kind.replace('/', '~1').replace(' ', '%20')}", **_KINDS}
        validator = library("jsonschema").Draft202012Validator(schema)
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(one)]
    kubernetes = library("kubernetes_validate")
    try:
        kubernetes.validate(one, _VERSION, strict=True)
    except kubernetes.ValidationError as exc:
        return [exc.message]
    except kubernetes.SchemaNotFoundError:
        return ["nobody knows this kind; describe it in kinds.json"]
    return []
