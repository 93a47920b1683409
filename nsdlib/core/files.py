"""Files: written whole or not at all, held against other processes, and given their room on the disk before they are filled."""

import errno
import os
import shutil

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# Errors of a full disk, a limit on file sizes, and a quota, which not every system knows.
FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
UNABLE = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}  # errors of file systems that cannot reserve room


def atomic_write(path, content):
    """Write a file, text or bytes, beside its place and rename it, so that nobody finds half of it there."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content if isinstance(content, bytes) else content.encode())
    beside.replace(path)


def lock(file):
    """Hold an open file until it is closed; BlockingIOError when another process holds it.

    Where the system has no such locks (Windows), nobody is refused.
    """
    if fcntl:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def preallocate(path, n_bytes):
    """Reserve a file's room on the disk, so that it fails now rather than in the middle of a write; OSError of `FULL` if it does.

    The file keeps its contents; it is created, and extended to `n_bytes`, where need be. A system (macOS) or file system that
    cannot reserve is asked how much is free; there, and on one that copies what is overwritten (Btrfs, ZFS), the room may be
    gone again by then.
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
