"""At start: what the Redis server can do, asked without changing anything."""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING, Any

from redis.asyncio.cluster import RedisCluster
from redis.exceptions import ResponseError

from process.redis.answers import answer_of, reason_of
from publisher.errors import ServerUnfit
from publisher.store.findings import ABSENT, Node, Purpose, Refusal, Severity, Trial, judge
from publisher.store.keys import epoch_key
from publisher.store.stream import translated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from publisher.store.findings import Finding

_SCRIPT = resources.files("publisher.store").joinpath("trial.lua").read_text("utf-8")
_NOBODY = "nobody"
_LOOKS: dict[str, tuple[str | int, ...]] = {
    "xinfo|groups": (),
    "xinfo|consumers": (_NOBODY,),
    "xrevrange": ("-", "-"),
    "xpending": (_NOBODY,),
    "xtrim": ("MAXLEN", -1),
    "memory|usage": (),
}
# There is no such group, or the arguments are wrong: the command was allowed.
_ALLOWED = {"ERR", "NOGROUP"}
_UNKNOWN = re.compile(r"unknown (redis )?(sub)?command", re.IGNORECASE)


async def check_server(redis: Redis, keys: Sequence[str]) -> list[Finding]:
    """What is to be said of the server, for streams at *keys*.

    Raises StreamUnavailable, or StreamRefused where it answers nothing at all.
    """
    commands: Any = redis  # see EventStream
    as_cluster = isinstance(redis, RedisCluster)
    refused: list[Refusal] = []
    with translated():
        nodes = [await _node(commands, "", {})] if not as_cluster else await _primaries(commands)
        for key in keys:
            refused += await _refused(commands, key)
        expiring = [key for key in keys if await _expires(commands, key)]
    return judge(nodes, Trial(keys, refused, expiring), as_cluster=as_cluster)


def insist(findings: Sequence[Finding]) -> None:
    """Raises ServerUnfit if one of *findings* says that it is."""
    unfit = [finding.sentence for finding in findings if finding.severity is Severity.UNFIT]
    if unfit:
        raise ServerUnfit("Redis is unfit: " + "; ".join(unfit))


async def _primaries(cluster: Any) -> list[Node]:  # noqa: ANN401
    await cluster.initialize()
    return [
        await _node(cluster, node.name, {"target_nodes": node}) for node in cluster.get_primaries()
    ]


async def _node(commands: Any, name: str, where: dict[str, Any]) -> Node:  # noqa: ANN401
    try:
        info = await commands.info(**where)
    except ResponseError:
        info = None
    try:
        save = (await commands.config_get("save", **where)).get("save")
    except ResponseError:
        # Managed servers keep CONFIG to themselves.
        save = None
    return Node(name, info, save)


async def _refused(commands: Any, key: str) -> list[Refusal]:  # noqa: ANN401
    refused = []

    def note(purpose: Purpose, command: str, exc: Exception) -> None:
        reason = ABSENT if _UNKNOWN.search(str(exc)) else reason_of(exc)
        if reason not in _ALLOWED:
            refused.append(Refusal(key, purpose, command, reason, answer_of(exc)))

    command = "script|load"
    try:
        sha = await commands.script_load(_SCRIPT)
        command = "evalsha"
        said = await commands.evalsha(sha, 2, key, epoch_key(key))
    except ResponseError as exc:
        note(Purpose.APPEND, command, exc)
    else:
        for inner, answer in zip(said[::2], said[1::2], strict=True):
            note(Purpose.APPEND, inner, ResponseError(answer))
    for command, arguments in _LOOKS.items():
        try:
            await commands.execute_command(command.replace("|", " ").upper(), key, *arguments)
        except ResponseError as exc:
            note(Purpose.LOOK, command, exc)
    return refused


async def _expires(commands: Any, key: str) -> bool:  # noqa: ANN401
    try:
        return int(await commands.pttl(key)) >= 0
    except ResponseError:
        return False
