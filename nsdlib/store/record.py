"""Downloaded files: their expected size and hashes, and the record of their hashes at the first download.

A file is downloaded as `<name>.part` and renamed only when its size and hashes are right. `fetched.json` in the target folder
keeps the sha256 of each file at its first download; later downloads must match it.
"""

import hashlib
import json
import re
import threading
from dataclasses import dataclass
from pathlib import Path

from nsdlib.core.files import atomic_write


class FetchError(Exception):
    """A file cannot be downloaded; the message names it and says what to do."""


class Unanswered(FetchError):
    """The file's server does not answer."""


@dataclass(frozen=True)
class File:
    """One file to download: its destination, source, purpose, and expected size and hash."""

    path: Path
    address: str
    what: str
    stage: str  # its group of files
    about: int = 0  # approximate bytes; 0 if unknown
    sha256: str = ""  # the first digits of its hash, or empty
    md5_etag: bool = False  # the server's 32-digit ETag is the MD5, as in S3 for a file uploaded in one piece

    @property
    def label(self):
        """Its name in messages: folder and file name."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def part(self):
        """The path of the incomplete download."""
        return self.path.with_name(f"{self.path.name}.part")


@dataclass(frozen=True)
class Remote:
    """What the server reports about a file; empty where unknown."""

    size: int | None
    etag: str = ""
    sha256: str = ""


class Record:
    """The file `fetched.json` of a folder: address, bytes, ETag and sha256 of each file; written after every change.

    Names in it are relative to the folder. Raises ValueError when the file is not such a record.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.path = self.folder / "fetched.json"
        self._guard = threading.Lock()
        try:
            self._entries = json.loads(self.path.read_text()) if self.path.exists() else {}
            if not all(isinstance(entry, dict) for entry in self._entries.values()):
                raise ValueError("an entry is no dictionary")
        except (ValueError, AttributeError) as error:
            raise ValueError(
                f"{self.path} cannot be used ({error}): restore it, or remove it, and all hashes are recorded again."
            ) from None

    def __getitem__(self, file):
        return self._entries.get(self._name(file), {})

    def note(self, file, **facts):
        """Add facts about a file."""
        with self._guard:
            self._entries[self._name(file)] = self[file] | {"address": file.address} | facts
            atomic_write(self.path, json.dumps(self._entries, indent=1, sort_keys=True) + "\n")

    def _name(self, file):
        return file.path.relative_to(self.folder).as_posix()


def digests(path):
    """Compute the sha256 and the md5 of a file in hexadecimal."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(2**22):
            sha256.update(block)
            md5.update(block)
    return sha256.hexdigest(), md5.hexdigest()


def find_fault(file, remote, recorded, *, hashes):
    """Compare the hashes of a file, from `digests`, with the expected ones.

    `recorded` is the file's sha256 at its first download, or empty. Returns a description of the mismatches, or an empty string.
    """
    sha256, md5 = hashes
    is_md5 = file.md5_etag and re.fullmatch("[0-9a-f]{32}", remote.etag)
    expected_hashes = [
        ("the server's md5", remote.etag if is_md5 else "", md5),
        ("the server's sha256", remote.sha256, sha256),
        ("the hash in its name", file.sha256, sha256),
        ("the sha256 of the first download in fetched.json", recorded, sha256),
    ]
    return "; ".join(
        f"{source} is {expected[:8]}, that of the received bytes {received[:8]}"
        for source, expected, received in expected_hashes
        if not received.startswith(expected)
    )


def size_of(path):
    """Return the size of a file in bytes, 0 if it does not exist."""
    return path.stat().st_size if path.exists() else 0


def discard(part, count):
    """Delete a `.part` and subtract its bytes from the count."""
    count(-size_of(part))
    part.unlink(missing_ok=True)


def put_in_place(file, *, is_ours):
    """Rename a complete `.part` to its final name; a file there that is not ours is kept as `.replaced`."""
    if file.path.exists() and not is_ours:
        backup = file.path.with_name(f"{file.path.name}.replaced")
        if backup.exists():
            raise FetchError(f"{file.label}: it must be replaced, but {backup} already exists; move both away.")
        file.path.rename(backup)
    file.part.replace(file.path)
