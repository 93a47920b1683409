"""Atomic writes, locks against other processes, reservation of disk space, and names in messages."""

import difflib
import errno
import os
import shutil
from contextlib import contextmanager

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# Errors of a full disk, a file-size limit, and a quota (not defined on every system).
FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
# Errors of file systems that cannot reserve space (EBADF comes from glibc's emulation), and of those that cannot lock.
UNABLE = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF}
UNLOCKED = {errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK}


def atomic_write(path, content):
    """Write text or bytes to a temporary file and rename it, so that no reader sees a partial file."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(content if isinstance(content, bytes) else content.encode())
    temporary.replace(path)


@contextmanager
def held(path):
    """Lock a file, created if missing, against other processes while the block runs; the file holds the owner's process id.

    Raises BlockingIOError, naming the owner, when the file is locked already. Does not lock where the system (Windows) or the
    file system (Lustre without flock) has no such locks.
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
    """Reserve disk space for a file, so that a full disk raises OSError (a code of `FULL`) now and not during a write.

    Creates the file and extends it to `n_bytes` if needed; its contents are kept. Where space cannot be reserved (macOS, some
    file systems), only the free space is checked. There, and on Btrfs and ZFS, which copy on write, a later write may still find
    the disk full.
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
    """Join the first `most` names for a message, and say how many more there are."""
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return ", ".join([*map(str, names[:most]), *more])


def check_name(what, name, names):
    """Raise ValueError, which suggests the nearest of `names`, if `name` is not one of them; `what` says what is named."""
    if name not in names:
        hint = "".join(f"; did you mean {close!r}?" for close in difflib.get_close_matches(str(name), names, n=1)) or "."
        raise ValueError(f"no {what} {name!r}{hint} There are {', '.join(names)}.")
