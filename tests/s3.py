"""A local S3 server with a part of NSD's bucket, behind a proxy that truncates, corrupts, refuses, or does not answer."""

import contextlib
import hashlib
import http.client
import http.server
import threading
from collections import namedtuple
from types import SimpleNamespace

import numpy as np

from nsdlib.data import fetch
from nsdlib.data.nsd import bucket as nsd_bucket
from nsdlib.store.download import Patience

NAME = "natural-scenes-dataset"
BIG = "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"  # uploaded in parts: its ETag is no MD5
SMALL = "nsddata/ppdata/subj01/func1pt8mm/brainmask.nii.gz"
TABLE = "nsddata/ppdata/subj01/behav/responses.tsv"
QUICK = Patience(timeout=30, tries=3, backoff=0, n_threads=2)
SESSIONS = {"n_sessions": 2, "glm_sessions": 1, "version": "betas_fithrf_GLMdenoise_RR"}


class Proxy(http.server.ThreadingHTTPServer):
    """Stands before the S3 server; `faults` maps the end of a path to what happens to its next GETs (HEADs with "HEAD ")."""

    daemon_threads = False  # its end waits for them

    def __init__(self, behind):
        super().__init__(("127.0.0.1", 0), Relay)
        self.behind, self.faults, self.seen, self.go_on = behind, {}, [], threading.Event()
        self.sent_half = threading.Event()
        self.guard, self.sockets = threading.Lock(), []

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}/{NAME}"

    def fault(self, method, path):
        """The next fault of a path; the last one of a list stays when it is `...`."""
        with self.guard:
            for end, faults in self.faults.items():
                wanted, _, end = end.rpartition(" ")
                if faults and path.endswith(end) and method == (wanted or "GET"):
                    return faults[0] if faults[1:] == [...] else faults.pop(0)
        return None

    def finish_request(self, request, client_address):
        self.sockets.append(request)
        super().finish_request(request, client_address)

    def handle_error(self, *_):
        """A client that leaves in the middle is no fault of this server."""

    def end(self):
        """Stop, and close the connections that clients keep for later."""
        self.go_on.set()
        self.shutdown()
        for socket in self.sockets:
            with contextlib.suppress(OSError):
                socket.shutdown(2)
        self.server_close()

    def gets(self, key):
        """The Range headers of the GETs of a key, in order."""
        return [asked for method, path, asked in self.seen if method == "GET" and path.endswith(key)]


class Relay(http.server.BaseHTTPRequestHandler):
    """One request: handed on to the S3 server, and its answer back, unless there is a fault."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.seen.append((self.command, self.path, asked))
        fault = self.server.fault(self.command, self.path)
        if fault == "silent":
            self.server.go_on.wait()
        if fault in ("silent", "slammed"):
            self.close_connection = True
            return
        status, headers, body = self.behind({"Range": asked} if asked and fault != "whole" else {})
        if isinstance(fault, int):
            status, headers, body = fault, {}, b"no"
        if isinstance(fault, dict):
            status, headers = fault.get("status", status), headers | fault
        if fault == "spoiled":
            body = bytes(255 - byte for byte in body)
        self.answer(status, headers, body, fault)

    do_HEAD = do_GET

    def behind(self, headers):
        connection = http.client.HTTPConnection(*self.server.behind)
        try:
            connection.request(self.command, self.path, headers=headers)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def answer(self, status, headers, body, fault):
        kept = ("etag", "content-range", "content-type", "location", "x-linked-size", "x-linked-etag")
        length = headers.get("content-length", len(body)) if self.command == "HEAD" else len(body)
        self.send_response(status)
        for name, value in headers.items():
            if name in kept:
                self.send_header(name, value)
        if fault not in ("unmeasured", "short"):
            self.send_header("Content-Length", length)
        self.end_headers()
        if fault in ("cut", "held", "unmeasured", "short"):
            self.close_connection = True
        if fault in ("cut", "held", "short"):
            body = body[: len(body) // 2]
        if self.command == "GET":
            self.wfile.write(body)
        if fault == "held":
            self.wfile.flush()
            self.server.sent_half.set()
            self.server.go_on.wait()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def filled_server():
    """A server whose bucket holds two sessions of subject 1 under the true keys: (host, port) and key to random bytes."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", **keys)
    client.create_bucket(Bucket=NAME)
    rng, contents = np.random.default_rng(0), {}
    for file in nsd_bucket.subject_files("", 1, **SESSIONS):
        key = file.path.as_posix()
        contents[key] = rng.bytes(5 * 2**20 + 300_000 if key == BIG else 150_000)
        if key == BIG:
            _upload_in_parts(client, key, contents[key])
        else:
            client.put_object(Bucket=NAME, Key=key, Body=contents[key], ACL="public-read")
    client.put_object(Bucket=NAME, Key="private", Body=b"not for everybody")
    yield (host, port), contents
    client.close()
    server.stop()


def _upload_in_parts(client, key, content):
    where = {"Bucket": NAME, "Key": key}
    upload = client.create_multipart_upload(**where, ACL="public-read")["UploadId"]
    parts = []
    for number, part in enumerate((content[: 5 * 2**20], content[5 * 2**20 :]), start=1):
        tag = client.upload_part(**where, UploadId=upload, PartNumber=number, Body=part)["ETag"]
        parts.append({"PartNumber": number, "ETag": tag})
    client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})


World = namedtuple("World", "proxy contents data")


@contextlib.contextmanager
def world_of(bucket, data, monkeypatch):
    """The proxy, what the bucket holds, an empty folder `data` on a large disk; the library's addresses lead to the proxy."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    proxy = Proxy(bucket[0])
    thread = threading.Thread(target=proxy.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setattr(nsd_bucket, "BUCKET", proxy.address)
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**12))
    monkeypatch.setattr(nsd_bucket, "CAPTIONS", f"{proxy.address}/nsddata_stimuli/stimuli/nsd/COCO_73k_annots_curated.npy")
    yield World(proxy, bucket[1], data)
    proxy.end()
    thread.join()


def files(world, *ends):
    """The subject's files, or those of them whose path ends so."""
    found = nsd_bucket.subject_files(world.data, 1, **SESSIONS)
    return [file for file in found if not ends or file.path.as_posix().endswith(ends)]


def sha256_of(content):
    return hashlib.sha256(content).hexdigest()


def is_whole(world, *keys):
    return all((world.data / key).read_bytes() == world.contents[key] for key in keys or world.contents)
