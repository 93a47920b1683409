"""Download files and verify them: complete files are skipped, and a repeated command resumes an interrupted one."""

import errno
import shutil
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from nsdlib.core.files import held
from nsdlib.store.download import GO_ON, Patience, Server
from nsdlib.store.record import FetchError, File, Record, Remote, Unanswered, digests, discard, find_fault, put_in_place, size_of


@dataclass(frozen=True)
class Plan:
    """What to do for a file."""

    file: File
    state: str  # on disk: "there", "unrecorded" (of the right size, hash not yet computed), "damaged" or "missing"
    remote: Remote | None = None  # what the server has
    problem: str = ""  # why the server cannot tell, if it cannot
    unanswered: bool = False  # no server answered

    @property
    def size(self):
        """Bytes of the complete file; an estimate if the server did not report them."""
        return self.remote.size if self.remote and self.remote.size is not None else self.file.about

    @property
    def wanted(self):
        """Bytes still to be downloaded."""
        return 0 if self.state in ("there", "unrecorded") else max(self.size - size_of(self.file.part), 0)


def fetch(files, folder, *, dry_run=False, verify=False, patience=None):
    """Download the missing and damaged files of a folder, or list what that would take; print the list.

    `files` is a list of File, from `nsd.bucket.subject_files` or `nsdlib.store.zoo.files`; `folder` contains them all, and
    `fetched.json`. `dry_run` lists every file and changes nothing; sizes are those on record if no server answers. `verify`
    compares the hash of every file present, not only its size, with the first one. `patience` sets timeouts and retries. Raises a
    RuntimeError if the disk is too full, another download runs in the folder, or files could not be obtained: a sentence each.
    """
    patience = patience or Patience(tries=2 if dry_run else 5)
    if dry_run:
        plans = survey(files, folder, verify=verify, patience=patience)
        print(listing(plans, folder, each=True))
        problems = [plan.problem for plan in plans if plan.problem and not plan.unanswered]
    else:
        with locked(folder):
            plans = survey(files, folder, verify=verify, patience=patience)
            print(listing(plans, folder, each=False))
            problems = download(plans, folder, patience=patience)
    if problems:
        raise RuntimeError("\n  ".join([f"{len(problems)} of {len(files)} files could not be obtained:", *_by_reason(problems)]))
    if not dry_run:
        print(f"All {len(files)} files are in {folder}")


def survey(files, folder, *, patience, verify=False):
    """Compare local files with the server's, without changing anything: a list of Plan, one per file, in the same order.

    Arguments are as in `fetch`.
    """
    record = Record(folder)
    with Server(patience) as server:
        return _in_threads(lambda file: _plan(file, record[file], server, verify), files, server)


def download(plans, folder, *, patience):
    """Download missing or damaged files and compute unknown hashes; a file that fails does not stop the others.

    Takes the plans of `survey` and returns the problems, a sentence for each file that could not be obtained. Raises a
    RuntimeError before any download if the disk lacks space.
    """
    from tqdm import tqdm

    n_wanted, n_free = sum(plan.wanted for plan in plans if not plan.problem), shutil.disk_usage(folder).free
    if n_wanted > n_free:
        raise RuntimeError(
            f"{amount(n_wanted)} are still to be downloaded, but the disk of {folder} has {amount(n_free)} free: free some "
            "space, or name a folder on another disk in params/_common.yaml; nothing was downloaded."
        )
    record, lock = Record(folder), threading.Lock()
    with Server(patience) as server, tqdm(total=n_wanted, unit="B", unit_scale=True, disable=None) as bar:

        def count(n_bytes):
            with lock:
                bar.update(n_bytes)

        def complete(plan):
            problem = plan.problem or _complete(plan, record, server, count)
            if not problem and plan.state != "there":
                with lock, bar.external_write_mode():
                    print(f"{plan.file.path.relative_to(folder)}: {amount(size_of(plan.file.path))}")
            return problem

        return [problem for problem in _in_threads(complete, plans, server) if problem]


