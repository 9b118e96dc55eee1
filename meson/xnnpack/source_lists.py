#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Print XNNPACK's source lists for Meson, one `name=file;file;...` a line.

The lists stay where XNNPACK keeps them: CMakeLists.txt and cmake/gen/<isa>_microkernels.cmake.
Printed are

    library       every source of the XNNPACK target but its microkernels: its own list and those
                  of all object libraries that it links, directly or not
    tables        the lookup tables that microkernels share
    prod_<isa>    the microkernels of one instruction set that the library uses
    non_prod_<isa>  the others, which only tests and benchmarks need
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

COMMAND = re.compile(r"^[ \t]*(SET|ADD_LIBRARY|TARGET_LINK_LIBRARIES)\s*\(([^()]*)\)", re.M | re.I)
KERNELS = re.compile(r"(PROD|NON_PROD)_(\w+)_MICROKERNEL_SRCS")
KEYWORDS = {"INTERFACE", "OBJECT", "PRIVATE", "PUBLIC", "SHARED", "STATIC"}
MICROKERNELS = "microkernels-prod"


class ListError(Exception):
    """A list is not where XNNPACK keeps it."""


def commands(text: str) -> list[tuple[str, list[str]]]:
    """The commands of a CMake file that define lists, as (NAME, arguments), comments removed."""
    text = re.sub(r"#.*", "", text)
    return [(name.upper(), arguments.split()) for name, arguments in COMMAND.findall(text)]


def is_source(word: str) -> bool:
    return word.startswith("src/")


class Lists:
    """What the commands of XNNPACK's CMake files add up to."""

    def __init__(self) -> None:
        self.variables: dict[str, list[str]] = {}
        self.sources: dict[str, list[str]] = {}
        self.links: dict[str, list[str]] = {}

    def read(self, path: Path) -> None:
        for name, (first, *rest) in commands(path.read_text(encoding="utf-8")):
            words = [word for word in self.expand(rest) if word not in KEYWORDS]
            if name == "SET":
                self.variables[first] = words
            elif name == "ADD_LIBRARY":
                self.sources.setdefault(first, []).extend(filter(is_source, words))
            else:
                self.links.setdefault(first, []).extend(words)

    def expand(self, words: list[str]) -> list[str]:
        expanded: list[str] = []
        for word in words:
            variable = re.fullmatch(r"\$\{(\w+)\}", word)
            expanded += self.variables.get(variable[1], []) if variable else [word]
        return expanded

    def library(self, target: str) -> list[str]:
        """Sources of `target` and of all libraries here that it links, microkernels left out."""
        if target not in self.sources:
            raise ListError(f"expected ADD_LIBRARY({target} ...), found no such command")
        seen: set[str] = set()
        files: set[str] = set()
        waiting = [target]
        while waiting:
            current = waiting.pop()
            if current not in seen and current != MICROKERNELS:
                seen.add(current)
                files.update(self.sources.get(current, []))
                waiting += self.links.get(current, [])
        return sorted(files)

    def tables(self) -> list[str]:
        if "TABLE_SRCS" not in self.variables:
            raise ListError("expected SET(TABLE_SRCS ...), found no such command")
        return self.variables["TABLE_SRCS"]

    def named(self) -> dict[str, list[str]]:
        named = {"library": self.library("XNNPACK"), "tables": self.tables()}
        for variable, files in self.variables.items():
            kernels = KERNELS.fullmatch(variable)
            if kernels:
                named[f"{kernels[1]}_{kernels[2]}".lower()] = [*filter(is_source, files)]
        return named


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "files", nargs="+", type=Path, help="cmake/gen/*_microkernels.cmake, then CMakeLists.txt"
    )
    lists = Lists()
    files: list[Path] = parser.parse_args().files
    try:
        for path in files:
            lists.read(path)
        named = lists.named()
    except (OSError, ListError) as error:
        print(f"{Path(__file__).name}: {files[-1]}: {error}", file=sys.stderr)
        return 1
    for name, sources in named.items():
        print(f"{name}={';'.join(sources)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
