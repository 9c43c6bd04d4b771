"""A cluster of three Valkey nodes: each slot on one of them, no replicas."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from publishing import eventually
from redis.asyncio import Redis
from redis.crc import key_slot
from redis_servers import IN_MEMORY, free_port, running

from embedded.valkey import Valkey

_SLOTS = 16384
_HOST = "127.0.0.1"
_MY_ID = ("CLUSTER", "MYID")
_MOVE_TIMEOUT_MS = 5000


@dataclass(frozen=True)
class Node:
    """One node."""

    server: Valkey
    bus_port: int

    @property
    def port(self) -> int:
        """Where clients reach it."""
        assert self.server.port is not None
        return self.server.port

    async def say(self, *command: str | int) -> Any:  # noqa: ANN401
        """The answer to one command, whatever other nodes think of it."""
        async with Redis.from_url(self.server.url, decode_responses=True) as client:
            raw: Any = client
            return await raw.execute_command(*command)


class Cluster:
    """The nodes, and who has what."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes

    @property
    def url(self) -> str:
        """For the publisher."""
        return f"redis+cluster://{','.join(f'{_HOST}:{node.port}' for node in self.nodes)}"

    def url_of(self, user: str) -> str:
        """The same for *user*, with the password."""
        return self.url.replace("://", f"://{user}@")

    async def form(self) -> None:
        """Have the nodes know each other and share the slots."""
        share = _SLOTS // len(self.nodes)
        for number, node in enumerate(self.nodes):
            end = _SLOTS if node is self.nodes[-1] else (number + 1) * share
            await node.say("CLUSTER", "ADDSLOTSRANGE", number * share, end - 1)
            first = self.nodes[0]
            await node.say("CLUSTER", "MEET", _HOST, first.port, first.bus_port)
        await eventually(self.is_well)

    async def is_well(self) -> bool:
        """Whether every node takes commands."""
        states = [str(await node.say("CLUSTER", "INFO")) for node in self.nodes]
        return all("cluster_state:ok" in state or "'ok'" in state for state in states)

    async def clear(self, *keys: str) -> None:
        """Remove everything, scripts too; give up moves of *keys* that were not finished."""
        for node in self.nodes:
            await node.say("FLUSHALL")
            await node.say("SCRIPT", "FLUSH")
            for key in keys:
                await node.say("CLUSTER", "SETSLOT", self.slot(key), "STABLE")

    @staticmethod
    def slot(key: str) -> int:
        """Where *key* belongs."""
        return key_slot(key.encode())

    async def owner(self, key: str) -> Node:
        """Who has the slot of *key*."""
        for node in self.nodes:
            for start, end, (_, port, *_), *_ in await node.say("CLUSTER", "SLOTS"):
                if start <= self.slot(key) <= end:
                    return next(one for one in self.nodes if one.port == port)
        raise LookupError(key)

    async def other(self, key: str) -> Node:
        """Somebody who does not have it."""
        owner = await self.owner(key)
        return next(node for node in self.nodes if node is not owner)

    async def begin_to_move(self, key: str, source: Node, target: Node) -> None:
        """From now on *source* sends to *target* what it no longer has of the slot of *key*."""
        slot = self.slot(key)
        await target.say("CLUSTER", "SETSLOT", slot, "IMPORTING", await source.say(*_MY_ID))
        await source.say("CLUSTER", "SETSLOT", slot, "MIGRATING", await target.say(*_MY_ID))

    async def move_keys(self, source: Node, target: Node, *keys: str) -> None:
        """Move *keys* themselves."""
        await source.say("MIGRATE", _HOST, target.port, "", 0, _MOVE_TIMEOUT_MS, "KEYS", *keys)

    async def end_move(self, key: str, source: Node, target: Node) -> None:
        """Give the slot of *key* to *target*."""
        for node in (target, source, *self.nodes):
            await self.give(key, node, target)

    async def give(self, key: str, told: Node, owner: Node) -> None:
        """Tell the node *told* who has the slot of *key*."""
        new_owner = await owner.say(*_MY_ID)
        await told.say("CLUSTER", "SETSLOT", self.slot(key), "NODE", new_owner)


@contextmanager
def cluster_of_three(folder: Path) -> Iterator[Cluster]:
    """A cluster that has formed."""
    with ExitStack() as servers:
        nodes = []
        for number in range(3):
            port, bus_port = free_port(), free_port()
            settings = IN_MEMORY | {
                "cluster-enabled": "yes",
                "cluster-port": str(bus_port),
                "cluster-node-timeout": "1000",
                # What is left of a cluster goes on.
                "cluster-require-full-coverage": "no",
            }
            server = servers.enter_context(running(folder / str(number), settings, port=port))
            nodes.append(Node(server, bus_port))
        cluster = Cluster(nodes)
        asyncio.run(cluster.form())
        yield cluster
