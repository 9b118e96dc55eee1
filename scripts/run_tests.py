#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs every test of a tree that scripts/setup.sh has set up, and counts.

scripts/test.sh sets up first; call it rather than this. Each stage goes on after another has
failed. The end is a table and, alone on the last line, 'N passed, M failed'.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import time
import xml.etree.ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv/bin"
LOGS = ROOT / "build/logs"
CODE = ("python", "experiments", "scripts", "tests", "tools", "meson")
SANITIZED = (
    "drawn_convolutions",
    "drawn_networks",
    "drawn_operators",
    "fallback",
    "hostile_models",
    "life",
    "precision",
    "plugin",
    "profile",
    "soak",
    "sparse_filters",
    "tuning",
)


@dataclass(frozen=True, slots=True)
class Count:
    passed: int
    failed: int


@dataclass(frozen=True, slots=True)
class Stage:
    """A command, and the file that tells what its tests did; without one it is one test."""

    name: str
    what: str
    command: tuple[str, ...]
    results: Path | None = None
    environment: tuple[tuple[str, str], ...] = ()
    riscv64: bool = False


def stages(slow: bool) -> list[Stage]:
    python = str(BIN / "python")
    return [
        Stage("ruff", "lint", (str(BIN / "ruff"), "check", *CODE)),
        Stage("format", "layout", (str(BIN / "ruff"), "format", "--check", *CODE)),
        Stage("mypy", "types of python/nmpack, strict", (str(BIN / "mypy"),)),
        Stage("sources", "hashes of third_party", (python, "scripts/fetch_sources.py", "--check")),
        Stage(
            "patches",
            "series exact, apply, export the same",
            (python, "scripts/apply_patches.py", "--check"),
        ),
        _pytest("pytest", "scripts, Python, delegate in each interpreter", slow, "tests"),
        _meson("host", "kernels, operators, XNNPACK's own", slow),
        _meson(
            "asan",
            "kernels and operators with ASan and UBSan",
            slow,
            "--suite",
            "kernels",
            environment=(("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1"),),
        ),
        _pytest(
            "asan-delegate",
            "the delegate with both, in an interpreter without",
            slow,
            *(f"tests/delegate/test_{name}.py" for name in SANITIZED),
            environment=_sanitized(),
        ),
        _meson("riscv64", "the same under QEMU, VLEN 128 to 1024", slow, riscv64=True),
    ]


def _pytest(
    name: str,
    what: str,
    slow: bool,
    *tests: str,
    environment: tuple[tuple[str, str], ...] = (),
) -> Stage:
    junit = LOGS / f"{name}.xml"
    command = (str(BIN / "python"), "-m", "pytest", "-q", "-n", "auto", "--dist", "loadfile")
    marked = ("-m", "not peers and not browser and not aarch64 and not npm") if slow else ()
    results = (f"--junitxml={junit}", "--durations=10")
    # Processes share the processors; threads that wait for each other would waste them.
    threads = ("OMP_NUM_THREADS", "1")
    return Stage(name, what, (*command, *results, *marked, *tests), junit, (threads, *environment))


