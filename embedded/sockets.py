"""Where a server puts its Unix socket: beside its data, or where the path is short enough."""

import hashlib
import os
from pathlib import Path
from stat import S_ISDIR

# The address structure holds 108 bytes on Linux and 104 on macOS, the closing zero included.
_LONGEST_PATH_BYTES = 103


def socket_folder(data_dir: Path, socket_name: str) -> Path:
    """*data_dir*, or a folder named after it in /tmp if the socket's path would not fit."""
    fits = len(os.fsencode(data_dir / socket_name)) <= _LONGEST_PATH_BYTES
    # PostgreSQL and its clients read a comma as the end of one of several hosts.
    if fits and "," not in str(data_dir):
        return data_dir
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    # Not the temp folder of the environment: two processes must come to the same answer.
    return Path(f"/tmp/catalog-{os.getuid()}-{name}")  # noqa: S108 - private, see make_private


def make_private(folder: Path, uid: int, gid: int) -> bool:
    """Make *folder* if need be, closed to all but *uid*; False if it is somebody else's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), uid):
        return False
    if (found.st_uid, found.st_gid) != (uid, gid) and os.geteuid() == 0:
        os.chown(folder, uid, gid)
    folder.chmod(0o700)
    return True
