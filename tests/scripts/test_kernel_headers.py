# SPDX-License-Identifier: BSD-3-Clause
"""How the overlay's C files hang together: no circle of includes, operators below graphs, names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "kernels"
TREE = ROOT / "third_party/patched/xnnpack"
#: What decides over a graph. What runs a layer knows nothing of it.
GRAPH_HEADERS = {"xnnpack/nm-choice.h", "xnnpack/nm-min-cut.h", "xnnpack/nm-subgraph.h"}
#: Names of ours in folders that XNNPACK has, too; the families of micro-kernels have their own.
OURS = re.compile(r"nm[-a-z0-9]*\.[ch]|packim2col\.h")


def included(path: Path) -> list[str]:
    return re.findall(r'^#include "([^"]+)"', path.read_text(), re.MULTILINE)


def find(name: str) -> Path | None:
    """The header that an include names; None for those that are generated or another library's."""
    for folder in (KERNELS / "src", KERNELS / "include", TREE / "src", TREE / "include"):
        if (folder / name).is_file():
            return folder / name
    return None


def circle(start: str) -> list[str]:
    """A way from a header back to itself, or nothing."""
    stack = [[start]]
    seen = set()
    while stack:
        way = stack.pop()
        path = find(way[-1])
        for name in included(path) if path is not None else []:
            if name == start:
                return [*way, start]
            if name not in seen:
                seen.add(name)
                stack.append([*way, name])
    return []


@pytest.mark.parametrize(
    "path", sorted((KERNELS / "src/xnnpack").glob("*.h")), ids=lambda p: p.name
)
def test_no_header_includes_itself(path: Path) -> None:
    assert circle(f"xnnpack/{path.name}") == []


def test_a_circle_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "src").mkdir()
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        (tmp_path / f"src/{name}.h").write_text(f'#include "{other}.h"\n')
    monkeypatch.setattr(f"{__name__}.KERNELS", tmp_path)
    assert circle("a.h") == ["a.h", "b.h", "c.h", "a.h"]


@pytest.mark.parametrize("folder", ["configs", "operators", "reference"])
def test_what_runs_a_layer_knows_nothing_of_graphs(folder: str) -> None:
    files = sorted((KERNELS / "src" / folder).glob("*.c"))
    assert files
    for path in files:
        assert not GRAPH_HEADERS.intersection(included(path)), path.name


@pytest.mark.parametrize("folder", ["configs", "operators", "reference", "subgraph", "xnnpack"])
def test_our_files_are_told_by_their_names(folder: str) -> None:
    for path in (KERNELS / "src" / folder).iterdir():
        assert OURS.fullmatch(path.name), f"{path.name} does not start with nm"
