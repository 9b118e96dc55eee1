#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Brings every source pinned in third_party/pins.toml to third_party/<name>/ and verifies it.

Each source is looked for in this order, and the one used is printed:
  1. the download cache, $XDG_CACHE_HOME/nmpack/downloads (~/.cache when XDG_CACHE_HOME is unset)
  2. the public upstream, as the archive of the pinned commit
  3. the distribution's source archive, through the mirror this machine's apt sources name
Whichever answers, what was unpacked must hash to the pin: the git tree id of a whole tree, the git
blob id of each file of a subset. A folder appears under third_party/ only when it is complete.

A second run does nothing. Interrupt it whenever you like: the next run goes on where it stopped.
No network? Put one of the archives that the error names into the cache and run it again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from nmpack_tools import distribution
from nmpack_tools.archive import ArchiveError, unpack
from nmpack_tools.cache import cache_folder
from nmpack_tools.console import ToolError, exclusive, run_main, say
from nmpack_tools.download import AbsentError, UnreachableError, download
from nmpack_tools.githash import file_blob_id, fingerprint, tree_id
from nmpack_tools.pins import Pin, load_pins

ROOT = Path(__file__).resolve().parent.parent


class Fetcher:
    """One run: where things come from and where they go."""

    def __init__(self, destination: Path, cache: Path, offline: bool) -> None:
        self._destination = destination
        self._stamps = destination / ".stamps"
        self._cache = cache
        self._offline = offline
        self._warned: set[str] = set()

    def ensure(self, pin: Pin) -> None:
        """Leaves ``third_party/<name>`` verified, fetching it only if it is not."""
        folder = self._destination / pin.name
        if folder.is_dir():
            if self._stamp_holds(pin, folder):
                say(f"{pin.name}: up to date")
                return
            problem = mismatch(pin, folder)
            if problem is None:
                self._write_stamp(pin, folder)
                say(f"{pin.name}: up to date (verified again by hash)")
                return
            say(f"{pin.name}: {problem}; unpacking it again")
        reasons: list[str] = []
        for archive, source in self._candidates(pin, reasons):
            problem = self._install(pin, archive, folder)
            if problem is None:
                say(f"{pin.name}: verified ({pin.identity.split()[0]}), from {source}")
                return
            reasons.append(f"{source}: {problem}")
            say(f"{pin.name}: {source} is refused: {problem}")
        names = [pin.upstream_archive]
        if pin.distribution:
            names.append(pin.distribution.archive)
        raise ToolError(
            f"{pin.name} could not be fetched ({'; '.join(reasons)}); connect to the network, "
            f"or put {' or '.join(names)} into {self._cache}, and run it again"
        )

    def _candidates(self, pin: Pin, reasons: list[str]) -> Iterator[tuple[Path, str]]:
        """Archives that may hold the pin, each with its source in words, best first."""
        upstream = self._cache / pin.upstream_archive
        packaged = self._cache / pin.distribution.archive if pin.distribution else None
        found = [path for path in (upstream, packaged) if path is not None and path.is_file()]
        for path in found:
            yield path, f"the cached archive {path.name}"
        if self._offline:
            if not found:
                reasons.append("--offline was given and no archive of it is in the cache")
            return
        host = urllib.parse.urlsplit(pin.url).netloc
        try:
            download(pin.upstream_url, upstream, pin.name)
            yield upstream, f"the public upstream {host}"
        except (AbsentError, ToolError) as error:
            reasons.append(f"the public upstream {host}: {error}")
        except UnreachableError as error:
            reasons.append(f"the public upstream {host} is unreachable ({error})")
            if host not in self._warned:
                self._warned.add(host)
                say(f"the public upstream {host} is unreachable ({error})")
        if pin.distribution and packaged is not None:
            try:
                yield packaged, distribution.fetch(pin.distribution, packaged)
            except (AbsentError, UnreachableError, ToolError) as error:
                reasons.append(f"the distribution: {error}")

    def _install(self, pin: Pin, archive: Path, folder: Path) -> str | None:
        """Unpacks, verifies and moves into place; returns what was wrong, if anything."""
        self._destination.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".tmp-{pin.name}-", dir=self._destination) as tmp:
            fresh = Path(tmp) / "tree"
            try:
                unpack(archive, fresh, set(pin.files) if pin.files is not None else None)
            except ArchiveError as error:
                archive.unlink()
                return str(error)
            problem = mismatch(pin, fresh)
            if problem is not None:
                # Intact but not the pinned content: out of the way, kept for a look.
                archive.replace(archive.with_name(archive.name + ".refused"))
                return problem
            if folder.is_symlink() or folder.exists():
                folder.rename(Path(tmp) / "old")
            fresh.rename(folder)
        self._write_stamp(pin, folder)
        return None

    def _stamp_holds(self, pin: Pin, folder: Path) -> bool:
        try:
            stamp = json.loads((self._stamps / f"{pin.name}.json").read_text())
        except (OSError, ValueError):
            return False
        return bool(stamp == {"pin": pin.identity, "fingerprint": fingerprint(folder)})

    def _write_stamp(self, pin: Pin, folder: Path) -> None:
        self._stamps.mkdir(parents=True, exist_ok=True)
        path = self._stamps / f"{pin.name}.json"
        fresh = path.with_suffix(".tmp")
        fresh.write_text(json.dumps({"pin": pin.identity, "fingerprint": fingerprint(folder)}))
        fresh.replace(path)


