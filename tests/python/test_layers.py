# SPDX-License-Identifier: BSD-3-Clause
"""Which room of the package may import from which: from those before it in ``ROOMS``, no others."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nmpack

PACKAGE = Path(nmpack.__file__).parent
#: A room's name stands for a package or a single module. Rooms of one line do not know each other.
ROOMS = (
    ("errors", "progress"),
    ("element_types", "files", "locations", "modes", "quiet", "refusals", "terminal"),
    ("sparsity", "datasets", "checkpointing", "models"),
    ("tflite", "sources"),
    ("runtime", "checks"),
    ("measure", "torch", "keras", "plans", "quantize", "mcu"),
    ("budget", "training", "convert"),
    ("rvv", "peers", "report"),
    ("tune",),
    ("cli",),
    ("demo", "__main__"),
)


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """Yield what a module imports of nmpack, also late, as parts of the name after ``nmpack``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            first, *rest = name.split(".")
            if first == "nmpack" and rest:
                yield tuple(rest)


def room_of(parts: tuple[str, ...]) -> str:
    return parts[0].removesuffix(".py")


def test_every_module_is_in_a_room() -> None:
    names = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    known = {name for line in ROOMS for name in line}
    assert names - {"__pycache__", "__init__"} == known


def test_rooms_import_from_rooms_before_them() -> None:
    place = {name: number for number, line in enumerate(ROOMS) for name in line}
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        room = room_of(path.relative_to(PACKAGE).parts)
        if room == "__init__":  # what users see: all of it
            continue
        for parts in imports(path):
            other = room_of(parts)
            # A name of nmpack itself, as __version__, is no room.
            if other != room and other in place and place[other] >= place[room]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports nmpack.{'.'.join(parts)}")
    assert not wrong, "\n".join(wrong)


def test_the_library_draws_nothing() -> None:
    drawing = {
        path.relative_to(PACKAGE).parts[0]
        for path in PACKAGE.rglob("*.py")
        if {"rich", "nmpack.terminal"} & {*(words := set(_foreign(path))), *map(_package, words)}
    }
    assert drawing <= {"cli", "demo", "rvv", "terminal.py"}


def _package(module: str) -> str:
    return module.split(".")[0]


def _foreign(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_the_command_needs_no_framework_to_start() -> None:
    """The demo runs a model before any framework is installed."""
    code = (
        "import sys\n"
        "for name in ('torch', 'tensorflow', 'keras', 'litert_torch', 'scipy'):\n"
        "    sys.modules[name] = None\n"
        "import nmpack.cli, nmpack.demo.__main__\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
