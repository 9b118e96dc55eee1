# SPDX-License-Identifier: BSD-3-Clause
"""Downloads over HTTP that survive interruption: resumed where the server lets us."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from .console import Progress, ToolError

CONNECT_TIMEOUT = 6.0
READ_TIMEOUT = 30.0
ATTEMPTS = 4
_CHUNK = 1 << 18


class UnreachableError(Exception):
    """No conversation with the host at all: no name, no route, no answer, a refused connection."""


class AbsentError(Exception):
    """The host answered that it does not have this file."""


_silent_hosts: dict[str, str] = {}


def probe(url: str, proxy: str | None = None) -> None:
    """Raises UnreachableError when nothing answers at the address; asks each host once a run."""
    parts = urllib.parse.urlsplit(url)
    host = parts.netloc
    if host in _silent_hosts:
        raise UnreachableError(_silent_hosts[host])
    proxied = parts.scheme in urllib.request.getproxies()
    if proxy not in (None, "DIRECT") or (proxied and not urllib.request.proxy_bypass(host)):
        return  # only the proxy can tell
    port = parts.port or (443 if parts.scheme == "https" else 80)
    failure: list[str] = ["no answer"]

    def connect() -> None:
        try:
            socket.create_connection((parts.hostname or "", port), CONNECT_TIMEOUT).close()
            failure.clear()
        except OSError as error:
            failure[0] = error.strerror or str(error)

    # In a thread, because looking up a name knows no timeout.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_TIMEOUT)
    if failure:
        _silent_hosts[host] = failure[0]
        raise UnreachableError(failure[0])


def download(url: str, target: Path, label: str, proxy: str | None = None) -> None:
    """Brings ``url`` to ``target``, whole or not at all.

    What has arrived is kept in ``target.part`` with the validator the server gave; the next call
    asks for the rest. Raises UnreachableError, AbsentError, or ToolError for anything else.
    """
    probe(url, proxy)
    target.parent.mkdir(parents=True, exist_ok=True)
    opener = _opener(proxy)
    for attempt in range(1, ATTEMPTS + 1):
        before = _size(_part(target))
        try:
            _transfer(opener, url, target, label)
            return
        except UnreachableError as error:
            _silent_hosts[urllib.parse.urlsplit(url).netloc] = str(error)
            raise
        except _InterruptedError as error:
            progressed = _size(_part(target)) > before
            if attempt == ATTEMPTS:
                raise ToolError(
                    f"{label}: {error}, {ATTEMPTS} times; run it again to go on"
                ) from None
            time.sleep(0.2 if progressed else 0.5 * attempt)


class _InterruptedError(Exception):
    """The connection ended before the file did."""


def _opener(proxy: str | None) -> urllib.request.OpenerDirector:
    if proxy is None:
        return urllib.request.build_opener()  # http_proxy and friends from the environment
    handler = {} if proxy == "DIRECT" else {"http": proxy, "https": proxy}
    return urllib.request.build_opener(urllib.request.ProxyHandler(handler))


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _state(target: Path) -> Path:
    return target.with_name(target.name + ".part.json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _validator(target: Path, url: str) -> str | None:
    """The entity tag or date of the partial file, if it came from this address."""
    try:
        state = json.loads(_state(target).read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(state, dict) or state.get("url") != url:
        return None
    value = state.get("validator")
    return value if isinstance(value, str) else None


def _transfer(opener: urllib.request.OpenerDirector, url: str, target: Path, label: str) -> None:
    part, state = _part(target), _state(target)
    headers = {"User-Agent": "nmpack-fetch-sources", "Accept-Encoding": "identity"}
    have = _size(part)
    validator = _validator(target, url)
    if have and validator:
        headers["Range"] = f"bytes={have}-"
        headers["If-Range"] = validator
    try:
        response = opener.open(urllib.request.Request(url, headers=headers), timeout=READ_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            _discard(part, state)
            raise _InterruptedError("the partial download did not match") from None
        if error.code in (404, 410):
            raise AbsentError(f"HTTP {error.code}") from None
        if error.code in (429, 500, 502, 503, 504):
            raise _InterruptedError(f"the server answered HTTP {error.code}") from None
        raise AbsentError(f"HTTP {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise UnreachableError(str(error.reason)) from None
    except TimeoutError:
        raise UnreachableError(f"no answer within {READ_TIMEOUT:.0f} s") from None
    except (http.client.HTTPException, ConnectionError) as error:
        raise _InterruptedError(f"the server hung up ({type(error).__name__})") from None
    with response:
        resumed = response.status == 206
        if resumed and not (response.headers.get("Content-Range") or "").startswith(
            f"bytes {have}-"
        ):
            _discard(part, state)
            raise _InterruptedError("the server sent another range than asked for")
        if not resumed:
            have = 0
            _discard(part, state)
            # A weak entity tag may not be used to resume (RFC 9110, 13.1.5).
            tag = response.headers.get("ETag")
            new = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")
            state.write_text(json.dumps({"url": url, "validator": new}))
        length = response.headers.get("Content-Length")
        total = have + int(length) if length and length.isdigit() else None
        got = _copy(response, part, have, total, label)
    if total is not None and got != total:
        raise _InterruptedError(f"the connection ended after {got} of {total} bytes")
    part.replace(target)
    state.unlink(missing_ok=True)


def _copy(
    response: http.client.HTTPResponse, part: Path, have: int, total: int | None, label: str
) -> int:
    progress = Progress(label, total)
    done = have
    try:
        with part.open("ab" if have else "wb") as out:
            while chunk := response.read1(_CHUNK):
                out.write(chunk)
                done += len(chunk)
                progress.update(done)
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _InterruptedError(
            f"the connection broke after {done} bytes ({type(error).__name__})"
        ) from None
    finally:
        progress.close()
    return done


def _discard(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
