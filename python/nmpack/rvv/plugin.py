# SPDX-License-Identifier: BSD-3-Clause
"""How QEMU is started with the plugin that counts what each operator executes."""

from __future__ import annotations

from pathlib import Path

from nmpack.errors import MissingError, NmpackError
from nmpack.locations import REMEDY
from nmpack.runtime.elf import read_functions
from nmpack.rvv.profile import Profile, read_profile

#: The function of XNNPACK that runs one operator.
BOUNDARY = "xnn_run_operator_with_index"
_LINK, _OUTPUT, _HALF = "rvvprof.so", "profile.txt", "hwprobe.so"


def find_plugin(program: Path) -> Path:
    """Return the plugin of the build that a program is of.

    Raises:
        MissingError: it is not built.
    """
    return _built(program, "librvvprof.so")


def _built(program: Path, name: str) -> Path:
    path = program.parent.parent / "tools/qemu" / name
    if not path.is_file():
        raise MissingError(f"{path} is not built: {REMEDY}")
    return path


def half_options(folder: Path, program: Path) -> tuple[str, ...]:
    """Return options of QEMU to tell a program of half precision in vectors.

    Args:
        folder: where it is to run, which gets a link to what ``tools/qemu/hwprobe.c`` became.
        program: of the build that has it.

    Raises:
        MissingError: it is not built.
    """
    (folder / _HALF).symlink_to(_built(program, "libhwprobe.so").resolve())
    return "-E", f"LD_PRELOAD=./{_HALF}"


def plugin_options(folder: Path, plugin: Path, counted: Path) -> tuple[str, ...]:
    """Return options of QEMU to count in ``folder``, where it is to run.

    Names are the same in every run: their length moves the stack, and that moves cache lines.

    Args:
        folder: gets a link to the plugin, and later what it counted.
        plugin: of :func:`find_plugin`.
        counted: the program or library, by the name that it is loaded by, with XNNPACK in it.

    Raises:
        NmpackError: its symbols are gone.
    """
    (folder / _LINK).symlink_to(plugin.resolve())
    try:
        offset = read_functions(counted).offset(BOUNDARY)
    except KeyError:
        raise NmpackError(
            f"{counted}: expected the function {BOUNDARY}, found none; is the file stripped?"
        ) from None
    return "-plugin", f"./{_LINK},output={_OUTPUT},boundary={counted.name}:{offset:#x}"


def read_counts(folder: Path) -> Profile:
    """Return what was counted in a folder; raises what :func:`read_profile` does."""
    return read_profile(folder / _OUTPUT)
