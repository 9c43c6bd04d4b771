"""Where Redis is, as REDIS_URL says: one server, a Unix socket, a Sentinel service or a cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Self, TypeAlias
from urllib.parse import parse_qsl, unquote

from outbox.errors import BadSetting

if TYPE_CHECKING:
    from collections.abc import Callable


class Form(StrEnum):
    """How the server that takes the writes is found; the scheme without TLS."""

    SERVER = "redis"
    SOCKET = "unix"
    SENTINEL = "redis+sentinel"
    CLUSTER = "redis+cluster"


SCHEMES: Final = (
    *("redis", "rediss", "unix"),
    *("redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"),
)

Option: TypeAlias = str | float | bool
Options: TypeAlias = dict[str, Option]

_BEGINNING = f"it must begin with {', '.join(f'{scheme}://' for scheme in SCHEMES)}"
_OF_SENTINEL = "sentinel_"
_PORTS = {Form.SERVER: 6379, Form.SENTINEL: 26379, Form.CLUSTER: 6379}
# Greedy before the last @, as a password may hold one.
_PARTS = re.compile(r"([a-z+]+)://(?:([^/?#]*)@)?([^/?#]*)(/[^?#]*)?(?:\?([^#]*))?")
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:@\s]+))(?::([0-9]{1,5}))?", re.ASCII)


class _Wrong(Exception):
    """What is wrong; told without a part of the URL, which may be part of a password."""


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """REDIS_URL taken apart. The options hold passwords and stay out of its repr."""

    form: Form
    tls: bool
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    """Of the Unix socket."""
    service: str = ""
    """What Sentinel calls the servers."""
    db: int = 0
    options: Options = field(default_factory=dict, repr=False)
    """For a connection to Redis, by the names that redis-py has for them."""
    sentinel_options: Options = field(default_factory=dict, repr=False)
    """For a connection to a Sentinel, beyond what is the same as to Redis."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises BadSetting, whose sentence tells no secret."""
        if not text:
            raise BadSetting(f"REDIS_URL is not set; {_BEGINNING}")
        try:
            return cls._parse(text)
        except _Wrong as exc:
            raise BadSetting(f"REDIS_URL is not such a URL; {exc}") from None

    @classmethod
    def _parse(cls, text: str) -> Self:
        found = _PARTS.fullmatch(text)
        if not found or found[1] not in SCHEMES:
            raise _Wrong(_BEGINNING)
        scheme, user, hosts, path, query = found.groups(default="")
        tls = scheme.startswith("rediss")
        form = Form(scheme.replace("rediss", "redis"))
        # First: the rest of a password that was not encoded must not be taken for an option.
        addresses = () if form is Form.SOCKET else _hosts(hosts, form)
        options = _options(query, form, tls=tls) | _credentials(user)
        sentinel_options = {
            name.removeprefix(_OF_SENTINEL): options.pop(name)
            for name in list(options)
            if name.startswith(_OF_SENTINEL)
        }
        db = str(options.pop("db", "0"))
        if form is Form.SOCKET:
            if hosts or not path:
                raise _Wrong("it has three slashes: unix:///run/redis.sock")
            return cls(form, tls, path=unquote(path), db=_db(db), options=options)
        parts = [unquote(part) for part in path.split("/") if part]
        service = parts.pop(0) if parts and form is Form.SENTINEL else ""
        if form is Form.SENTINEL and not service:
            raise _Wrong("it ends with the service: redis+sentinel://host:26379/service")
        if len(parts) > 1:
            raise _Wrong("there is too much after the hosts")
        number = _db(parts[0] if parts else db)
        if form is Form.CLUSTER and number:
            raise _Wrong("a cluster has database 0 only")
        return cls(
            form,
            tls,
            hosts=addresses,
            service=service,
            db=number,
            options=options,
            sentinel_options=sentinel_options,
        )


def problems(text: str) -> list[str]:
    """What is wrong with REDIS_URL, in a sentence, or nothing."""
    try:
        RedisUrl.parse(text)
    except BadSetting as exc:
        return [str(exc)]
    return []


def _credentials(user: str) -> Options:
    name, _, password = user.partition(":")
    given: Options = {"username": unquote(name), "password": unquote(password)}
    return {key: value for key, value in given.items() if value}


def _db(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text, re.ASCII):
        raise _Wrong("the database is a number, the last part of the path")
    return int(text)


def _hosts(text: str, form: Form) -> tuple[tuple[str, int], ...]:
    if not text and form is Form.SERVER:
        return (("localhost", _PORTS[form]),)
    hosts = []
    for part in text.split(","):
        found = _HOST.fullmatch(part)
        port = int(found[3] or _PORTS[form]) if found else 0
        if not found or not 0 < port < 2**16:
            raise _Wrong(
                "it names no host and port (is every special character of the password"
                " percent-encoded?)"
            )
        hosts.append((found[1] or unquote(found[2]), port))
    if form is Form.SERVER and len(hosts) > 1:
        raise _Wrong("several hosts are for redis+sentinel:// and redis+cluster://")
    return tuple(hosts)


def _options(query: str, form: Form, *, tls: bool) -> Options:
    options: Options = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        known = _OPTIONS.get(name)
        if known is None or (name.startswith(_OF_SENTINEL) and form is not Form.SENTINEL):
            raise _Wrong(f"the options after ? are {', '.join(_OPTIONS)}")
        if name.startswith("ssl_") and not tls:
            raise _Wrong(f"{name} needs TLS: rediss://")
        options[name] = known(name, value)
    return options


def _text(name: str, value: str) -> str:
    if not value:
        raise _Wrong(f"{name} is empty")
    return value


def _seconds(name: str, value: str) -> float:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", value, re.ASCII) or not float(value):
        raise _Wrong(f"{name} must be a number of seconds")
    return float(value)


def _flag(name: str, value: str) -> bool:
    if value.lower() not in ("true", "yes", "1", "false", "no", "0"):
        raise _Wrong(f"{name} must be true or false")
    return value.lower() in ("true", "yes", "1")


def _requirement(name: str, value: str) -> str:
    if value not in ("required", "optional", "none"):
        raise _Wrong(f"{name} must be required, optional or none")
    return value


# Not among them: whatever would make the client send a command twice.
_OPTIONS: dict[str, Callable[[str, str], Option]] = {
    "db": _text,
    "username": _text,
    "password": _text,
    "sentinel_username": _text,
    "sentinel_password": _text,
    "client_name": _text,
    "socket_timeout": _seconds,
    "socket_connect_timeout": _seconds,
    "ssl_ca_certs": _text,
    "ssl_certfile": _text,
    "ssl_keyfile": _text,
    "ssl_ciphers": _text,
    "ssl_cert_reqs": _requirement,
    "ssl_check_hostname": _flag,
}
