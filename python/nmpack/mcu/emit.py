# SPDX-License-Identifier: BSD-3-Clause
"""Writes a program as a directory, whole or not at all."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nmpack.errors import MissingError, NmpackError
from nmpack.files import write_json
from nmpack.locations import mcu_kernels
from nmpack.mcu import emit_build, emit_c
from nmpack.mcu.compiler import Program
from nmpack.mcu.golden import Golden, golden_vectors
from nmpack.mcu.table import MADE_BY, report

#: The file that says that a directory is ours, with the numbers of the table.
MARK = "nmpack.json"
#: Vectors that a directory has unless told, and the seed of their inputs.
VECTORS, SEED = 2, 1
_FORMS = ("xcv", "xcv-nm", "zve32x")
_INCLUDE = re.compile(r'^\s*(?:#\s*include|\.include)\s+"([\w./-]+)"', re.MULTILINE)


def find_kernels() -> Path:
    """Return the folder of kernels: ``$NMPACK_MCU_KERNELS``, the source tree's or the package's.

    Raises:
        MissingError: there is none.
    """
    path = mcu_kernels()
    if not (path / "nm_mcu.h").is_file():
        raise MissingError(f"{path} has no nm_mcu.h: set NMPACK_MCU_KERNELS to the kernels' folder")
    return path


def golden_of(program: Program, count: int = VECTORS, seed: int = SEED) -> Golden:
    """Return golden vectors of a program (see :func:`~nmpack.mcu.golden.golden_vectors`)."""
    plan, graph = program.plan, program.graph
    layout = (
        (plan.input_offsets, plan.input_bytes),
        (plan.output_offsets, plan.output_bytes),
    )
    return golden_vectors(program.model, graph.inputs, graph.outputs, layout, count, seed)


def emit(program: Program, folder: str | Path, golden: Golden, *, force: bool = False) -> Path:
    """Write the directory of a program.

    It is made beside ``folder`` and takes its place. Of an earlier one, files that this package did
    not write stay.

    Args:
        program: what to write.
        folder: the directory.
        golden: its vectors.
        force: write into a directory that this package did not make, too.

    Returns:
        The directory.

    Raises:
        NmpackError: the directory is someone else's, or cannot be written.
        MissingError: the kernels are not there.
    """
    # A link stays a link: what it leads to is replaced.
    require_ours(folder, force=force)
    target = Path(os.path.realpath(folder))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    except OSError as error:
        raise NmpackError(f"{target}: cannot be written: {error.strerror or error}") from error
    try:
        made = beside / "new"
        made.mkdir()
        _write(program, made, golden)
        _take_place(made, target, beside / "old")
    except OSError as error:
        raise NmpackError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target


def require_ours(folder: str | Path, *, force: bool) -> None:
    """Check that a directory may be written.

    Raises:
        NmpackError: it is a file, or holds what this package did not write.
    """
    target = Path(folder)
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise NmpackError(f"{target}: expected a directory to write to, got a file")
    if Path.cwd().is_relative_to(target.resolve()):
        raise NmpackError(
            f"{target} is the current directory or above it: expected another one, because what is "
            "written takes its place"
        )
    if force or _manifest(target) is not None or not any(target.iterdir()):
        return
    raise NmpackError(
        f"{target} is a directory that nmpack mcu did not make: expected a new one, or --force to "
        "write among the files that are there"
    )


def _manifest(folder: Path) -> dict[str, Any] | None:
    """Return what an earlier run noted in a directory, None where it is not ours."""
    try:
        found = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or found.get("made_by") != MADE_BY:
        return None
    return found if isinstance(found.get("files"), list) else None


def _write(program: Program, folder: Path, golden: Golden) -> None:
    name = program.name
    kernels = find_kernels()
    sources = sorted({source for step in program.steps for source in step.sources})
    for file in kernel_files(kernels, sources):
        place = folder / "kernels" / file
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(kernels / file, place)
    texts: dict[str, Iterable[str]] = {
        f"{name}.h": [emit_c.header(program)],
        f"{name}.c": [emit_c.calls(program)],
        f"{name}_weights.h": [emit_c.weights_header(program)],
        f"{name}_weights.c": emit_c.weights(program),
        "golden.h": [emit_c.golden_header(program, golden)],
        "golden.c": emit_c.golden_text(program, golden),
        "main.c": [emit_build.main_text(program)],
        "self_test.c": [emit_build.self_test_text(program)],
        "Makefile": [emit_build.makefile(program, [Path(s).stem for s in sources])],
        "freestanding/string.h": [emit_build.filled("string.h", program)],
        "README.txt": [emit_build.readme_text(program)],
        "LICENSE": [_license(kernels).read_text(encoding="utf-8")],
    }
    (folder / "freestanding").mkdir()
    for file_name, pieces in texts.items():
        with (folder / file_name).open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(pieces)
    files = [*(str(path.relative_to(folder)) for path in _files(folder)), MARK]
    write_json(folder / MARK, report(program) | {"files": sorted(files)})


def kernel_files(kernels: Path, sources: Iterable[str]) -> list[Path]:
    """Return what a directory needs of the kernels, relative to their folder.

    Args:
        kernels: the folder.
        sources: portable files; each target's form of them is taken, too, and what they include.

    Raises:
        MissingError: one is not there.
    """
    wanted = [Path("nm_mcu.h"), *map(Path, sources)]
    for source in map(Path, sources):
        for form in _FORMS:
            wanted += [Path(form) / source.with_suffix(ending) for ending in (".S", ".c")]
    found: dict[Path, None] = {}
    required = {Path("nm_mcu.h"), *map(Path, sources)}
    while wanted:
        file = wanted.pop()
        if file in found:
            continue
        path = kernels / file
        if not path.is_file():
            if file in required:
                raise MissingError(f"{path} is missing: the kernels do not fit this nmpack")
            continue
        found[file] = None
        for included in _INCLUDE.findall(path.read_text(encoding="utf-8")):
            wanted += [file.parent / included, Path(included)]
    return sorted(found)


def _license(kernels: Path) -> Path:
    for path in (kernels / "LICENSE", kernels.parent.parent / "LICENSE"):
        if path.is_file():
            return path
    raise MissingError(f"{kernels} has no LICENSE beside it")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink())


def _take_place(made: Path, target: Path, aside: Path) -> None:
    """Put a directory in the place of an earlier one, with the files that are not ours."""
    made.chmod(0o777 & ~_mask())
    if target.is_dir():
        earlier = _manifest(target) or {}
        ours = {str(name) for name in earlier.get("files", ())} | {str(earlier.get("name", ""))}
        for path in _files(target):
            inner = path.relative_to(target)
            built = inner.parts[0] == "build" and earlier
            if not built and str(inner) not in ours and not os.path.lexists(made / inner):
                (made / inner).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, made / inner, follow_symlinks=False)
        target.rename(aside)
    try:
        made.rename(target)
    except OSError:
        if aside.is_dir():
            aside.rename(target)
        raise


def _mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
