"""What the environment says of the index, and of where the catalog comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from snapshot_server.client.access import Access

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """Beside what every reference consumer has."""

    index: Path
    access: Access

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Raises BadSetting."""
        index = Path(environment.get("SEARCH_INDEX", "") or "search.db")
        return cls(index, Access.from_environment(environment))
