"""Files: written whole or not at all, held against other processes, and given their room on the disk before they are filled."""

import errno
import os
import shutil
from contextlib import contextmanager

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# Errors of a full disk, a limit on file sizes, and a quota, which not every system knows.
FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
# Errors of file systems that cannot reserve room, the last one glibc's own in their place; and of those that cannot lock.
UNABLE = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF}
UNLOCKED = {errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK}


def atomic_write(path, content):
    """Write a file, text or bytes, beside its place and rename it, so that nobody finds half of it there."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content if isinstance(content, bytes) else content.encode())
    beside.replace(path)


@contextmanager
def held(path):
    """Hold a file, made when it is not there, against other processes while the block runs; the holder's number stands in it.

    A BlockingIOError says which process holds it already. Where the system (Windows) or the file system (Lustre without flock)
    has no such locks, nobody is refused.
    """
    with path.open("a+") as file:
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise BlockingIOError(f"process {file.read().strip() or 'unknown'}") from None
        except OSError as error:
            if error.errno not in UNLOCKED:
                raise
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


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


def some(names, most=5):
    """Join the first of some names, such as those of files, for a message, and say how many more there are."""
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return ", ".join([*map(str, names[:most]), *more])
