# SPDX-License-Identifier: BSD-3-Clause
"""Run a model on riscv64 or aarch64 under user-mode QEMU: ``nmpack-run`` and the distribution's
TFLite.

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
from nmpack.runtime.child import Signature
from nmpack.runtime.interpreter import option_strings

Array = npt.NDArray[Any]
VLENS = (128, 256, 512, 1024)
#: Processors of aarch64 as QEMU names them: NEON; half precision and dot products, too; all it has.
ARM_PROCESSORS = ("cortex-a57", "cortex-a76", "max")
#: What makes the build for an architecture, and its sysroot.
_MAKES = {
    "riscv64": ("./scripts/setup.sh", "scripts/make_sysroot.py"),
    "aarch64": ("./scripts/test_aarch64.sh", "scripts/make_sysroot.py --arch arm64"),
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where the pieces of an architecture are.

    Attributes:
        architecture: ``riscv64`` or ``aarch64``.
        program: nmpack-run built for it.
        library: our delegate built for it.
        sysroot: folder with the distribution's libtensorflow-lite and its libraries.
        emulator: ``qemu-riscv64`` or ``qemu-aarch64``.
    """

    architecture: str
    program: Path
    library: Path
    sysroot: Path
    emulator: Path


def find_target(architecture: str = "riscv64") -> Target:
    """Find the build for ``riscv64`` or ``aarch64``, its sysroot and QEMU.

    ``NMPACK_RISCV64_BUILD`` and ``NMPACK_RISCV64_SYSROOT``, or those of ``AARCH64``, override the
    places in this source tree and in the user's cache.

    Raises:
        MissingError: one of them is absent; the message says which and how to make it.
    """
    emulator = shutil.which(f"qemu-{architecture}")
    if emulator is None:
        raise MissingError(f"qemu-{architecture} is not installed: apt-get install qemu-user")
    variable = f"NMPACK_{architecture.upper()}_BUILD"
    build = named(variable) or ROOT / "build" / architecture / "delegate"
    for name in ("nmpack-run", LIBRARY):
        if not (build / name).is_file():
            raise MissingError(
                f"{build / name} is not built: run {_MAKES[architecture][0]}, "
                f"or point {variable} at its folder"
            )
    return Target(
        architecture, build / "nmpack-run", build / LIBRARY, _sysroot(architecture), Path(emulator)
    )


def _sysroot(architecture: str) -> Path:
    variable = f"NMPACK_{architecture.upper()}_SYSROOT"
    path = named(variable) or cache_folder() / "sysroot"
    debian = {"aarch64": "arm64"}.get(architecture, architecture)
    for root in (path, path / debian):
        if next(root.glob(f"usr/lib/{architecture}-linux-gnu/libtensorflow-lite*.so*"), None):
            return root
    raise MissingError(
        f"no {architecture} libtensorflow-lite under {path}: run python3 "
        f"{_MAKES[architecture][1]}, or point {variable} at one"
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
    return run_emulated(
        find_target(), cpu(vlen), model, inputs, options=options, delegate=delegate,
        threads=threads, timeout=timeout,
    )  # fmt: skip


def run_emulated(
    target: Target,
    processor: str,
    model: str | Path,
    inputs: Sequence[Array],
    *,
    options: Mapping[str, object] | None = None,
    delegate: bool = True,
    threads: int = 1,
    resized: Sequence[Signature] = (),
    timeout: float = 600.0,
) -> dict[str, Array]:
    """Run ``model`` once on ``target`` and return its outputs by name.

    Args:
        target: what :func:`find_target` found.
        processor: in QEMU's words: what :func:`cpu` returns, or one of :data:`ARM_PROCESSORS`.
        model, inputs, options, delegate, threads, timeout: as for :func:`run_riscv64`.
        resized: all inputs, where the file leaves sizes of some open.

    Raises:
        InterpreterError: the program refuses, crashes or takes too long.
    """
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
        command += shape_arguments(resized)
        for index, array in enumerate(inputs):
            path = folder / f"input{index}.bin"
            path.write_bytes(np.ascontiguousarray(array).tobytes())
            command += ["--input", str(path)]
        environment = os.environ | {"QEMU_CPU": processor}
        execute(command, environment, timeout, architecture=target.architecture)
        return _outputs(folder, target.architecture)


def shape_arguments(inputs: Sequence[Signature]) -> list[str]:
    """Return the arguments that resize the inputs whose sizes a file leaves open.

    If there are such, all inputs are named: of several with one name each takes the next shape.
    """
    if not any(item.is_open for item in inputs):
        return []
    return [f"--shape={item.name}={'x'.join(map(str, item.shape))}" for item in inputs]


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
    *,
    architecture: str = "riscv64",
) -> None:
    """Run a command line of :func:`nmpack_run`.

    Args:
        command: the command line.
        environment: all of it; ``QEMU_CPU`` is the processor, see :func:`cpu`.
        timeout: seconds.
        folder: to run in; this process's own by default.
        architecture: that messages name.

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
        raise InterpreterError(f"{architecture}: no answer within {timeout:g} s") from error
    if done.returncode == 0:
        return
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    said = one_line("\n".join(lines[-3:])).removeprefix("nmpack-run: ") if lines else "no message"
    if done.returncode != 1:
        said = f"nmpack-run crashed with status {done.returncode}: {said}"
    raise InterpreterError(f"{architecture}: {said}")


def _outputs(folder: Path, architecture: str = "riscv64") -> dict[str, Array]:
    """Read outputs.json (name, shape, dtype, file of each output) and the raw files it names."""
    try:
        listing = json.loads((folder / "outputs.json").read_text(encoding="utf-8"))
        rows = listing["outputs"] if isinstance(listing, dict) else listing
        found: dict[str, Array] = {}
        for row in rows:
            data = np.fromfile(folder / Path(row["file"]).name, dtype=np.dtype(row["dtype"]))
            found[str(row["name"])] = data.reshape(row["shape"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InterpreterError(
            f"{architecture}: nmpack-run's outputs cannot be read: {error}"
        ) from error
    return found
