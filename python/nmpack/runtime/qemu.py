# SPDX-License-Identifier: BSD-3-Clause
"""Run a model on riscv64 under user-mode QEMU: ``nmpack-run`` with the distribution's TFLite.

Results are what matters here: QEMU's wall time says nothing about a board.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.errors import InterpreterError, MissingError, NmpackError
from nmpack.locations import LIBRARY, ROOT, cache_folder, named
from nmpack.refusals import one_line
from nmpack.runtime.interpreter import option_strings

Array = npt.NDArray[Any]
VLENS = (128, 256, 512, 1024)


@dataclass(frozen=True, slots=True)
class Target:
    """Where the riscv64 pieces are.

    Attributes:
        program: nmpack-run built for riscv64.
        library: our delegate built for riscv64.
        sysroot: folder with the distribution's libtensorflow-lite and its libraries.
        emulator: qemu-riscv64.
    """

    program: Path
    library: Path
    sysroot: Path
    emulator: Path


def find_target() -> Target:
    """Find the riscv64 build, its sysroot and QEMU.

    ``NMPACK_RISCV64_BUILD`` and ``NMPACK_RISCV64_SYSROOT`` override the places in this source tree
    and in the user's cache.

    Raises:
        MissingError: one of them is absent; the message says which and how to make it.
    """
    emulator = shutil.which("qemu-riscv64")
    if emulator is None:
        raise MissingError("qemu-riscv64 is not installed: apt-get install qemu-user")
    build = named("NMPACK_RISCV64_BUILD") or ROOT / "build/riscv64/delegate"
    for name in ("nmpack-run", LIBRARY):
        if not (build / name).is_file():
            raise MissingError(
                f"{build / name} is not built: run ./scripts/setup.sh, "
                "or point NMPACK_RISCV64_BUILD at its folder"
            )
    return Target(build / "nmpack-run", build / LIBRARY, _sysroot(), Path(emulator))


def _sysroot() -> Path:
    path = named("NMPACK_RISCV64_SYSROOT") or cache_folder() / "sysroot"
    for root in (path, path / "riscv64"):
        if next(root.glob("usr/lib/riscv64-linux-gnu/libtensorflow-lite*.so*"), None):
            return root
    raise MissingError(
        f"no riscv64 libtensorflow-lite under {path}: run python3 scripts/make_sysroot.py, "
        "or point NMPACK_RISCV64_SYSROOT at one"
    )


def cpu(vlen: int, *, half: bool = False) -> str:
    """Return QEMU's processor string for vectors of ``vlen`` bits, 0 for a processor without.

    Args:
        vlen: one of :data:`VLENS`, or 0.
        half: whether it computes in half precision, in words of QEMU 7.2. That version executes it
            in vectors, too, but tells no program of it.

    Raises:
        NmpackError: not a vector length that is tested.
    """
    if vlen == 0:
        return "rv64,v=false"
    if vlen not in VLENS:
        raise NmpackError(f"expected a VLEN of {', '.join(map(str, VLENS))} bits, got {vlen}")
    return f"rv64,v=true,vext_spec=v1.0,vlen={vlen},elen=64" + (",Zfh=true" if half else "")


def run_riscv64(
    model: str | Path,
    inputs: Sequence[Array],
    *,
    vlen: int = 256,
    options: Mapping[str, object] | None = None,
    delegate: bool = True,
    threads: int = 1,
    timeout: float = 600.0,
) -> dict[str, Array]:
    """Run ``model`` once on riscv64 and return its outputs by name.

    Args:
        model: path of a ``.tflite`` file.
        inputs: one array for each of the model's inputs, of exactly its shape and type.
        vlen: vector length in bits, one of 128, 256, 512, 1024; 0 for none.
        options: delegate options beside ``num_threads``.
        delegate: False runs the distribution's interpreter alone.
        threads: threads of the delegate.
        timeout: seconds.

    Raises:
        MissingError: the build, the sysroot or QEMU is absent.
        InterpreterError: the program refuses, crashes or takes too long.
    """
    target = find_target()
    with tempfile.TemporaryDirectory(prefix="nmpack-") as name:
        folder = Path(name)
        values = {"num_threads": str(threads)} | option_strings(options)
        command = nmpack_run(
            [str(target.emulator), "-L", str(target.sysroot), str(target.program)],
            str(Path(model).resolve()),
            str(target.library) if delegate else None,
            values,
        )
        command += ["--num-threads", str(threads), "--output-dir", str(folder)]
        for index, array in enumerate(inputs):
            path = folder / f"input{index}.bin"
            path.write_bytes(np.ascontiguousarray(array).tobytes())
            command += ["--input", str(path)]
        execute(command, os.environ | {"QEMU_CPU": cpu(vlen)}, timeout)
        return _outputs(folder)


def nmpack_run(
    program: Sequence[str], model: str, library: str | None, options: Mapping[str, str]
) -> list[str]:
    """Return the command line that runs a model.

    Args:
        program: nmpack-run, behind the emulator and its arguments.
        model: path of the file, as the program sees it.
        library: the delegate, likewise; None runs the interpreter alone.
        options: of the delegate.
    """
    command = [*program, "--graph", model]
    if library is not None:
        command += ["--delegate", library]
        if options:
            joined = ";".join(f"{key}:{value}" for key, value in options.items())
            command += ["--delegate-options", joined]
    return command


def execute(
    command: Sequence[str],
    environment: Mapping[str, str],
    timeout: float,
    folder: Path | None = None,
) -> None:
    """Run a command line of :func:`nmpack_run`.

    Args:
        command: the command line.
        environment: all of it; ``QEMU_CPU`` is the processor, see :func:`cpu`.
        timeout: seconds.
        folder: to run in; this process's own by default.

    Raises:
        InterpreterError: it refuses, crashes or takes too long.
    """
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InterpreterError(f"riscv64: no answer within {timeout:g} s") from error
    if done.returncode == 0:
        return
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    said = one_line("\n".join(lines[-3:])).removeprefix("nmpack-run: ") if lines else "no message"
    if done.returncode != 1:
        said = f"nmpack-run crashed with status {done.returncode}: {said}"
    raise InterpreterError(f"riscv64: {said}")


def _outputs(folder: Path) -> dict[str, Array]:
    """Read outputs.json (name, shape, dtype, file of each output) and the raw files it names."""
    try:
        listing = json.loads((folder / "outputs.json").read_text(encoding="utf-8"))
        rows = listing["outputs"] if isinstance(listing, dict) else listing
        found: dict[str, Array] = {}
        for row in rows:
            data = np.fromfile(folder / Path(row["file"]).name, dtype=np.dtype(row["dtype"]))
            found[str(row["name"])] = data.reshape(row["shape"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InterpreterError(f"riscv64: nmpack-run's outputs cannot be read: {error}") from error
    return found