def mismatch(pin: Pin, folder: Path) -> str | None:
    """What differs between the folder and the pin, in words; None when it is exactly the pin."""
    if pin.tree is not None:
        got = tree_id(folder)
        return None if got == pin.tree else f"expected git tree {pin.tree}, got {got}"
    assert pin.files is not None
    present = {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }
    for name, expected in pin.files.items():
        if name not in present:
            return f"{name} is missing"
        got = file_blob_id(folder / name)
        if got != expected:
            return f"{name}: expected blob {expected}, got {got}"
    if extra := present - set(pin.files):
        return f"{min(extra)} is not in the pinned list"
    return None


def check(pins: list[Pin], destination: Path) -> int:
    """Hashes everything on disk; prints one line a source."""
    failed = 0
    for pin in pins:
        folder = destination / pin.name
        problem = mismatch(pin, folder) if folder.is_dir() else "not fetched yet"
        if problem is None:
            say(f"{pin.name}: ok ({pin.identity.split()[0]} verified)")
        else:
            failed += 1
            print(f"{pin.name}: {problem}; run scripts/fetch_sources.py", file=sys.stderr)
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", metavar="NAME", action="append", help="just this source; repeatable"
    )
    parser.add_argument("--offline", action="store_true", help="never touch the network")
    parser.add_argument(
        "--check", action="store_true", help="hash everything on disk again, fetch nothing"
    )
    parser.add_argument(
        "--pins",
        type=Path,
        default=ROOT / "third_party" / "pins.toml",
        help="the list of pins (default: third_party/pins.toml)",
    )
    parser.add_argument(
        "--destination",
        type=Path,
        default=ROOT / "third_party",
        help="where the sources go (default: third_party)",
    )
    args = parser.parse_args()
    pins = load_pins(args.pins)
    if args.only:
        known = [pin.name for pin in pins]
        for name in args.only:
            if name not in known:
                raise ToolError(
                    f"--only {name}: no such source, expected one of {', '.join(known)}"
                )
        pins = [pin for pin in pins if pin.name in args.only]
    if args.check:
        return check(pins, args.destination)
    with exclusive(args.destination / ".lock", "fetch"):
        for stale in args.destination.glob(".tmp-*"):
            shutil.rmtree(stale)
        fetcher = Fetcher(args.destination, cache_folder() / "downloads", args.offline)
        for pin in pins:
            fetcher.ensure(pin)
    return 0


if __name__ == "__main__":
    run_main(main)
