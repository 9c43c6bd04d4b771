"""What `make run` prints, on terminals of any width."""

import io

import pytest
from rich.console import Console

from embedded.screen import Screen, without_password

ADDRESS = f"unix:///{'a' * 90}/valkey.sock"
COMMAND = f'make psql SQL="UPDATE {"b" * 90}"'


@pytest.mark.parametrize("is_terminal", [True, False])
@pytest.mark.parametrize("width", [40, 80, 200])
def test_an_address_and_a_command_can_be_copied_whatever_the_width(
    *, width: int, is_terminal: bool
) -> None:
    said = io.StringIO()
    console = Console(file=said, width=width, force_terminal=is_terminal, color_system=None)
    Screen(console).header([("Redis", "make redis-cli", ADDRESS)], [COMMAND])
    assert f"  Redis       make redis-cli  {ADDRESS}\n" in said.getvalue()
    assert f"  {COMMAND}\n" in said.getvalue()


def test_a_password_is_not_shown() -> None:
    assert without_password("redis://:secret@host:6379/0") == "redis://:***@host:6379/0"
