"""One file from the web, whole or not at all: interrupted downloads go on, every byte is checked, failures are sentences.

A file grows as `<name>.part` and gets its name only when its size and its hashes are right. `fetched.json` in the folder
that is filled keeps the sha256 that each file had when it was first fetched; whatever comes later must have the same.
"""

import hashlib
import json
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from nsdlib.core.files import atomic_write

BLOCK = 2**16  # bytes that are written at once
PROGRESS = 2**20  # bytes that an attempt must bring for the failures before it to be forgotten
MAX_REDIRECTS = 5
GO_ON = "the same command goes on from here"
OFFLINE = f"is this machine online? When it is, {GO_ON}"


class FetchError(Exception):
    """One file cannot be had: a sentence that names it and says what to do."""


class _Again(Exception):
    """An attempt that failed and may succeed when it is repeated; `advice` is for when it does not."""

    def __init__(self, what, advice=GO_ON):
        super().__init__(what)
        self.advice = advice


@dataclass(frozen=True)
class File:
    """One file to be had: where it goes, where it comes from, what it is for and what is known about it beforehand.

    `about` is its size in bytes as far as known, `sha256` the first digits of its hash or nothing; `md5_etag` says that the
    server's ETag of 32 hexadecimal digits is the MD5, as S3 makes it for a file that was uploaded in one piece.
    """

    path: Path
    address: str
    what: str
    stage: str
    about: int = 0
    sha256: str = ""
    md5_etag: bool = False

    @property
    def label(self):
        """What messages call it: its name and that of its folder."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def part(self):
        """The file while it grows."""
        return self.path.with_name(f"{self.path.name}.part")


@dataclass(frozen=True)
class Patience:
    """How long to bear with a server: seconds without a byte, attempts in a row, seconds of the first pause (then doubled)."""

    timeout: float = 30.0
    tries: int = 5
    backoff: float = 1.0
    n_threads: int = 4


@dataclass(frozen=True)
class Remote:
    """What the server says of a file; empty where it says nothing."""

    size: int | None
    etag: str = ""
    sha256: str = ""


class Record:
    """The file `fetched.json` of a folder: address, bytes, ETag and sha256 of each file; written after every change.

    Parameters
    ----------
    folder : path-like
        Names in the record are relative to it.

    Raises
    ------
    ValueError
        When the file is not such a record.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.path = self.folder / "fetched.json"
        self._guard = threading.Lock()
        try:
            self._entries = json.loads(self.path.read_text()) if self.path.exists() else {}
            if not all(isinstance(entry, dict) for entry in self._entries.values()):
                raise ValueError("its entries are not those of files")
        except (ValueError, AttributeError) as error:
            raise ValueError(
                f"{self.path} cannot be used ({error}): restore it, or remove it and all hashes are taken anew."
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


class Server:
    """Anonymous HTTP with bounded patience, to be used in a `with` block; `stop` is set when everything is to end.

    Parameters
    ----------
    patience : Patience
    """

    def __init__(self, patience):
        import requests

        self.patience, self.stop = patience, threading.Event()
        self._answered, self._silent = set(), set()
        self._session = requests.Session()
        self._session.headers["Accept-Encoding"] = "identity"  # sizes and hashes are those of the file itself
        self._session.mount("https://", requests.adapters.HTTPAdapter(pool_maxsize=patience.n_threads))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._session.close()

    def look(self, file):
        """What the server has under a file's address: a Remote; raises FetchError."""
        return self._patiently(file, lambda: self._head(file))

    def receive(self, file, remote, *, recorded, count):
        """Bring a file's `.part` to its end and check it; gives its sha256, raises FetchError.

        Parameters
        ----------
        file : File
        remote : Remote
        recorded : str
            The sha256 that the file had when it was first fetched, or nothing.
        count : callable
            Is told the number of bytes that came; a negative one when bytes are thrown away.
        """

        def attempt():
            self._stream(file, remote, count)
            return _checked(file, remote, recorded, count)

        return self._patiently(file, attempt, reached=lambda: size_of(file.part))

    def _patiently(self, file, attempt, reached=lambda: 0):
        """The result of `attempt()`, repeated with longer and longer pauses until too many in a row brought nothing new."""
        failures, furthest, host = 0, reached(), urlsplit(file.address).netloc
        while True:
            if host in self._silent - self._answered:
                raise FetchError(f"{file.label}: {host} does not answer; {OFFLINE}.")
            try:
                return attempt()
            except _Again as error:
                failures = 1 if reached() >= furthest + PROGRESS else failures + 1
                furthest = max(furthest, reached())
                if failures >= self.patience.tries:
                    self._silent.add(host)
                    tries = f"attempt {failures} of {self.patience.tries}"
                    raise FetchError(f"{file.label}: {error} ({tries}); {error.advice}.") from None
            if self.stop.wait(self.patience.backoff * 2 ** (failures - 1)):
                raise FetchError(f"{file.label}: stopped; {GO_ON}.")

    def _head(self, file):
        """Size and hashes that the server names, looked for along redirections."""
        address = file.address
        for _ in range(MAX_REDIRECTS):
            with self._ask("HEAD", address, file) as response:
                headers = response.headers
            if not response.is_redirect or "X-Linked-Size" in headers:
                break
            address = urljoin(address, headers["Location"])
        else:
            raise _Again(f"more than {MAX_REDIRECTS} redirections from {file.address}")
        size = headers.get("X-Linked-Size") or headers.get("Content-Length")
        etag = (headers.get("X-Linked-Etag") or headers.get("ETag", "")).removeprefix("W/").strip('"')
        linked = "X-Linked-Etag" in headers and re.fullmatch("[0-9a-f]{64}", etag)
        return Remote(int(size) if size else None, etag, etag if linked else "")

    def _stream(self, file, remote, count):
        """Append what is missing to the `.part`; raises _Again when the connection ends before the file does."""
        import requests

        there = size_of(file.part)
        if there == remote.size and file.part.exists():
            return
        with self._ask("GET", file.address, file, start=there) as response:
            going_on = response.headers.get("Content-Range", "").startswith(f"bytes {there}-")
            if there and not going_on:  # the server begins at the beginning, or cannot go on
                discard(file.part, count)
            if response.status_code == 416 or (response.status_code == 206 and not going_on):
                raise _Again("the server does not go on where the file ends here")
            with file.part.open("ab") as out:
                try:
                    for block in response.iter_content(BLOCK):
                        out.write(block)
                        count(len(block))
                        if self.stop.is_set():
                            raise FetchError(f"{file.label}: stopped; {GO_ON}.")
                except requests.RequestException:
                    raise _Again(f"the connection was cut or went silent at byte {out.tell():,}") from None

    def _ask(self, method, address, file, start=0):
        """An answer that is a success, a redirection of HEAD or a 416; raises _Again or FetchError for all others."""
        import requests

        host = urlsplit(address).netloc
        try:
            response = self._session.request(
                method,
                address,
                headers={"Range": f"bytes={start}-"} if start else {},
                stream=True,
                allow_redirects=method == "GET",
                timeout=self.patience.timeout,
            )
        except requests.RequestException as error:
            raise _Again(f"{host} does not answer: {type(error).__name__}", OFFLINE) from None
        self._answered.add(urlsplit(file.address).netloc)
        status = response.status_code
        is_page = response.headers.get("Content-Type", "").startswith("text/html")
        if status == 416 or (status < 400 and (response.is_redirect or not is_page)):
            return response
        response.close()
        if status < 400:
            raise _Again(f"{host} gave a web page in its place", "log in to the network here, then repeat the command")
        if status >= 500 or status in (408, 429):
            raise _Again(f"{host} cannot serve it now ({status} {response.reason})", f"some time later {GO_ON}")
        said = "does not have it" if status in (404, 410) else "refuses it"
        raise FetchError(
            f"{file.label}: {host} {said} ({status} {response.reason}); open {file.address} in a browser: "
            "when it fails there too, the address has changed and the file has to be put in place by hand."
        )


def digests(path):
    """The sha256 and the md5 of a file, as hexadecimal digits."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(2**22):
            sha256.update(block)
            md5.update(block)
    return sha256.hexdigest(), md5.hexdigest()


def fault(file, remote, recorded, *, found):
    """What is wrong with the hashes of a file, as words; nothing when they are right.

    Parameters
    ----------
    file : File
    remote : Remote
    recorded : str
        The sha256 that the file had when it was first fetched, or nothing.
    found : tuple of str
        From `digests`.
    """
    sha256, md5 = found
    is_md5 = file.md5_etag and re.fullmatch("[0-9a-f]{32}", remote.etag)
    promises = {
        "the server's md5": (remote.etag if is_md5 else "", md5),
        "the server's sha256": (remote.sha256, sha256),
        "the hash in its name": (file.sha256, sha256),
        "the sha256 of the first time in fetched.json": (recorded, sha256),
    }
    wrong = [
        f"{what} is {wanted[:8]}, that of the bytes that came {got[:8]}"
        for what, (wanted, got) in promises.items()
        if not got.startswith(wanted)
    ]
    return "; ".join(wrong)


def size_of(path):
    """Bytes of a file, 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def discard(part, count):
    """Throw a `.part` away, and take its bytes off the count."""
    count(-size_of(part))
    part.unlink(missing_ok=True)


def put_in_place(file, *, is_ours):
    """Give a whole `.part` its name; what stood there and was not fetched by this project is kept beside it."""
    if file.path.exists() and not is_ours:
        beside = file.path.with_name(f"{file.path.name}.replaced")
        if beside.exists():
            raise FetchError(f"{file.label}: it is to be replaced, but {beside} is there already; move both away.")
        file.path.rename(beside)
    file.part.replace(file.path)


def _checked(file, remote, recorded, count):
    """The sha256 of a `.part`; raises _Again when it is not whole, and throws it away when its bytes are wrong."""
    size = size_of(file.part)
    if remote.size is not None and size < remote.size:
        raise _Again(f"the connection was cut at byte {size:,} of {remote.size:,}")
    found = digests(file.part)
    wrong = fault(file, remote, recorded, found=found)
    if remote.size is not None and size > remote.size:
        wrong = f"{size:,} of them, wanted {remote.size:,}"
    if wrong:
        discard(file.part, count)
        raise _Again(
            f"wrong bytes came ({wrong})",
            "try another network; when the publisher has replaced the file, remove its entry from fetched.json",
        )
    return found[0]
