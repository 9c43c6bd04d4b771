"""What is in `deploy/` is what the tools that read it take, as far as this machine has them."""

from collections.abc import Callable
from typing import Any

import pytest

from deploy.checks import names
from deploy.checks.__main__ import CHECKS
from deploy.checks.manifests import complaints_about, rendered
from deploy.checks.tools import AbsentError


def unless_absent(check: Callable[[], list[str]]) -> list[str]:
    try:
        return check()
    except AbsentError as exc:
        pytest.skip(f"NOT TESTED: {exc}; make deploy-check installs it")


# The rules of Prometheus have tests of their own.
@pytest.mark.parametrize("name", [name for name in CHECKS if name != "Prometheus"])
def test_nothing_is_wrong_with(name: str) -> None:
    assert unless_absent(CHECKS[name]) == []


def scaled(**wrong: object) -> dict[str, Any]:
    [one] = (
        one
        for one in rendered("production")
        if one["kind"] == "ScaledObject" and one["metadata"]["name"] == "analytics"
    )
    return {**one, "spec": one["spec"] | wrong}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"maxReplicas": 5}, "$.spec: Additional properties"),
        ({"minReplicaCount": 0}, "$.spec.minReplicaCount: 0 is less"),
        ({"triggers": [{"type": "redis-streams"}]}, "$.spec.triggers[0]: "),
    ],
)
def test_a_wrong_field_of_a_kind_that_only_we_describe_is_found(
    change: dict[str, object], complaint: str
) -> None:
    def check() -> list[str]:
        return complaints_about(scaled(**change))

    assert any(found.startswith(complaint) for found in unless_absent(check))


def test_a_wrong_field_of_a_known_kind_and_an_unknown_kind_are_found() -> None:
    def check() -> list[str]:
        [wrong] = (one for one in rendered("staging") if one["kind"] == "Job")
        wrong = {**wrong, "spec": wrong["spec"] | {"backOffLimit": 1}}
        return complaints_about(wrong) + complaints_about({"apiVersion": "x/v1", "kind": "Y"})

    first, second = unless_absent(check)
    assert "backOffLimit" in first
    assert second == "nobody knows this kind; describe it in kinds.json"


def test_a_variable_that_is_no_setting_and_a_file_that_nobody_mounts_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong: dict[str, Any] = {
        "services": {
            "publisher": {
                "image": "catalog-outbound",
                "environment": {"DATABSE_URL_FILE": "/run/secrets/publisher_url"},
                "secrets": ["other"],
            }
        },
        "secrets": {"other": {"file": "./secrets/nobody/makes-it"}},
    }
    monkeypatch.setattr(names, "_compose", lambda: wrong)
    monkeypatch.setattr(names, "OVERLAYS", [])
    assert unless_absent(names.variables) == ["compose, publisher: DATABSE_URL_FILE is no setting"]
    first, second = unless_absent(names.files)
    assert first == "compose: secrets.sh makes no ./secrets/nobody/makes-it, which is other"
    assert second.endswith("names /run/secrets/publisher_url, which is not mounted")
