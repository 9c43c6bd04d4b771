"""What makes the secrets: keeps what is there, and lets nobody else on this machine look."""

import os
import shutil
import stat
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def run(script: str, *words: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(DEPLOY / script), *map(str, words)],
        env={"PATH": os.environ["PATH"], **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def everything(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_text("utf-8") for path in files}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="NOT TESTED: there is no openssl")
def test_secrets_are_made_once_and_only_what_is_gone_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    places = {"POSTGRES_HOST": "db", "POSTGRES_OPTIONS": "?sslmode=require", "REDIS_HOST": "cache"}
    assert run("secrets.sh", folder, **places, REDIS_SCHEME="rediss").returncode == 0
    made = everything(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IRWXU
    password = made["viewer/postgres-password"].strip()
    url = f"postgresql://viewer:{password}@db/catalog?sslmode=require\n"
    assert made["viewer/database-url"] == url
    password = made["search/redis-password"].strip()
    assert made["search/redis-url"] == f"rediss://search:{password}@cache\n"
    assert f"user search on #{sha256(password.encode()).hexdigest()} " in made["redis/users.acl"]
    assert "#@" not in made["redis/users.acl"]
    assert made["search/service-auth-token"] == made["snapshot-server/service-auth-token"]

    gone = ("viewer/service-auth-token", "publisher/postgres-password", "search/redis-password")
    for name in gone:
        (folder / name).unlink()
    assert run("secrets.sh", folder).returncode == 0
    again = everything(folder)
    made_of_them = ("publisher/database-url", "search/redis-url", "redis/users.acl")
    assert {name for name in made if again[name] != made[name]} == {*gone, *made_of_them}


def test_no_schema_is_applied_while_a_password_is_missing(tmp_path: Path) -> None:
    said = run("postgres/apply.sh", SECRETS=str(tmp_path), SCHEMA="", LOGINS="", PGHOST="nowhere")
    assert said.returncode == 2
    assert said.stderr == f"{tmp_path}/publisher/postgres-password is not there or empty\n"
