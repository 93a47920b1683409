"""Files that are whole or not there, and that have their room before they are filled."""

import errno
import os
import shutil

# What a full disk, a quota and a limit on file sizes answer; not every system knows quotas.
FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
UNABLE = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}  # what file systems answer that reserve nothing


def atomic_write(path, content):
    """Write a file, text or bytes, beside its place and rename it, so that nobody finds half of it there."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content if isinstance(content, bytes) else content.encode())
    beside.replace(path)


def preallocate(path, n_bytes):
    """Give a file its room on the disk, or fail now rather than in the middle of a write.

    What the file holds stays; where it is shorter, it is made so long. A system (macOS) or file system that cannot reserve is
    asked how much is free; there, and where what is overwritten is copied (Btrfs, ZFS), the room may be gone again by then.

    Parameters
    ----------
    path : Path
        Made when it is not there.
    n_bytes : int

    Raises
    ------
    OSError
        With an errno in `FULL` when there is not so much room.
    """
    with path.open("ab") as file:
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fileno(), 0, n_bytes)
                return
            except OSError as error:
                if error.errno not in UNABLE:
                    raise
        if shutil.disk_usage(path).free < n_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        if file.tell() < n_bytes:
            file.truncate(n_bytes)
