"""A secret may be in a file, as containers have it; what is wrong with it is told."""

import re
from pathlib import Path

import pytest

from consumer.reference.search.settings import SearchSettings
from outbox.errors import BadSetting
from process.secrets import SECRETS, file_variable
from publisher.settings import Settings
from snapshot_server.settings import Settings as SnapshotSettings
from viewer.settings import InvalidatorSettings

ROOT = Path(__file__).resolve().parents[2]
DATABASE_URL = "postgresql://publisher:hunter2@db/catalog"
GOOD = {"DATABASE_URL": DATABASE_URL, "REDIS_URL": "redis://"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "database").write_text(f"{DATABASE_URL}\n")
    (tmp_path / "redis").write_text("redis://:swordfish@cache\r\n")
    (tmp_path / "cache").write_text("redis://pages")
    (tmp_path / "webhook").write_text("https://purge.example.com/key")
    (tmp_path / "secret").write_text("  kept as it is ")
    (tmp_path / "token").write_text("one,two\n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    return tmp_path


def test_urls_are_read_from_files_without_the_end_of_the_line(folder: Path) -> None:
    settings = Settings.from_environment(
        {"DATABASE_URL_FILE": f"{folder}/database", "REDIS_URL_FILE": f"{folder}/redis"}
    )
    assert settings.database_url == DATABASE_URL
    assert settings.redis_url == "redis://:swordfish@cache"


def test_tokens_and_the_secrets_of_the_webhook_are_read_from_files(folder: Path) -> None:
    token = {"SERVICE_AUTH_TOKEN_FILE": f"{folder}/token"}
    tokens = SnapshotSettings.from_environment(GOOD | token).tokens
    assert tokens
    assert tokens.admit(["Bearer two"])
    assert SearchSettings.from_environment(token).access.token == "one"  # noqa: S105
    files = {
        "CACHE_REDIS_URL_FILE": f"{folder}/cache",
        "CACHE_PURGE_WEBHOOK_FILE": f"{folder}/webhook",
        "CACHE_PURGE_SECRET_FILE": f"{folder}/secret",
    }
    settings = InvalidatorSettings.from_environment(GOOD | files)
    assert settings.cache.redis_url == "redis://pages"
    assert settings.webhook
    assert settings.webhook.url == "https://purge.example.com/key"
    assert settings.webhook.secret == "  kept as it is "  # noqa: S105


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("missing", "which cannot be read: no such file or directory"),
        ("", "which cannot be read: is a directory"),
        ("empty", "which is empty"),
        ("binary", "which is no text in UTF-8"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_sentence(
    folder: Path, name: str, sentence: str
) -> None:
    path = str(folder / name)
    environment = {"DATABASE_URL_FILE": path, "REDIS_URL": "redis://", "LOG_LEVEL": "loud"}
    with pytest.raises(BadSetting) as refused:
        Settings.from_environment(environment)
    first, second = str(refused.value).split("; ", 1)
    assert first == f"DATABASE_URL_FILE is {path!r}, {sentence}"
    assert second.startswith("LOG_LEVEL is 'loud'")


def test_a_secret_that_is_set_twice_is_refused_and_not_told(folder: Path) -> None:
    with pytest.raises(BadSetting) as refused:
        Settings.from_environment(GOOD | {"DATABASE_URL_FILE": f"{folder}/database"})
    sentence = "DATABASE_URL and DATABASE_URL_FILE are both set; one of them is enough"
    assert str(refused.value) == sentence


def test_one_that_is_set_to_nothing_is_not_set(folder: Path) -> None:
    environment = {"REDIS_URL": "", "REDIS_URL_FILE": f"{folder}/redis", "DATABASE_URL_FILE": ""}
    with pytest.raises(BadSetting, match=r"^DATABASE_URL is not set; it must begin"):
        Settings.from_environment(environment)


def test_a_projector_needs_no_token_and_reads_no_file_of_one() -> None:
    environment = GOOD | {"SERVICE_AUTH_TOKEN_FILE": "/nowhere"}
    assert SnapshotSettings.of_projector(environment).tokens is None


def test_every_variable_for_a_file_is_described() -> None:
    text = (ROOT / "docs/operations.md").read_text("utf-8")
    [row] = re.findall(r"^\| (`DATABASE_URL_FILE`.*?) \|", text, re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == [file_variable(name) for name in SECRETS]
