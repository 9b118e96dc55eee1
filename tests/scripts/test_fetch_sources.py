# SPDX-License-Identifier: BSD-3-Clause
"""scripts/fetch_sources.py against real archives, a real server and a real apt configuration."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fetching import (
    COMMIT,
    FILES,
    POOL,
    UPSTREAM,
    VERSION,
    Place,
    archive,
    expected_tree,
)
from nmpack_tools.distribution import parse_deb822, parse_one_line
from nmpack_tools.githash import tree_id
from nmpack_tools.pins import load_pins

Run = Callable[..., Any]

ROOT = Path(__file__).resolve().parents[2]

# The project's own pins


def test_the_projects_pins_are_well_formed() -> None:
    pins = {pin.name: pin for pin in load_pins(ROOT / "third_party" / "pins.toml")}
    assert set(pins) == {
        "xnnpack",
        "pthreadpool",
        "cpuinfo",
        "fxdiv",
        "fp16",
        "tensorflow",
        "flatbuffers",
    }
    for pin in pins.values():
        assert pin.url.startswith("https://github.com/")
        assert len(pin.why) > 20
        assert (pin.tree is None) == (pin.name in ("tensorflow", "flatbuffers"))
        assert pin.distribution is not None
        assert pin.files is None or "LICENSE" in pin.files
    files = pins["tensorflow"].files
    assert files is not None
    for needed in (
        "tensorflow/lite/delegates/xnnpack/xnnpack_delegate.cc",
        "tensorflow/lite/schema/schema_generated.h",
        "tensorflow/lite/core/c/c_api.h",
    ):
        assert needed in files
    assert pins["xnnpack"].distribution.pool_path == (
        "pool/main/x/xnnpack/xnnpack_0.0~git20241108.4ea82e5.orig.tar.xz"
    )


def test_no_mirror_is_named_in_the_pins() -> None:
    text = (ROOT / "third_party" / "pins.toml").read_text()
    assert set(re.findall(r"https?://([^/\"]+)", text)) == {"github.com"}


def test_tree_id_equals_gits(tmp_path: Path, environment: dict[str, str]) -> None:
    folder = tmp_path / "work"
    for name in ("a/one", "a.b", "a-b/two", "a0", "deep/er/three", "z"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    (folder / "z").chmod(0o755)
    (folder / "link").symlink_to("a/one")
    (folder / "folder-link").symlink_to("a")
    (folder / "empty").mkdir()
    for args in (["init", "-q"], ["add", "-A", "."]):
        subprocess.run(["git", "-C", folder, *args], check=True, env=environment)
    want = subprocess.run(
        ["git", "-C", folder, "write-tree"], check=True, env=environment, capture_output=True
    )
    assert tree_id(folder) == want.stdout.decode().strip()


# Where a source comes from


def test_upstream_then_nothing_to_do(place: Place, run: Run) -> None:
    place.server.files[UPSTREAM] = archive(FILES)
    assert "from the public upstream" in run("fetch_sources.py", *place.args).ok()
    assert place.fetched() == FILES
    before = (place.destination / "demo").stat()
    place.server.log.clear()
    assert run("fetch_sources.py", *place.args).ok() == "demo: up to date\n"
    assert (place.destination / "demo").stat() == before
    assert place.server.log == []


@pytest.mark.parametrize("top", ["", "./", "demo-1.0/"])
@pytest.mark.parametrize(
    ("name", "sources"),
    [
        ("m.sources", "Types: deb deb-src\n# a comment\nURIs:\n {url}/nothing\n {url}/debian\n"
                      "Suites: stable stable-updates\nComponents: main contrib\n"),
        ("m.list", "# deb {url}/no stable main\ndeb [arch=amd64 signed-by=/k.gpg] {url}/debian/ "
                   "stable main # here\n"),
    ],
)  # fmt: skip
def test_distribution_when_upstream_has_gone(
    place: Place, run: Run, top: str, name: str, sources: str
) -> None:
    place.apt(sources.format(url=place.server.url), name)
    place.server.files[POOL] = archive(FILES, top=top, mode="w:xz")
    out = run("fetch_sources.py", *place.args).ok()
    assert f"from the distribution's archive demo_{VERSION}.orig.tar.xz" in out
    assert place.fetched() == FILES


def test_gits_own_archives_with_modes_and_links(
    place: Place, run: Run, environment: dict[str, str]
) -> None:
    folder = place.base / "repository"
    folder.mkdir()
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o775)
    (folder / "data").mkdir()
    (folder / "data" / "ä b.txt").write_text("x\n")
    (folder / "link").symlink_to("data/ä b.txt")

    def git(*args: str) -> bytes:
        command = ["git", "-c", "core.autocrlf=false", "-C", str(folder), *args]
        return subprocess.run(command, env=environment, check=True, capture_output=True).stdout

    git("init", "-q")
    git("add", "-A")
    git("commit", "-q", "-m", "all")
    place.pin(f'tree = "{git("rev-parse", "HEAD^{tree}").decode().strip()}"')
    place.server.files[UPSTREAM] = git("archive", "--format=tar.gz", "--prefix=d-1/", "HEAD")
    run("fetch_sources.py", *place.args).ok()
    got = place.destination / "demo"
    assert (got / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (got / "link").read_text() == "x\n"


def test_an_address_that_only_apt_understands(place: Place, run: Run) -> None:
    addresses = place.base / "mirrors.txt"
    addresses.write_text(f"{place.server.url}/debian/\n")
    place.apt(f"deb mirror+file:{addresses} stable main\n", "m.list")
    place.server.files[POOL] = archive(FILES, mode="w:xz")
    out = run("fetch_sources.py", *place.args).ok()
    assert "downloading through apt" in out
    assert place.fetched() == FILES


def test_unreachable_upstream_is_said_once_and_does_not_stop(place: Place, run: Run) -> None:
    place.apt_mirror()
    place.pin(url="http://127.0.0.1:1/demo")
    text = place.pins.read_text()
    place.pins.write_text(text + text.replace('name = "demo"', 'name = "again"'))
    place.server.files[POOL] = archive(FILES, mode="w:xz")
    started = time.monotonic()
    out = run("fetch_sources.py", *place.args).ok()
    assert time.monotonic() - started < 20
    assert out.count("is unreachable") == 1
    assert out.count("verified (tree)") == 2


def test_a_cached_archive_of_either_kind_needs_no_network(place: Place, run: Run) -> None:
    for name, mode in ((f"demo-{COMMIT}.tar.gz", "w:gz"), (f"demo_{VERSION}.orig.tar.xz", "w:xz")):
        path = place.cached(archive(FILES, mode=mode), name)
        assert "from the cached archive" in run("fetch_sources.py", "--offline", *place.args).ok()
        assert place.fetched() == FILES
        subprocess.run(["rm", "-rf", place.destination, path], check=True)
    assert place.server.log == []


def test_a_subset_is_taken_file_by_file(place: Place, run: Run) -> None:
    place.subset({"LICENSE": FILES["LICENSE"], "src/main.c": FILES["src/main.c"]})
    place.server.files[UPSTREAM] = archive(FILES)
    assert "verified (files)" in run("fetch_sources.py", *place.args).ok()
    assert set(place.fetched()) == {"LICENSE", "src/main.c"}
    assert "ok (files verified)" in run("fetch_sources.py", "--check", *place.args).ok()


def test_two_runs_at_once_take_turns(place: Place, environment: dict[str, str]) -> None:
    place.server.files[UPSTREAM] = archive(FILES)
    command = [sys.executable, ROOT / "scripts" / "fetch_sources.py", *place.args]
    both = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("from the public upstream" in out for out in outs) == 1
    assert sum("up to date" in out for out in outs) == 1


# Interrupted downloads


def test_a_dropped_connection_is_resumed(place: Place, run: Run) -> None:
    body = place.server.files[UPSTREAM] = archive(FILES)
    place.server.drop_after, place.server.drops = len(body) // 3, 2
    run("fetch_sources.py", *place.args).ok()
    assert place.fetched() == FILES
    assert place.server.sent == len(body), "every byte is sent once"
    assert [wanted is not None for _, wanted in place.server.log] == [False, True, True]


def test_a_killed_run_is_resumed_by_the_next(
    place: Place, run: Run, environment: dict[str, str]
) -> None:
    body = place.server.files[UPSTREAM] = archive(FILES)
    place.server.drop_after, place.server.drops = len(body) // 2, 1
    place.server.stall = threading.Event()
    process = subprocess.Popen(
        [sys.executable, ROOT / "scripts" / "fetch_sources.py", *place.args],
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    part = place.cache / f"demo-{COMMIT}.tar.gz.part"
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size == len(body) // 2):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    place.server.stall.set()
    assert place.nothing_there()
    run("fetch_sources.py", *place.args).ok()
    assert place.fetched() == FILES
    assert place.server.log[-1] == (UPSTREAM, f"bytes={len(body) // 2}-")
    assert list(place.cache.glob("*.part*")) == []


def test_without_ranges_it_starts_again(place: Place, run: Run) -> None:
    body = place.server.files[UPSTREAM] = archive(FILES)
    place.server.ranges = False
    place.server.drop_after, place.server.drops = len(body) // 2, 1
    run("fetch_sources.py", *place.args).ok()
    assert place.fetched() == FILES


def test_a_partial_file_of_other_content_is_not_continued(place: Place, run: Run) -> None:
    body = place.server.files[UPSTREAM] = archive(FILES)
    part = place.cached(b"\0" * (len(body) // 2), f"demo-{COMMIT}.tar.gz.part")
    state = {"url": place.server.url + UPSTREAM, "validator": '"of yesterday"'}
    Path(f"{part}.json").write_text(json.dumps(state))
    run("fetch_sources.py", *place.args).ok()
    assert place.fetched() == FILES


def test_a_connection_that_always_breaks_is_an_error_and_keeps_what_came(
    place: Place, run: Run
) -> None:
    body = place.server.files[UPSTREAM] = archive(FILES)
    place.server.drop_after, place.server.drops = len(body) // 10, -1
    error = run("fetch_sources.py", *place.args).error()
    assert f"of {len(body)} bytes" in error
    assert place.nothing_there()
    place.server.drops = 0
    run("fetch_sources.py", *place.args).ok()
    assert place.server.sent == len(body)


# What is already there


def test_check_finds_every_kind_of_damage_and_a_run_mends_it(place: Place, run: Run) -> None:
    place.cached(archive(FILES))
    assert "not fetched yet" in run("fetch_sources.py", "--check", *place.args).error()
    run("fetch_sources.py", *place.args).ok()
    folder = place.destination / "demo"
    for damage in (
        lambda: (folder / "LICENSE").unlink(),
        lambda: (folder / "src" / "main.c").write_bytes(b"int main.\n"),
        lambda: (folder / "src" / "extra").write_bytes(b""),
        lambda: (folder / "LICENSE").chmod(0o755),
    ):
        damage()
        assert "expected git tree" in run("fetch_sources.py", "--check", *place.args).error()
        assert "unpacking it again" in run("fetch_sources.py", *place.args).ok()
        assert "ok (tree verified)" in run("fetch_sources.py", "--check", *place.args).ok()
        assert place.fetched() == FILES


def test_other_file_times_alone_do_not_unpack_again(place: Place, run: Run) -> None:
    place.cached(archive(FILES))
    run("fetch_sources.py", *place.args).ok()
    os.utime(place.destination / "demo" / "LICENSE", (1, 1))
    assert "verified again by hash" in run("fetch_sources.py", "--offline", *place.args).ok()
    assert run("fetch_sources.py", "--offline", *place.args).ok() == "demo: up to date\n"


def test_what_a_killed_run_left_is_cleared(place: Place, run: Run) -> None:
    stale = place.destination / ".tmp-demo-abc" / "tree"
    stale.mkdir(parents=True)
    place.cached(archive(FILES))
    run("fetch_sources.py", *place.args).ok()
    assert place.leftovers() == []


def test_a_changed_pin_replaces_what_is_there(place: Place, run: Run) -> None:
    place.cached(archive(FILES))
    run("fetch_sources.py", *place.args).ok()
    other = {"LICENSE": b"another\n"}
    place.pin(f'tree = "{expected_tree(place.base / "other", other)}"')
    place.cached(archive(other))
    run("fetch_sources.py", *place.args).ok()
    assert place.fetched() == other


def test_help_teaches(run: Run) -> None:
    out = run("fetch_sources.py", "--help").ok()
    for word in ("--offline", "--check", "--only", "XDG_CACHE_HOME", "git tree id", "A second run"):
        assert word in out


# apt's source formats


def test_one_line_entries() -> None:
    text = (
        "# deb http://commented/ stable main\n"
        "deb http://one/debian stable main contrib # trailing\n"
        "deb-src [ arch=amd64,arm64 trusted=yes ] mirror+file:/etc/m.txt sid main\n"
        "rpm http://no/ x y\n\n"
    )
    entries = parse_one_line(text)
    assert [(e.uri, e.suites, e.components) for e in entries] == [
        ("http://one/debian", ("stable",), ("main", "contrib")),
        ("mirror+file:/etc/m.txt", ("sid",), ("main",)),
    ]


def test_deb822_entries() -> None:
    text = (
        "# first\nTypes: deb deb-src\nURIs: http://one/debian http://two/debian\n"
        "# inside\nSuites: trixie\n trixie-updates\nComponents: main\nSigned-By: /k\n"
        "\n\nEnabled: no\nTypes: deb\nURIs: http://off/\nSuites: sid\nComponents: main\n"
        "\nTypes: deb\nURIs: http://three/\nSuites: sid\nComponents: main\n"
    )
    entries = parse_deb822(text)
    assert [entry.uri for entry in entries] == [
        "http://one/debian",
        "http://two/debian",
        "http://three/",
    ]
    assert entries[0].suites == ("trixie", "trixie-updates")


def test_vendors_and_security_archives_are_not_asked(place: Place, run: Run) -> None:
    url = place.server.url
    place.apt(
        f"deb {url}/vendor cloud-tools main\ndeb {url}/security stable-security main\n"
        f"deb {url}/nonfree stable non-free\n",
        "m.list",
    )
    assert "name no distribution mirror" in run("fetch_sources.py", *place.args).error()
    assert [path for path, _ in place.server.log] == [UPSTREAM]
