# SPDX-License-Identifier: BSD-3-Clause
"""Our own files in XNNPACK's tree: copied, expanded from templates, and entered in its lists."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from .console import ToolError
from .kernelfiles import HASH, TABLES, Kernel, hash_header, kernels, texts
from .kernelspec import Spec
from .specrows import SPEC

# XNNPACK's own tool leaves these out: no microkernels live there.
_NOT_KERNELS = {"configs", "enums", "operators", "reference", "subgraph", "tables", "xnnpack"}
_UKERNEL = re.compile(r"\bxnn_\w+_ukernel(?:_[a-z0-9]+)*__[a-z0-9_]+\b")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
# What takes the time of our operators, beside the kernels.
_TIMED = ("src/operators/nm-*.c", "src/reference/nm-*.c", "src/xnnpack/nm-*.h")
_JUNK = ("*~", "*.swp", "*.orig", "*.rej", "*.tmp", ".*", "#*#")


def overlay_files(overlay: Path) -> list[PurePosixPath]:
    """Every file of the overlay's folders, relative; editors' leftovers and caches do not count."""
    found = []
    for folder in sorted(p for p in overlay.glob("*") if p.is_dir()):
        for path in sorted(folder.rglob("*")):
            relative = PurePosixPath(path.relative_to(overlay).as_posix())
            if "__pycache__" in relative.parts or any(relative.match(junk) for junk in _JUNK):
                continue
            if path.is_symlink():
                raise ToolError(f"{overlay.name}/{relative} is a symbolic link, expected a file")
            if path.is_file():
                found.append(relative)
    return found


def copy_overlay(overlay: Path, tree: Path) -> list[PurePosixPath]:
    """Copies the overlay into the tree. It may only add files: edits are patches' business."""
    files = overlay_files(overlay)
    for relative in files:
        target = tree / relative
        if target.exists():
            raise ToolError(
                f"{overlay.name}/{relative} would overwrite a file of the tree; "
                "the overlay only adds files, edit existing ones with a patch"
            )
        if "gen" in relative.parts[:-1]:
            raise ToolError(
                f"{overlay.name}/{relative} lies in a gen folder: those are generated, remove it"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(overlay / relative, target)
        target.chmod(0o755 if (overlay / relative).stat().st_mode & 0o100 else 0o644)
    return files


def generate(tree: Path, spec: Spec) -> list[PurePosixPath]:
    """Writes in the tree what kernels.toml stands for; returns the files."""
    outputs = texts(spec)
    expanded = kernels(spec)
    made = [*outputs, *(kernel.path for kernel in expanded)]
    for path in made:
        if (tree / path).exists():
            raise ToolError(f"kernels/{SPEC} would overwrite {path}, a file of the tree")
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
    for path, text in outputs.items():
        (tree / path).write_text(text, encoding="utf-8")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda kernel: _expand(tree, kernel), expanded))
    if any(path == TABLES for path in made):
        _write_hash(tree, [kernel.path for kernel in expanded])
        made.append(HASH)
    return made


def _write_hash(tree: Path, expanded: list[PurePosixPath]) -> None:
    """Writes what tells these kernels and operators from others: records of times go by it."""
    digest = hashlib.sha256()
    others = (path.relative_to(tree) for pattern in _TIMED for path in tree.glob(pattern))
    for path in sorted([*expanded, *map(PurePosixPath, others)]):
        digest.update(str(path).encode() + b"\0" + (tree / path).read_bytes() + b"\0")
    (tree / HASH).write_text(hash_header(digest.hexdigest()[:16]), encoding="utf-8")


def _expand(tree: Path, kernel: Kernel) -> None:
    if not (tree / kernel.template).is_file():
        raise ToolError(f"kernels/{kernel.template} is missing: {SPEC} has {kernel.name}")
    command = [sys.executable, "-B", "tools/xngen", str(kernel.template), "-o", str(kernel.path)]
    for key, value in kernel.defines.items():
        command += ["-D", f"{key}={value}"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    made = tree / kernel.path
    if done.returncode != 0 or not made.is_file() or made.stat().st_size == 0:
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
        reason = lines[-1] if lines else "no message"
        raise ToolError(f"kernels/{kernel.template} does not expand to {kernel.name}: {reason}")


def update_lists(tree: Path) -> None:
    """Runs XNNPACK's list generator. It ends with status 0 whatever happens: see check_lists()."""
    tool = tree / "tools" / "update-microkernels.py"
    done = subprocess.run(
        [sys.executable, "-B", str(tool)], cwd=tree, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise ToolError(f"tools/update-microkernels.py failed: {lines[-1]}")
    for line in done.stdout.splitlines():
        match = re.match(r"Duplicate microkernel definition: (\S+) and (\S+)", line)
        if match and match[1] != match[2]:
            raise ToolError(f"two files define the same microkernel: {match[1]} and {match[2]}")


def check_lists(tree: Path, files: list[PurePosixPath], generated: list[PurePosixPath]) -> int:
    """Fails unless every kernel of ours is in XNNPACK's lists; returns how many there are.

    Ours are: each expanded template, each hand-written kernel file of the overlay, and each name
    in an X-macro list (``src/<kind>/*.h``). The two must agree: each listed name is defined by one
    of those files, each file has a listed name.
    """
    ours = [path for path in [*generated, *files] if _is_kernel(path)]
    for suffix, pattern in (("cmake", "cmake/gen/*.cmake"), ("bzl", "gen/*.bzl")):
        listed: set[str] = set()
        for path in tree.glob(pattern):
            listed.update(re.findall(r"\bsrc/[\w./-]+", path.read_text(encoding="utf-8")))
        for kernel in ours:
            if str(kernel) not in listed:
                raise ToolError(
                    f"{kernel} is in none of XNNPACK's {suffix} microkernel lists; "
                    "its name must contain an ISA that tools/update-microkernels.py knows"
                )
    defined = {kernel: _ukernels(tree / kernel) for kernel in ours}
    known = {name for names in defined.values() for name in names}
    rows: dict[str, set[str]] = {}
    headers = [f for f in [*generated, *files] if f.match("src/*/*.h")]
    for header in (f for f in headers if f.parts[1] not in _NOT_KERNELS):
        names = _ukernels(tree / header)
        rows[header.parts[1]] = rows.get(header.parts[1], set()) | names
        if missing := names - known:
            raise ToolError(f"{header} lists {min(missing)}, but no kernel file defines it")
    for kernel, names in defined.items():
        if not names:
            raise ToolError(f"{kernel} defines no microkernel (no xnn_..._ukernel_...__... in it)")
        if not names & rows.get(kernel.parts[1], names):
            raise ToolError(f"{kernel} is in no X-macro list of src/{kernel.parts[1]}")
    return len(ours)


def _ukernels(path: Path) -> set[str]:
    return set(_UKERNEL.findall(_COMMENT.sub(" ", path.read_text(encoding="utf-8"))))


def _is_kernel(path: PurePosixPath) -> bool:
    return (
        path.suffix in (".c", ".S")
        and len(path.parts) > 2
        and path.parts[0] == "src"
        and path.parts[1] not in _NOT_KERNELS
    )
