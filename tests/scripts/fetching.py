# SPDX-License-Identifier: BSD-3-Clause
"""A misbehaving HTTP server, hostile archives, and a place with one pin to fetch."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from nmpack_tools.githash import blob_id, tree_id

COMMIT = "0123456789abcdef0123456789abcdef01234567"
VERSION = "1.0~git20240102.0123456+dfsg"
POOL = f"/debian/pool/main/d/demo/demo_{VERSION}.orig.tar.xz"
UPSTREAM = f"/demo/archive/{COMMIT}.tar.gz"

# Large enough, and random enough, not to fit into one read or one socket buffer.
BIG = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(60_000))
FILES = {"LICENSE": b"do as you like\n", "src/main.c": b"int main;\n", "src/big.bin": BIG}


@dataclass
class Server:
    """A file server that can be told to misbehave."""

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    etag: str = '"v1"'
    drop_after: int | None = None  # bytes sent before the connection is cut
    drops: int = 0  # how often; -1 for ever
    stall: threading.Event | None = None  # wait for it after drop_after bytes
    log: list[tuple[str, str | None]] = field(default_factory=list)
    sent: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def serve() -> Iterator[Server]:
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.log.append((self.path, wanted))
            body = state.files.get(unquote(self.path))
            if body is None:
                self.send_error(404)
                return
            start = 0
            if wanted and state.ranges and self.headers.get("If-Range") == state.etag:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            else:
                self.send_response(200)
            self.send_header("ETag", state.etag)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            rest = body[start:]
            if state.drop_after is not None and state.drops != 0:
                state.drops -= 1
                rest = rest[: state.drop_after]
                self.close_connection = True
            try:
                self.wfile.write(rest)
                self.wfile.flush()
                state.sent += len(rest)
                if state.stall is not None:
                    state.stall.wait(30)
            except OSError:
                pass

        def log_message(self, *_: object) -> None:
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    state.port = httpd.server_address[1]
    thread = threading.Thread(target=httpd.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield state
    finally:
        if state.stall is not None:
            state.stall.set()
        httpd.shutdown()
        thread.join()
        httpd.server_close()


def archive(files: dict[str, bytes], top: str = "demo-1/", mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(top + name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def hostile(*members: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return out.getvalue()


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def expected_tree(tmp_path: Path, files: dict[str, bytes] = FILES) -> str:
    folder = tmp_path / "expected"
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tree_id(folder)


class Place:
    """A pins.toml with one pin, a destination, and an apt configuration of its own."""

    def __init__(self, base: Path, environment: dict[str, str], server: Server) -> None:
        self.base = base
        self.server = server
        self.destination = base / "third_party"
        self.pins = base / "pins.toml"
        self.cache = base / "cache" / "nmpack" / "downloads"
        self.args = ("--pins", self.pins, "--destination", self.destination)
        self.tree = expected_tree(base)
        self.apt(None)
        environment["APT_CONFIG"] = str(base / "apt.conf")
        self.pin()

    def apt(self, sources: str | None, name: str = "debian.sources") -> None:
        """Makes apt read these sources and no others."""
        parts = self.base / "apt.d"
        parts.mkdir(exist_ok=True)
        for old in parts.iterdir():
            old.unlink()
        if sources is not None:
            (parts / name).write_text(sources)
        (self.base / "apt.conf").write_text(
            f'Dir::Etc::sourcelist "/dev/null";\nDir::Etc::sourceparts "{parts}/";\n'
            'Dir::Etc::Parts "/dev/null";\n'
        )

    def apt_mirror(self) -> None:
        self.apt(f"Types: deb\nURIs: {self.server.url}/debian/\nSuites: stable\nComponents: main\n")

    def pin(self, content: str | None = None, url: str | None = None) -> None:
        content = content or f'tree = "{self.tree}"'
        self.pins.write_text(
            f'[[source]]\nname = "demo"\nurl = "{url or self.server.url + "/demo"}"\n'
            f'commit = "{COMMIT}"\n{content}\nlicence = "MIT"\nwhy = "to be tested"\n'
            f'distribution = {{ package = "demo", version = "{VERSION}", suites = ["sid"], '
            'suffix = "tar.xz" }\n'
        )

    def subset(self, files: dict[str, bytes], **ids: str) -> None:
        lines = [f"{ids.get(name, blob_id(data))}  {name}" for name, data in files.items()]
        (self.base / "list.txt").write_text("# a comment\n" + "\n".join(lines) + "\n")
        self.pin('files = "list.txt"')

    def cached(self, content: bytes, name: str = f"demo-{COMMIT}.tar.gz") -> Path:
        self.cache.mkdir(parents=True, exist_ok=True)
        (self.cache / name).write_bytes(content)
        return self.cache / name

    def fetched(self) -> dict[str, bytes]:
        folder = self.destination / "demo"
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }

    def leftovers(self) -> list[str]:
        return sorted(p.name for p in self.destination.glob(".tmp-*"))

    def nothing_there(self) -> bool:
        return not (self.destination / "demo").exists() and not self.leftovers()
