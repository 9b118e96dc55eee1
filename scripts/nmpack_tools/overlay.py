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
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .console import ToolError
from .kernelfiles import HASH, TABLES, Kernel, hash_header, kernels, texts
from .kernelspec import Spec
from .specrows import SPEC

# XNNPACK's own tool leaves these out: no microkernels live there.
_NOT_KERNELS = {"configs", "enums", "operators", "reference", "subgraph", "tables", "xnnpack"}
_UKERNEL = re.compile(r"\bxnn_\w+_ukernel(?:_[a-z0-9]+)*__[a-z0-9_]+\b")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
# What takes the time of our operators, beside the kernels, and of the dense ones, which records
# compare them with.
_TIMED = (
    *("src/operators/nm-*.c", "src/reference/nm-*.c", "src/xnnpack/nm-*.h"),
    *("src/operators/convolution-nhwc.c", "src/operator-run.c", "src/operator-utils.c"),
    *("src/configs/gemm-config.c", "src/configs/nm-narrow-gemm-config.c"),
    *("src/f32-*gemm/**/*.[cS]", "src/f16-*gemm/**/*.[cS]", "src/qs8-qc8w-*gemm/**/*.[cS]"),
)
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


@dataclass(frozen=True, slots=True)
class Expansion:
    """One file that xngen makes of a template."""

    name: str
    template: PurePosixPath
    path: PurePosixPath
    defines: list[str]


def generate(tree: Path, spec: Spec, files: list[PurePosixPath]) -> list[PurePosixPath]:
    """Writes in the tree what kernels.toml stands for, and what XNNPACK's scripts make of our
    templates; returns the files."""
    outputs = texts(spec)
    ours = [_expansion(kernel) for kernel in kernels(spec)]
    expanded = [*ours, *_scripted(tree, files, {each.template for each in ours})]
    made = [*outputs, *(each.path for each in expanded)]
    for path in made:
        if (tree / path).exists():
            raise ToolError(f"kernels/{SPEC} would overwrite {path}, a file of the tree")
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
    for path, text in outputs.items():
        (tree / path).write_text(text, encoding="utf-8")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda each: _expand(tree, each), expanded))
    if any(path == TABLES for path in made):
        _write_hash(tree, [each.path for each in ours])
        made.append(HASH)
    return made


def _write_hash(tree: Path, expanded: list[PurePosixPath]) -> None:
    """Writes what tells these kernels and operators, ours and dense ones, from others: records of
    times go by it."""
    digest = hashlib.sha256()
    others = (path.relative_to(tree) for pattern in _TIMED for path in tree.glob(pattern))
    for path in sorted([*expanded, *map(PurePosixPath, others)]):
        digest.update(str(path).encode() + b"\0" + (tree / path).read_bytes() + b"\0")
    (tree / HASH).write_text(hash_header(digest.hexdigest()[:16]), encoding="utf-8")


def _expansion(kernel: Kernel) -> Expansion:
    defines = [f"{key}={value}" for key, value in kernel.defines.items()]
    return Expansion(kernel.name, kernel.template, kernel.path, defines)


def _scripted(tree: Path, files: list[PurePosixPath], known: set[PurePosixPath]) -> list[Expansion]:
    """What XNNPACK's scripts/generate-*.sh make of those templates of ours that are not known.

    These are micro-kernels of families that XNNPACK has: patches add their lines to its scripts.
    """
    lines = [
        line.rstrip(" &").split()
        for script in sorted(tree.glob("scripts/generate-*.sh"))
        for line in script.read_text(encoding="utf-8").splitlines()
        if line.startswith("tools/xngen ")
    ]
    result = []
    for template in (path for path in files if path.suffix == ".in" and path not in known):
        found = [words for words in lines if words[1] == str(template)]
        if not found:
            raise ToolError(f"kernels/{template} is neither in {SPEC} nor in scripts/generate-*.sh")
        for words in found:
            options = list(zip(words[2::2], words[3::2], strict=True))
            path = PurePosixPath(dict(options)["-o"])
            defines = [value for key, value in options if key == "-D"]
            result.append(Expansion(path.stem, template, path, defines))
    return result


def _expand(tree: Path, each: Expansion) -> None:
    if not (tree / each.template).is_file():
        raise ToolError(f"kernels/{each.template} is missing: {SPEC} has {each.name}")
    command = [sys.executable, "-B", "tools/xngen", str(each.template), "-o", str(each.path)]
    for define in each.defines:
        command += ["-D", define]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    made = tree / each.path
    if done.returncode != 0 or not made.is_file() or made.stat().st_size == 0:
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
        reason = lines[-1] if lines else "no message"
        raise ToolError(f"kernels/{each.template} does not expand to {each.name}: {reason}")


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
