"""How the commands find the content service in the environment."""

import pytest

from outbox.errors import BadSetting
from snapshot_server.client.access import Access
from snapshot_server.client.channels import Target, Tls


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({}, "127.0.0.1:50061"),
        ({"GRPC_BIND_ADDRESS": "0.0.0.0:7"}, "127.0.0.1:7"),
        ({"GRPC_BIND_ADDRESS": "[::]:7"}, "[::1]:7"),
        ({"GRPC_BIND_ADDRESS": "10.0.0.1:7"}, "10.0.0.1:7"),
        ({"GRPC_BIND_ADDRESS": "0.0.0.0:7", "SNAPSHOT_ADDRESS": "feed:1,feed:2"}, "feed:1,feed:2"),
    ],
)
def test_where_a_server_of_ours_listens_or_what_was_set(
    environment: dict[str, str], address: str
) -> None:
    assert Access.from_environment(environment).address == address


@pytest.mark.parametrize(
    ("tokens", "token"), [("", None), ("new", "new"), ("new, old", "new"), (" ", None)]
)
def test_the_first_token_is_shown_and_not_in_any_repr(tokens: str, token: str | None) -> None:
    access = Access.from_environment({"SERVICE_AUTH_TOKEN": tokens})
    assert access.token == token
    assert "new" not in repr(access)


def test_tls_where_the_server_has_it_or_where_it_was_asked_for() -> None:
    assert Access.from_environment({}).tls is None
    assert Access.from_environment({"GRPC_TLS_CERT": "server.pem"}).tls == Tls()
    names = ("CA", "CERT", "KEY", "NAME")
    environment = {f"SNAPSHOT_TLS_{name}": name.lower() for name in names}
    assert Access.from_environment(environment).tls == Tls("ca", "cert", "key", "name")


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("feed:1", Target("feed", 1)),
        (" [::1]:50061 ", Target("::1", 50061)),
    ],
)
def test_an_address_is_read(text: str, target: Target) -> None:
    assert Target.parse(text) == target


@pytest.mark.parametrize("text", ["", "feed", ":1", "feed:", "feed:0", "feed:65536", "feed:one"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadSetting, match="is not an address"):
        Target.parse(text)
