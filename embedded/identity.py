"""Whose rights a server runs with: ours, or those of `nobody` when we are root."""

import os
import pwd
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_IXOTH

from embedded.errors import FolderClosed


@dataclass(frozen=True)
class Identity:
    """The user and group of a server process."""

    uid: int
    gid: int

    def is_ours(self) -> bool:
        """Whether a child gets this identity without doing anything."""
        return self.uid == os.geteuid()

    def command(self, command: Sequence[str], paths: Iterable[Path]) -> list[str]:
        """*command* under this identity, with *paths* in reach of it."""
        if self.is_ours() or (closed := _closed_part(paths)) is None:
            return list(command)
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise FolderClosed(str(closed))
        # A checkout under /root or in a 0700 temp folder: the one capability that enters it.
        return [
            setpriv,
            f"--reuid={self.uid}",
            f"--regid={self.gid}",
            "--clear-groups",
            "--inh-caps=+dac_override",
            "--ambient-caps=+dac_override",
            # access(), with which initdb looks for postgres, ignores the capability otherwise.
            "--securebits=+no_setuid_fixup",
            "--",
            *command,
        ]


def own() -> Identity:
    """The identity of this process."""
    return Identity(os.geteuid(), os.getegid())


def unprivileged() -> Identity:
    """The identity of this process, or of `nobody` if this process is root."""
    if os.geteuid() != 0:
        return own()
    nobody = pwd.getpwnam("nobody")
    return Identity(nobody.pw_uid, nobody.pw_gid)


def _closed_part(paths: Iterable[Path]) -> Path | None:
    """The first folder or program on the way to *paths* that others may not enter or run."""
    for path in paths:
        for part in (*reversed(path.parents), path):
            if not part.stat().st_mode & S_IXOTH:
                return part
    return None
