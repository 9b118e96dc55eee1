# SPDX-License-Identifier: BSD-3-Clause
"""Running programs on Spike, which plays CV32E40P: its XCV instructions and when it issues each.

The same ELF files run here and on the RTL (:mod:`nmpack.mcu.rtl`), with the same results and, but
for ``zve32x``, cycles within 2 %; 50 times as fast. Spike's extension, ``mcu/spike``, is compiled
when it is first needed, into the user's cache.
"""

from __future__ import annotations

import concurrent.futures
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nmpack import locations
from nmpack.errors import MissingError
from nmpack.mcu.rtl import Report, SimulationError, region_of, simulated

_HOW = "run scripts/setup_mcu.py"
_PACKAGE = ".venv-mcu/lib/python3.11/site-packages/riscv/data"
_BASE = "rv32imc_zicsr_zifencei_zicclsm"
#: Spike's extension and instruction set for each target of a generated directory.
_MACHINES = {
    "rv32imc": ("nm_base", _BASE),
    "xcv": ("nm_xcv", _BASE),
    "xcv-nm": ("nm_xcv_gather", _BASE),
    "zve32x": ("nm_base_vector", f"{_BASE}_zve32x_zvl128b"),
}
# The wheel is built for old systems: it has the older layout of std::string.
_FLAGS = (
    *("-std=c++20", "-O2", "-fPIC", "-D_GLIBCXX_USE_CXX11_ABI=0"),
    *("-Wall", "-Wextra", "-Wno-unused-parameter"),
)
_COMPILERS = ("clang++-19", "g++")


@dataclass(frozen=True, slots=True)
class ModelledReport(Report):
    """How a program ran on Spike.

    Attributes:
        counts: for each of ``regions``, by name what ``mcu/spike/pipeline.h`` counts: instructions
            of each class, stalls of loads and of jumps, branches taken, misaligned targets and
            accesses, cycles of divisions, hardware loops going back.
    """

    counts: tuple[Mapping[str, int], ...]


def run(
    program: Path,
    *,
    target: str = "xcv-nm",
    cycles: int = 400_000_000_000,
    timeout: float = 600.0,
) -> ModelledReport:
    """Run an ELF program that :func:`nmpack.mcu.toolchain.build` linked.

    On ``zve32x`` each vector instruction counts as one cycle: instructions are exact there, cycles
    are not a model of anything.

    Args:
        program: the ELF file.
        target: ``rv32imc``, ``xcv``, ``xcv-nm`` or ``zve32x``: instructions of others are illegal.
        cycles: the most that it may take, modelled.
        timeout: seconds.

    Raises:
        SimulationError: it accessed memory that is not there, broke a rule of hardware loops, did
            not end, or is not a program.
        MissingError: Spike or a compiler is missing.
    """
    if target not in _MACHINES:
        raise SimulationError(f"expected a target of {', '.join(_MACHINES)}, got {target!r}")
    name, isa = _MACHINES[target]
    command = [
        *(str(_package() / "bin/spike"), f"--isa={isa}", "--priv=m", "-m0x80000000:0x4000000"),
        *(f"--extlib={extension()}", f"--extension={name}"),
    ]
    environment = {**os.environ, "NM_SPIKE_CYCLES": str(cycles)}
    output, rows = simulated(command, program, timeout, environment)
    regions = tuple(region_of(row["region"], row) for row in rows[:-1])
    counts = tuple(dict(row["counts"]) for row in rows[:-1])
    return ModelledReport(regions, rows[-1]["exit"], output, region_of(0, rows[-1]), counts)


@functools.cache
def extension() -> Path:
    """Return Spike's extension, compiled from ``mcu/spike`` unless the cache has it.

    Raises:
        MissingError: Spike, its sources or a compiler are missing, or they do not fit together.
    """
    folder = locations.ROOT / "mcu/spike"
    sources = sorted(folder.glob("*.cc"))
    if not sources:
        raise MissingError(f"{folder} is missing: Spike runs from nmpack's source tree only")
    compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if compiler is None:
        raise MissingError(f"expected {' or '.join(_COMPILERS)}, found none")
    digest = hashlib.sha256("\0".join([compiler, *_FLAGS]).encode())
    for path in [*sorted(folder.glob("*.h")), *sources, _package() / "include/riscv/encoding.h"]:
        digest.update(path.read_bytes())
    library = locations.cache_folder() / "mcu/spike" / f"{digest.hexdigest()[:16]}.so"
    if library.is_file():
        return library
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent, prefix=".making-") as name:
        made = Path(name) / "extension.so"
        include = ["-isystem", str(_package() / "include")]
        objects = [Path(name) / f"{source.stem}.o" for source in sources]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            compiling = [
                pool.submit(_compile, [compiler, *_FLAGS, "-c", *include, str(one), "-o", str(to)])
                for one, to in zip(sources, objects, strict=True)
            ]
            for one in compiling:
                one.result()
        _compile([compiler, "-shared", *map(str, objects), "-o", str(made)])
        made.replace(library)
    return library


def _compile(command: list[str]) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = "\n".join(done.stderr.splitlines()[:20])
        raise MissingError(f"Spike's extension does not compile:\n{said}")


def _package() -> Path:
    """Return the folder of Spike in .venv-mcu."""
    package = locations.ROOT / _PACKAGE
    if not (package / "bin/spike").is_file():
        raise MissingError(f"{package / 'bin/spike'} is missing: {_HOW}")
    return package
