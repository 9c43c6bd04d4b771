"""What the environment says."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from examples.errors import SettingRefused


@dataclass(frozen=True)
class Settings:
    """Read once; *cdn_base_url* ends without a slash."""

    database_url: str
    cdn_base_url: str = "https://cdn.example.com"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings in *environment*; `SettingRefused` names the variable that is wrong."""
    database_url = environment.get("DATABASE_URL", "")
    if not database_url:
        raise SettingRefused("DATABASE_URL is not set: it names the database to write to.")
    cdn_base_url = (environment.get("CDN_BASE_URL") or Settings.cdn_base_url).rstrip("/")
    if not re.fullmatch(r"https://[^\s/]+(/[^\s]*)?", cdn_base_url):
        raise SettingRefused("CDN_BASE_URL is not an HTTPS URL such as https://cdn.example.com.")
    return Settings(database_url, cdn_base_url)
