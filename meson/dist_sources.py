#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Adds to a source distribution the sources that git does not hold, patched, as they are built.

Meson runs it when it makes the archive. What only tests, benchmarks or other build systems read
stays out.
"""

import os
import shutil
import sys
from pathlib import Path

SOURCE = Path(os.environ["MESON_SOURCE_ROOT"])
DIST = Path(os.environ["MESON_DIST_ROOT"])

#: Folders and files below third_party/, and patterns of what is left out of them.
TREES = {
    "patched/xnnpack": (
        "CMakeLists.txt",
        "LICENSE",
        "cmake/gen",
        "include",
        "scripts/generate-build-identifier.py",
        "src",
    ),
    "patched/tensorflow": (".",),
    "pthreadpool": ("CMakeLists.txt", "LICENSE", "include", "src"),
    "cpuinfo": ("CMakeLists.txt", "LICENSE", "include", "src"),
    "fxdiv": ("LICENSE", "include"),
    "fp16": ("LICENSE", "include"),
    "flatbuffers": (".",),
}
#: Of the headers that a build takes from the system: the folder there, and what of it is read.
HEADERS = {"eigen3": ("Eigen", "unsupported/Eigen/CXX11"), "gemmlowp": (".",)}
#: And the packages that say their licences.
PACKAGES = {"eigen3": "libeigen3-dev", "gemmlowp": "libgemmlowp-dev"}
LEFT_OUT = shutil.ignore_patterns(".git", "*.in", "*.bzl", "*.bazel", "*_test.cc")


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=LEFT_OUT, dirs_exist_ok=True, symlinks=False)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def main() -> int:
    missing = []
    headers = Path(os.environ.get("NMPACK_HEADERS", "/usr/include"))
    for root, target, trees in (
        (SOURCE / "third_party", DIST / "third_party", TREES),
        (headers, DIST / "third_party/headers", HEADERS),
    ):
        for tree, names in trees.items():
            for name in names:
                path = root / tree / name
                if path.exists():
                    copy(path, target / tree / name)
                else:
                    missing.append(str(path))
    for name, package in PACKAGES.items():
        licence = headers.parent / "share/doc" / package / "copyright"
        if licence.exists():
            copy(licence, DIST / "third_party/headers" / name / "LICENSE")
        else:
            missing.append(str(licence))
    if missing:
        print(f"expected {', '.join(missing)}, found none; run scripts/setup.sh", file=sys.stderr)
        return 1
    # Files that were fetched have the hour of that; two archives of a commit are the same.
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        for path in (DIST / "third_party").rglob("*"):
            os.utime(path, (int(epoch), int(epoch)), follow_symlinks=False)
    return 0


sys.exit(main())
