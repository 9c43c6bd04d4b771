"""What is done to PostgreSQL clusters: dumped, copied, restored to a point in time, replicated."""

import os
import shutil
import subprocess
from pathlib import Path

import asyncpg
from servers import IN_A_HURRY

from embedded.identity import unprivileged
from embedded.postgres import Postgres, wheel_binaries


def dump(dsn: str) -> bytes:
    """The database as pg_dump writes it."""
    command = [str(wheel_binaries() / "pg_dump"), "--dbname", dsn, "--no-owner", "--no-acl"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def restore(dsn: str, dumped: bytes) -> None:
    """Into an empty database."""
    options = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null"]
    subprocess.run([wheel_binaries() / "psql", dsn, *options], input=dumped, check=True)


def copy(data: Path, to: Path) -> None:
    """All of a data folder, of a server that is stopped, in the place of whatever was there."""
    shutil.rmtree(to, ignore_errors=True)
    subprocess.run(["cp", "-a", data, to], check=True)


def base_backup(server: Postgres, folder: Path, *options: str) -> None:
    """A copy of the cluster while it runs."""
    host = str(server.socket_path.parent)
    command = [str(wheel_binaries() / "pg_basebackup"), "--host", host, "--username=postgres"]
    how = ["--pgdata", str(folder), "--checkpoint=fast", "--no-sync", *options]
    subprocess.run(command + how, check=True)
    _hand_over(folder)


def standby(server: Postgres, folder: Path) -> Postgres:
    """A hot standby of *server*, which streams from it; not started."""
    base_backup(server, folder, "--write-recovery-conf")
    return Postgres(folder, IN_A_HURRY)


def restored_to(restore_point: str, folder: Path, archive: Path) -> Postgres:
    """The cluster in *folder*, a base backup, which goes on to *restore_point*; not started."""
    (folder / "recovery.signal").touch()
    _hand_over(folder)
    settings = {
        "restore_command": f"cp '{archive}/%f' '%p'",
        "recovery_target_name": restore_point,
        "recovery_target_action": "promote",
        "archive_mode": "off",
    }
    return Postgres(folder, IN_A_HURRY | settings)


async def execute(dsn: str, statement: str) -> object:
    """Run one statement over a connection of its own; the first value of its answer."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def _hand_over(folder: Path) -> None:
    """To the user that servers run as."""
    who = unprivileged()
    for path in (folder, *folder.rglob("*")):
        os.chown(path, who.uid, who.gid, follow_symlinks=False)
    folder.chmod(0o700)
