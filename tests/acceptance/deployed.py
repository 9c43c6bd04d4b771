"""The servers as `deploy/` sets them up, and our programs on them with their own secrets alone."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis_servers import free_port
from redis_servers import running as redis_running
from servers import IN_A_HURRY, postgres_running

from embedded.postgres import Postgres, wheel_binaries

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CDN = "https://cdn.example.com"
# What a server that a test starts has by itself.
_OWN = {"bind", "dir", "aclfile", "protected-mode"}
_HBA = """
local all postgres trust
host all all 127.0.0.1/32 scram-sha-256
"""


@dataclass(frozen=True)
class Deployed:
    """Servers that run."""

    secrets: Path
    """What `deploy/secrets.sh` has made."""

    def secret(self, name: str) -> str:
        return (self.secrets / name).read_text("utf-8").strip()

    def redis_url(self, user: str) -> str:
        return self.secret(f"{user}/redis-url")

    def files(self, process: str) -> dict[str, str]:
        """The variables that name the files of a process's secrets, as containers have them."""
        known = {
            "database-url": "DATABASE_URL",
            "consumer-database-url": "CONSUMER_DATABASE_URL",
            "redis-url": "CACHE_REDIS_URL" if process == "viewer" else "REDIS_URL",
            "service-auth-token": "SERVICE_AUTH_TOKEN",
            "cache-purge-secret": "CACHE_PURGE_SECRET",
        }
        folder = self.secrets / process
        return {
            f"{known[one.name]}_FILE": str(one) for one in folder.iterdir() if one.name in known
        }

    @contextmanager
    def running(self, process: str, *words: str, **environment: str) -> Iterator[Path]:
        """``python -m <words>`` meanwhile, with no other secrets than its own; its log."""
        log = self.secrets.with_name(f"{process}.log")
        with log.open("ab") as out:
            child = subprocess.Popen(
                [sys.executable, "-m", *words],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], **self.files(process), **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        try:
            yield log
        finally:
            child.terminate()
            try:
                child.wait(20)
            finally:
                child.kill()

    async def said(self, process: str, *words: str) -> str:
        """What ``python -m <words>`` printed, with the secrets of a program."""
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", *words),
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **self.files(process)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await child.communicate()
        return out.decode()


@contextmanager
def deployed(folder: Path) -> Iterator[Deployed]:
    """PostgreSQL that wants passwords, with schema and users; Redis with our users and no other."""
    postgres_port, redis_port, secrets = free_port(), free_port(), folder / "secrets"
    made_for = {
        "POSTGRES_HOST": f"127.0.0.1:{postgres_port}",
        "REDIS_HOST": f"127.0.0.1:{redis_port}",
    }
    run(["sh", str(DEPLOY / "secrets.sh"), str(secrets)], made_for)
    settings = IN_A_HURRY | {"listen_addresses": "127.0.0.1", "port": str(postgres_port)}
    redis_settings = redis_conf() | {
        "aclfile": str(secrets / "redis/users.acl"),
        "appendonly": "no",
    }
    with ExitStack() as servers:
        servers.enter_context(
            redis_running(folder / "redis", redis_settings, port=redis_port),
        )
        postgres = servers.enter_context(postgres_running(folder / "postgres", settings))
        (postgres.home / "pg_hba.conf").write_text(_HBA)
        apply(postgres, secrets, "postgres", "postgres", command="SELECT pg_reload_conf()")
        apply(postgres, secrets, "postgres", "postgres", command="CREATE DATABASE catalog")
        for _ in range(2):
            apply(postgres, secrets, "postgres", "catalog")
        yield Deployed(secrets)


def apply(
    server: Postgres, secrets: Path, user: str, database: str, *, command: str | None = None
) -> None:
    """Run `deploy/postgres/apply.sh`, or one *command*, on the socket of *server*."""
    environment = {
        "PATH": f"{wheel_binaries()}:{os.environ['PATH']}",
        "PGHOST": str(server.socket_path.parent),
        "PGPORT": server.settings["port"],
        "PGUSER": user,
        "PGDATABASE": database,
        "SCHEMA": str(ROOT / "schema.sql"),
        "LOGINS": str(DEPLOY / "postgres/logins.sql"),
        "SECRETS": str(secrets),
        "CDN_BASE_URL": CDN,
    }
    script = ["sh", str(DEPLOY / "postgres/apply.sh")]
    run(script if command is None else ["psql", "--quiet", "--command", command], environment)


def redis_conf() -> dict[str, str]:
    """What `deploy/redis/redis.conf` says, but for what a test decides."""
    lines = (DEPLOY / "redis/redis.conf").read_text("utf-8").splitlines()
    said = (line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    return {name: value for name, value in said if name not in _OWN}


def run(command: list[str], environment: Mapping[str, str]) -> None:
    """Raises CalledProcessError; what it said is among what pytest shows."""
    subprocess.run(command, env={"PATH": os.environ["PATH"], **environment}, check=True, timeout=60)
