# SPDX-License-Identifier: BSD-3-Clause
"""Compiling C and assembly for the targets of generated directories, with clang and lld."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from nmpack import locations
from nmpack.errors import MissingError, NmpackError

XCV = "xcvmem_xcvmac_xcvsimd_xcvalu_xcvbi_xcvbitmanip"
#: What clang's ``-march`` is for each target of a generated Makefile; "" is the machine we run on.
ARCHITECTURES = {
    "host": "",
    "rv32imc": "rv32imc_zicsr",
    "xcv": f"rv32imc_zicsr_{XCV}",
    "xcv-nm": f"rv32imc_zicsr_{XCV}",
    "zve32x": "rv32imc_zicsr_zve32x_zvl128b",
}
#: As in the generated Makefile: where loops begin, in a word or between two, is then the same in
#: every program, which is up to a tenth of their cycles.
ALIGNMENT = ("-falign-functions=4", "-falign-loops=4")
#: Warnings that kernels and generated C compile without.
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")


class CompileError(NmpackError):
    """A compiler or linker refused; the message ends with what it said."""


def clang() -> str:
    """Return the clang to use: ``clang-19``, else ``clang``.

    Raises:
        MissingError: there is none.
    """
    for name in ("clang-19", "clang"):
        if path := shutil.which(name):
            return path
    raise MissingError(f"expected clang-19, found none: {locations.REMEDY}, or install it")


def platform_folder() -> Path:
    """Return the folder of the simulators' start-up code and linker script."""
    folder = locations.ROOT / "mcu/platform"
    if not folder.is_dir():
        raise MissingError(f"{folder} is missing: simulators run from nmpack's source tree only")
    return folder


def target_flags(target: str) -> list[str]:
    """Return the words by which clang compiles for ``target``, one of :data:`ARCHITECTURES`.

    Raises:
        CompileError: no such target.
    """
    if target not in ARCHITECTURES:
        raise CompileError(f"expected a target of {', '.join(ARCHITECTURES)}, got {target!r}")
    if target == "host":
        return []
    machine = ["--target=riscv32-unknown-elf", f"-march={ARCHITECTURES[target]}", "-mabi=ilp32"]
    defines = ["-DNM_GATHER=1"] if target == "xcv-nm" else []
    # As in generated Makefiles: a linker that moves code would undo what the assembler aligned.
    return [*machine, *defines, *ALIGNMENT, "-ffreestanding", "-fno-pic", "-mno-relax"]


def build(
    sources: Sequence[Path],
    output: Path,
    *,
    target: str,
    include: Sequence[Path] = (),
    defines: Mapping[str, object] | None = None,
    flags: Sequence[str] = ("-O2",),
    warnings: Sequence[str] = WARNINGS,
    timeout: float = 300.0,
) -> Path:
    """Compile and link a program; simulators' start-up code joins it unless it is the host's.

    Args:
        sources: C and assembly (``.S``).
        output: the program to write.
        target: one of :data:`ARCHITECTURES`.
        include: folders of headers.
        defines: macros.
        flags: optimization, sanitizers and the like.
        warnings: empty for code that is not ours.
        timeout: seconds.

    Returns:
        ``output``.

    Raises:
        CompileError: it does not compile or link, or takes too long.
        MissingError: there is no clang, or no start-up code.
    """
    words = [clang(), *target_flags(target), "-std=c11", *flags, *warnings]
    folders = list(include)
    files = list(sources)
    if target == "host":
        words += ["-lm"]
    else:
        platform = platform_folder()
        folders.append(platform)
        files += [platform / "crt.S", *sorted(platform.glob("*.c"))]
        linker = ["-nostdlib", "-static", "-fuse-ld=lld", "-T", str(platform / "link.ld")]
        words += [*linker, "-Wl,--gc-sections", "-ffunction-sections", "-fdata-sections"]
    words += [f"-I{folder}" for folder in folders]
    words += [f"-D{name}={value}" for name, value in (defines or {}).items()]
    words += [*map(str, files), "-o", str(output)]
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        raise CompileError(f"{output.name} did not compile within {timeout:.0f} s") from None
    if done.returncode != 0:
        said = "\n".join(done.stderr.splitlines()[:40])
        raise CompileError(f"{output.name} does not compile for {target}:\n{said}")
    return output
