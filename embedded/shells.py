"""psql and redis-cli on the servers in use; the real ones where there are any."""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn
from urllib.parse import parse_qs, unquote, urlsplit

from embedded.errors import BinaryMissing, NotAnAddress
from embedded.folder import REDIS_URL
from embedded.postgres import wheel_binaries


def psql(address: str, arguments: Sequence[str]) -> NoReturn:
    """Become psql: the one on the path, or the one in the wheel."""
    program = shutil.which("psql") or str(wheel_binaries() / "psql")
    _become([program, address, "--set=ON_ERROR_STOP=1", *arguments])


def redis_cli(address: str, arguments: Sequence[str]) -> int:
    """Become redis-cli or valkey-cli; without either, a small shell over redis-py."""
    program = shutil.which("redis-cli") or shutil.which("valkey-cli")
    if program is not None:
        _become([program, *_redis_cli_options(address), *arguments])
    return _small_redis_cli(address, arguments)


def _redis_cli_options(address: str) -> list[str]:
    """How to reach *address*; older versions take no unix:// address."""
    url = urlsplit(address)
    if url.scheme != "unix":
        return ["-u", address]
    options = ["-s", unquote(url.path)]
    if database := parse_qs(url.query).get("db"):
        options += ["-n", database[0]]
    return options


def _small_redis_cli(address: str, arguments: Sequence[str]) -> int:
    from redis import Redis  # noqa: PLC0415 - only where there is no program
    from redis.exceptions import RedisError  # noqa: PLC0415

    def answer(words: Sequence[str]) -> bool:
        try:
            sys.stdout.write(f"{_as_lines(client.execute_command(*words))}\n")
        except RedisError as error:
            sys.stderr.write(f"(error) {error}\n")
            return False
        return True

    try:
        unopened = Redis.from_url(address, decode_responses=True, protocol=2)
    except ValueError:
        raise NotAnAddress(REDIS_URL) from None
    with unopened as client:
        # What they make of a reply is for programs: PONG would be True.
        client.response_callbacks.clear()
        if arguments:
            return 0 if answer(arguments) else 1
        with suppress(ImportError):
            import readline  # noqa: F401, PLC0415 - gives input() its history
        with suppress(EOFError, KeyboardInterrupt):
            while True:
                try:
                    words = shlex.split(input("redis> " if sys.stdin.isatty() else ""))
                except ValueError as error:
                    sys.stderr.write(f"(error) {error}\n")
                    continue
                if words and words[0].lower() in {"quit", "exit"}:
                    break
                if words:
                    answer(words)
    return 0


def _as_lines(reply: object, indent: str = "") -> str:
    """*reply* much as redis-cli prints it."""
    if isinstance(reply, dict):
        reply = [part for pair in reply.items() for part in pair]
    if isinstance(reply, list | tuple | set):
        lines = [
            f"{indent if row else ''}{row + 1}) {_as_lines(part, indent + '   ')}"
            for row, part in enumerate(reply)
        ]
        return "\n".join(lines) or "(empty)"
    return "(nil)" if reply is None else str(reply)


def _become(command: list[str]) -> NoReturn:
    try:
        os.execv(command[0], command)  # noqa: S606 - the user asked for this program
    except FileNotFoundError:
        raise BinaryMissing(command[0]) from None