def _sanitized() -> tuple[tuple[str, str], ...]:
    """What loads build/asan's delegate into Python, which is not built with a sanitizer."""
    # Python and the interpreters leave memory behind when they end.
    leaks = "detect_leaks=0"
    memory = "allocator_may_return_null=1:max_allocation_size_mb=6144"
    runtime = subprocess.run(
        ["clang-19", f"-print-file-name=libclang_rt.asan-{platform.machine()}.so"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return (
        ("NMPACK_DELEGATE", str(ROOT / "build/asan/delegate/libnmpack_delegate.so")),
        ("LD_PRELOAD", runtime.stdout.strip()),
        ("ASAN_OPTIONS", f"{leaks}:abort_on_error=1:{memory}"),
        ("UBSAN_OPTIONS", "halt_on_error=1:abort_on_error=1:print_stacktrace=1"),
        # Damaged models of each kind: a process for each, slow to start.
        ("NMPACK_DAMAGE_COUNT", "40"),
    )


def _meson(
    name: str,
    what: str,
    slow: bool,
    *options: str,
    environment: tuple[tuple[str, str], ...] = (),
    riscv64: bool = False,
) -> Stage:
    folder = ROOT / "build" / name
    setup = "all" if slow else "default"
    command = (str(BIN / "meson"), "test", "-C", str(folder), "--no-rebuild", "--setup", setup)
    log = folder / "meson-logs" / f"testlog-{setup}.json"
    return Stage(
        name,
        what,
        (*command, "--print-errorlogs", *options),
        log,
        environment,
        riscv64,
    )


def read_results(path: Path) -> Count:
    """pytest's tests (JUnit XML), or the programs that Meson ran (a line of JSON for each)."""
    if path.suffix == ".xml":
        suites = xml.etree.ElementTree.parse(path).getroot().iter("testsuite")
        total = failed = 0
        for suite in suites:
            total += int(suite.get("tests", 0))
            # No test here may be skipped.
            failed += sum(int(suite.get(key, 0)) for key in ("failures", "errors", "skipped"))
        return Count(total - failed, failed)
    results = [json.loads(line)["result"] for line in path.read_text("utf-8").splitlines()]
    passed = sum(result == "OK" for result in results)
    return Count(passed, len(results) - passed)


@dataclass(frozen=True, slots=True)
class Outcome:
    stage: Stage
    count: Count
    seconds: float


def run(stage: Stage) -> Outcome:
    print(f"\n=== {stage.name}: {stage.what}\n$ {_shown(stage.command)}", flush=True)
    if stage.results is not None:
        stage.results.unlink(missing_ok=True)
    started = time.monotonic()
    environment = {**os.environ, **dict(stage.environment)}
    environment["PATH"] = f"{BIN}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        stage.command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False
    )
    failed = done.returncode != 0
    count = Count(int(not failed), int(failed))
    if stage.results is not None:
        try:
            count = read_results(stage.results)
        except (OSError, ValueError, KeyError, xml.etree.ElementTree.ParseError) as error:
            print(f"test.sh: {stage.name} left no results to count: {error}", file=sys.stderr)
            count = Count(0, 1)
        if (failed and count.failed == 0) or count.passed + count.failed == 0:
            count = Count(count.passed, 1)
    return Outcome(stage, count, time.monotonic() - started)


def _shown(command: Sequence[str]) -> str:
    return shlex.join(word.removeprefix(f"{ROOT}/") for word in command)


def table(outcomes: list[Outcome]) -> str:
    rows = [("stage", "time", "passed", "failed", "")]
    for one in outcomes:
        verdict = "FAILED" if one.count.failed else "ok"
        passed, failed = str(one.count.passed), str(one.count.failed)
        rows.append((one.stage.name, f"{one.seconds:.1f} s", passed, failed, verdict))
    seconds = sum(one.seconds for one in outcomes)
    rows.append(("all", f"{seconds:.1f} s", *map(str, totals(outcomes)), ""))
    return "\n".join(f"{a:<14}{b:>10}{c:>9}{d:>9}  {e}".rstrip() for a, b, c, d, e in rows)


def totals(outcomes: list[Outcome]) -> tuple[int, int]:
    return sum(one.count.passed for one in outcomes), sum(one.count.failed for one in outcomes)


def main() -> int:
    names = [stage.name for stage in stages(slow=False)]
    parser = argparse.ArgumentParser(
        prog="test.sh",
        description=__doc__,
        epilog="example: scripts/test.sh --only pytest --only host",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--slow",
        action="store_true",
        help="also what takes minutes under QEMU, and thousands of drawn models",
    )
    parser.add_argument(
        "--only", action="append", choices=names, metavar="STAGE", help="just this; repeatable"
    )
    parser.add_argument("--no-riscv64", action="store_true", help="leave riscv64 out")
    parser.add_argument("--list", action="store_true", help="list the stages and end")
    options = parser.parse_args()
    chosen = [
        stage
        for stage in stages(options.slow)
        if (options.only is None or stage.name in options.only)
        and not (options.no_riscv64 and stage.riscv64)
    ]
    if options.list:
        print("\n".join(f"{stage.name:<14}{stage.what}" for stage in chosen))
        return 0
    LOGS.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    try:
        for stage in chosen:
            outcomes.append(run(stage))
    except KeyboardInterrupt:
        print("\ntest.sh: interrupted", file=sys.stderr)
        return 130
    passed, failed = totals(outcomes)
    print(f"\n{table(outcomes)}\n\n{passed} passed, {failed} failed")
    return 1 if failed or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