def listing(plans, folder, *, each):
    """List the stages and their sum; with `each`, also each file's size ("~" or "?" if the server did not say), state and use."""
    lines = []
    for stage, members in groupby(plans, key=lambda plan: plan.file.stage):
        members = list(members)
        lines.append(_line(stage, members))
        for plan in members if each else ():
            is_known = plan.remote is not None and plan.remote.size is not None
            size = amount(plan.size) if is_known else f"~{amount(plan.size)}" if plan.size else "?"
            lines.append(f"  {size:>10}  {plan.state:<10}  {plan.file.path.relative_to(folder)}: {plan.file.what}")
    lines.append(_line("all", plans))
    if each and (n_unanswered := sum(plan.unanswered for plan in plans)):
        lines.append(f"The server did not answer for {n_unanswered} files: ~ is the size on record, ? is not known.")
    return "\n".join(lines)


def amount(n_bytes):
    """Format a number of bytes as text, such as "39.56 GB"."""
    for unit, power in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= power:
            return f"{n_bytes / power:.2f} {unit}"
    return f"{n_bytes} B"


def _line(stage, plans):
    """Number of files and bytes of a stage, in total and still to be downloaded."""
    size, wanted = (amount(sum(getattr(plan, name) for plan in plans)) for name in ("size", "wanted"))
    return f"{stage}: {len(plans)} files, {size}; still to come {wanted}"


def _by_reason(problems):
    """Yield a sentence for each reason, with the first three files that it concerns."""
    files = defaultdict(list)
    for problem in problems:
        name, _, reason = problem.partition(": ")
        files[reason].append(name)
    for reason, names in files.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"{', '.join(names[:3])}{more}: {reason}"


def _plan(file, entry, server, verify):
    """Plan of one file; asks the server unless the file is present as it was first fetched."""
    exists, recorded = file.path.is_file(), entry.get("sha256", "")
    is_complete = exists and recorded and size_of(file.path) == entry.get("size")
    if is_complete and (not verify or digests(file.path)[0] == recorded):
        return Plan(file, "there", Remote(entry["size"]))
    state = "missing" if not exists else "damaged" if recorded else "unrecorded"
    try:
        remote = server.look(file)
    except FetchError as error:
        estimated = replace(file, about=entry.get("size", file.about))
        return Plan(estimated, state, problem=str(error), unanswered=isinstance(error, Unanswered))
    if state == "unrecorded" and remote.size not in (None, size_of(file.path)):
        state = "damaged"
    return Plan(file, state, remote)


def _complete(plan, record, server, count):
    """Complete a file and record it; return the problem as a sentence, or an empty str."""
    file, remote, entry = plan.file, plan.remote, record[plan.file]
    recorded = entry.get("sha256", "")
    try:
        if plan.state == "there":
            return ""
        if plan.state == "unrecorded":
            hashes = digests(file.path)
            if not find_fault(file, remote, recorded, hashes=hashes):
                record.note(file, etag=remote.etag, size=size_of(file.path), sha256=hashes[0])
                return ""
        file.path.parent.mkdir(parents=True, exist_ok=True)
        if entry.get("etag") != remote.etag:  # the partial download is of another version of the file
            discard(file.part, count)
            record.note(file, etag=remote.etag)
        sha256 = server.receive(file, remote, recorded=recorded, count=count)
        put_in_place(file, is_ours=bool(recorded))
        record.note(file, size=size_of(file.path), sha256=sha256)
    except FetchError as error:
        return str(error)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            server.stop.set()
        return f"{file.label}: it cannot be written ({error.strerror}): check the disk; {GO_ON}."
    return ""


def _in_threads(function, items, server):
    """Results of `function` for all items, in order; an interruption stops those in progress and starts no others."""
    with ThreadPoolExecutor(server.patience.n_threads) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            server.stop.set()
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def locked(folder):
    """Lock the folder, created if missing, against other downloads."""
    with ExitStack() as stack:
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            stack.enter_context(held(Path(folder) / ".fetching"))
        except PermissionError as error:
            raise RuntimeError(f"{error.filename} cannot be written: name another folder in params/_common.yaml.") from None
        except BlockingIOError:
            raise RuntimeError(f"Another download is running in {folder}: wait until it ends, then repeat the command.") from None
        yield
