"""The users of Redis in `deploy/` have the commands that are documented, and keys of their own."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs/operations.md").read_text("utf-8")
LINES = (ROOT / "deploy/redis/users.acl").read_text("utf-8").splitlines()
USERS = {line.split()[1]: line.split(maxsplit=2)[2] for line in LINES}
# A client says its name when it connects; refused, that would fill the log of what was refused.
ALWAYS = {"+client|setinfo"}
BEYOND = {"publisher": {"+xgroup|destroy", "+del"}, "engagement": {"+hget", "+zincrby"}}


def documented(name: str) -> str:
    [rights] = re.findall(rf"^ACL SETUSER {name} on >… (.*)$", DOCUMENT, re.MULTILINE)
    return str(rights)


def commands(rights: str) -> set[str]:
    return set(re.findall(r"\+[a-z|]+", rights))


@pytest.mark.parametrize(
    ("user", "roles"),
    [
        ("publisher", ["catalog-publisher"]),
        ("viewer", ["catalog-viewer"]),
        ("invalidator", ["catalog-consumer", "catalog-viewer"]),
        ("search", ["catalog-consumer"]),
        ("analytics", ["catalog-consumer"]),
        ("engagement", ["catalog-consumer"]),
    ],
)
def test_a_user_has_the_commands_that_are_documented_and_no_other(
    user: str, roles: list[str]
) -> None:
    wanted = {command for role in roles for command in commands(documented(role))}
    assert commands(USERS[user]) == wanted | ALWAYS | BEYOND.get(user, set())


@pytest.mark.parametrize("user", ["search", "analytics", "engagement", "invalidator"])
def test_what_a_consumer_may_write_with_is_for_its_own_keys_alone(user: str) -> None:
    group = "cache-invalidator" if user == "invalidator" else user
    outside = re.sub(r"\(.*?\)", "", USERS[user])
    [inside] = re.findall(r"\(.*?\)", documented("catalog-consumer"))
    assert not commands(outside) & commands(inside)
    for selector in re.findall(r"\((.*?)\)", USERS[user]):
        keys = set(re.findall(r"~(\S+)", selector))
        own = {key for key in keys if key.endswith((f":{group}", f":{group}:failed"))}
        assert own == keys or not {key for key in keys if "events" in key}


def test_nobody_is_let_in_without_a_password_but_who_may_do_nothing() -> None:
    assert USERS["default"] == "off"
    assert USERS["probe"] == "on nopass +ping"
    rest = USERS.keys() - {"default", "probe"}
    assert all(USERS[user].startswith(f"on #@{user}@ ") for user in rest)
