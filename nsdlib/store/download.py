"""One file from the web, whole or not at all: interrupted downloads go on, every byte is checked, failures are sentences."""

import re
import threading
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from nsdlib.store.record import FetchError, Remote, Unasked, digests, discard, find_fault, size_of

BLOCK = 2**16  # bytes that are written at once
PROGRESS = 2**20  # bytes that an attempt must bring for the failures before it to be forgotten
MAX_REDIRECTS = 5
GO_ON = "the same command goes on from here"
OFFLINE = f"is this machine online? When it is, {GO_ON}"


class _Again(Exception):
    """An attempt that failed and may succeed when it is repeated; `advice` is for when it does not."""

    def __init__(self, what, advice=GO_ON):
        super().__init__(what)
        self.advice = advice


@dataclass(frozen=True)
class Patience:
    """How long to bear with a server."""

    timeout: float = 30.0  # seconds without a byte
    tries: int = 5  # attempts in a row that bring nothing new
    backoff: float = 1.0  # seconds of the first pause between attempts, doubled with each
    n_threads: int = 4


class Server:
    """Anonymous HTTP with bounded patience, to be used in a `with` block; `stop` is set when everything is to end."""

    def __init__(self, patience):
        import requests

        self.patience, self.stop = patience, threading.Event()
        self._answered, self._silent = set(), set()
        self._session = requests.Session()
        self._session.headers["Accept-Encoding"] = "identity"  # sizes and hashes are those of the file itself

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._session.close()

    def look(self, file):
        """Ask what the server has under a file's address: a Remote. FetchError when it refuses or does not answer in the end."""
        return self._patiently(file, lambda: self._head(file))

    def receive(self, file, remote, *, recorded, count):
        """Bring a file's `.part` to its end, check it, and return its sha256; FetchError when the file cannot be had.

        `recorded` is the sha256 that it had when it was first fetched, or nothing. `count` is called with the number of bytes
        that came, a negative one when bytes are thrown away.
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
                raise Unasked(f"{file.label}: {host} does not answer; {OFFLINE}.")
            try:
                return attempt()
            except _Again as error:
                failures = 1 if reached() >= furthest + PROGRESS else failures + 1
                furthest = max(furthest, reached())
                if failures >= self.patience.tries:
                    self._silent.add(host)
                    tries = f"attempt {failures} of {self.patience.tries}"
                    kind = Unasked if error.advice == OFFLINE else FetchError
                    raise kind(f"{file.label}: {error} ({tries}); {error.advice}.") from None
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

        n_there = size_of(file.part)
        if n_there == remote.size and file.part.exists():
            return
        with self._ask("GET", file.address, file, start=n_there) as response:
            going_on = response.headers.get("Content-Range", "").startswith(f"bytes {n_there}-")
            if n_there and not going_on:  # the server begins at the beginning, or cannot go on
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


def _checked(file, remote, recorded, count):
    """The sha256 of a `.part`; raises _Again when it is not whole, and throws it away when its bytes are wrong."""
    size = size_of(file.part)
    if remote.size is not None and size < remote.size:
        raise _Again(f"the connection was cut at byte {size:,} of {remote.size:,}")
    hashes = digests(file.part)
    wrong = find_fault(file, remote, recorded, hashes=hashes)
    if remote.size is not None and size > remote.size:
        wrong = f"{size:,} of them, wanted {remote.size:,}"
    if wrong:
        discard(file.part, count)
        raise _Again(
            f"wrong bytes came ({wrong})",
            "try another network; when the publisher has replaced the file, remove its entry from fetched.json",
        )
    return hashes[0]
