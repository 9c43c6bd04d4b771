"""The fixed sets of values that labels of metrics may have."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a stream cannot be appended to."""

    POSTGRES_AWAY = "postgres_away"
    REDIS_AWAY = "redis_away"
    OOM = "oom"
    READONLY = "readonly"
    MISCONF = "misconf"
    LOADING = "loading"
    BUSY = "busy"
    WRONGTYPE = "wrongtype"
    NOAUTH = "noauth"
    NOPERM = "noperm"
    NOREPLICAS = "noreplicas"
    MOVED = "moved"
    PAUSED = "paused"
    IDENTITY = "identity"
    FOREIGN = "foreign"
    OTHER = "other"

    @classmethod
    def of(cls, word: str) -> Reason:
        """The reason that *word* means: one of ours, or the first word of an answer of Redis."""
        word = word.lower()
        word = _SAME_AS.get(word, word)
        return cls(word) if word in _KNOWN else cls.OTHER


_KNOWN = frozenset(Reason)
_SAME_AS = {
    "masterdown": "readonly",
    "wrongpass": "noauth",
    "ask": "moved",
    "tryagain": "moved",
    "clusterdown": "moved",
    "crossslot": "moved",
}


class Outcome(StrEnum):
    """What a pass came to."""

    MOVED = "moved"
    IDLE = "idle"
    FAILED = "failed"


class Trim(StrEnum):
    """Why entries were trimmed off the stream."""

    AGE = "age"
    MEMORY = "memory"
    OVER_BUDGET = "over_budget"
    """A registered group had still to read them, but its budget was spent."""


class Log(StrEnum):
    """What is kept in partitions."""

    EVENT = "event"
    TICK = "tick"
