"""Download one file: resume after interruptions, verify size and hashes, and raise errors that say what to do."""

import re
import threading
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from nsdlib.store.record import FetchError, Remote, Unanswered, digests, discard, find_fault, size_of

BLOCK = 2**16  # bytes written at once
PROGRESS = 2**20  # bytes that an attempt must add to reset the count of failures
MAX_REDIRECTS = 5
GO_ON = "the same command resumes from here"
OFFLINE = f"is this machine online? When it is, {GO_ON}"


class _Again(Exception):
    """A failed attempt that is worth repeating; `advice` is for the message after the last attempt."""

    def __init__(self, what, advice=GO_ON):
        super().__init__(what)
        self.advice = advice


@dataclass(frozen=True)
class Patience:
    """Time-outs and retries."""

    timeout: float = 30.0  # seconds without a byte
    tries: int = 5  # attempts in a row without progress
    backoff: float = 1.0  # seconds of the first pause between attempts; doubles each time
    n_threads: int = 4


class Server:
    """Anonymous HTTP with bounded retries, a context manager; setting the event `stop` ends its downloads."""

    def __init__(self, patience):
        import requests

        self.patience, self.stop = patience, threading.Event()
        self._answered, self._silent = set(), set()
        self._session = requests.Session()
        self._session.headers["Accept-Encoding"] = "identity"  # no compression: sizes and hashes must be the file's own

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._session.close()

    def look(self, file):
        """Ask the server for a file's size and hashes (Remote). Raises FetchError when it refuses or never answers."""
        return self._patiently(file, lambda: self._head(file))

    def receive(self, file, remote, *, recorded, count):
        """Complete a file's `.part`, verify it, and return its sha256. Raises FetchError when that fails.

        `recorded` is the file's sha256 at its first download, or empty. `count` is called with the number of bytes received,
        which is negative when bytes are discarded.
        """

        def attempt():
            self._stream(file, remote, count)
            return _checked(file, remote, recorded, count)

        return self._patiently(file, attempt, reached=lambda: size_of(file.part))

    def _patiently(self, file, attempt, reached=lambda: 0):
        """The result of `attempt()`, retried with doubling pauses until too many attempts in a row make no progress."""
        failures, furthest, host = 0, reached(), urlsplit(file.address).netloc
        while True:
            if host in self._silent - self._answered:
                raise Unanswered(f"{file.label}: {host} does not answer; {OFFLINE}.")
            try:
                return attempt()
            except _Again as error:
                failures = 1 if reached() >= furthest + PROGRESS else failures + 1
                furthest = max(furthest, reached())
                if failures >= self.patience.tries:
                    self._silent.add(host)
                    tries = f"attempt {failures} of {self.patience.tries}"
                    error_type = Unanswered if error.advice == OFFLINE else FetchError
                    raise error_type(f"{file.label}: {error} ({tries}); {error.advice}.") from None
            if self.stop.wait(self.patience.backoff * 2 ** (failures - 1)):
                raise FetchError(f"{file.label}: stopped; {GO_ON}.")

    def _head(self, file):
        """Size and hashes from the server's headers, following redirections."""
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
        """Append the missing bytes to the `.part`; raises _Again when the connection ends early."""
        import requests

        n_present = size_of(file.part)
        if n_present == remote.size and file.part.exists():
            return
        with self._ask("GET", file.address, file, start=n_present) as response:
            is_resumed = response.headers.get("Content-Range", "").startswith(f"bytes {n_present}-")
            if n_present and not is_resumed:  # the server restarts from the first byte, or cannot resume
                discard(file.part, count)
            if response.status_code == 416 or (response.status_code == 206 and not is_resumed):
                raise _Again("the server does not resume at the end of the partial file")
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
        """The response if it is a success, a redirection of HEAD, or a 416; otherwise raises _Again or FetchError."""
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
            raise _Again(f"{host} sent a web page instead", "log in to the network here, then repeat the command")
        if status >= 500 or status in (408, 429):
            raise _Again(f"{host} cannot serve it now ({status} {response.reason})", f"try later: {GO_ON}")
        problem = "does not have it" if status in (404, 410) else "refuses it"
        raise FetchError(
            f"{file.label}: {host} {problem} ({status} {response.reason}); open {file.address} in a browser: "
            "if that fails too, the address has changed; download the file by hand from its new one."
        )


def _checked(file, remote, recorded, count):
    """The sha256 of a `.part`; raises _Again when it is incomplete or wrong, and discards it when wrong."""
    size = size_of(file.part)
    if remote.size is not None and size < remote.size:
        raise _Again(f"the connection was cut at byte {size:,} of {remote.size:,}")
    hashes = digests(file.part)
    fault = find_fault(file, remote, recorded, hashes=hashes)
    if remote.size is not None and size > remote.size:
        fault = f"{size:,} of them, wanted {remote.size:,}"
    if fault:
        discard(file.part, count)
        raise _Again(
            f"wrong bytes received ({fault})",
            "try another network; when the publisher has replaced the file, remove its entry from fetched.json",
        )
    return hashes[0]
