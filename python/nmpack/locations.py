# SPDX-License-Identifier: BSD-3-Clause
"""Where things lie: the package, its source tree and builds, the user's cache.

Nothing is looked for in the current directory, which may be a stranger's: only a variable that
names a relative path leads there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from nmpack.errors import MissingError

#: File name of our delegate.
LIBRARY = "libnmpack_delegate.so"
#: And of the program that times layers.
MEASURE = "nmpack-measure"
PACKAGE = Path(__file__).resolve().parent


def source_tree(package: Path) -> Path | None:
    """Return the root of nmpack's source tree that the folder ``package`` lies in, or None.

    An installed package has none: two folders above it there may be anything, also a stranger's
    build folder.
    """
    root = package.parents[1]
    lies_there = package == root / "python" / "nmpack"
    marks = ("meson.build", "pyproject.toml", "delegate/plugin.cc")
    return root if lies_there and all((root / mark).is_file() for mark in marks) else None


#: Below it builds are looked for: our own source tree, or of an installed package its own folder.
ROOT = source_tree(PACKAGE) or PACKAGE
#: What makes what is missing here: an installed package has no script that does.
REMEDY = "run ./scripts/setup.sh" if ROOT != PACKAGE else "it takes a checkout of nmpack's sources"


def named(variable: str) -> Path | None:
    """Return the absolute path that an environment variable names; None where it is not set.

    Links are kept: an environment's Python is one, and its name says which environment.
    """
    value = os.environ.get(variable)
    return Path(value).absolute() if value else None


def own_python() -> str:
    """Return the Python that runs this program, for a process beside it.

    Raises:
        MissingError: the program is frozen (PyInstaller): what stands for its Python is itself.
    """
    if getattr(sys, "frozen", False) or not sys.executable:
        raise MissingError(
            "expected a Python to run the interpreter in a process of its own, got a program that "
            f"embeds one, {sys.executable or 'with no file'}; use nmpack.Interpreter in it, which "
            "needs no process"
        )
    return sys.executable


def cache_folder() -> Path:
    """Return the user's cache of this project: ``nmpack`` in ``XDG_CACHE_HOME`` or ``~/.cache``.

    A relative ``XDG_CACHE_HOME`` is ignored, as its specification wants.
    """
    return _user_folder("XDG_CACHE_HOME", ".cache")


def data_folder() -> Path:
    """Return where what was measured is kept, likewise: ``XDG_DATA_HOME`` or ``~/.local/share``."""
    return _user_folder("XDG_DATA_HOME", ".local/share")


def _user_folder(variable: str, default: str) -> Path:
    base = Path(os.environ.get(variable, ""))
    return (base if base.is_absolute() else Path.home() / default) / "nmpack"


def find_measure(target: str) -> Path:
    """Return the measuring program of the build for ``host`` or ``riscv64``.

    ``NMPACK_MEASURE`` and ``NMPACK_RISCV64_MEASURE`` override the installed package's, which is for
    the host, and those of this source tree.

    Raises:
        MissingError: there is none.
    """
    variable = "NMPACK_MEASURE" if target == "host" else "NMPACK_RISCV64_MEASURE"
    installed = PACKAGE / "lib" / MEASURE
    path = named(variable) or ROOT / "build" / target / "measure" / MEASURE
    if target == "host" and named(variable) is None and installed.is_file():
        path = installed
    if not path.is_file():
        raise MissingError(f"{path} is not built: {REMEDY}, or set {variable}")
    return path


def mcu_kernels() -> Path:
    """Return the folder of kernels for microcontrollers: ``NMPACK_MCU_KERNELS``, or the tree's."""
    return named("NMPACK_MCU_KERNELS") or ROOT / "mcu/kernels"


def python_environment(first: Sequence[Path] = ()) -> dict[str, str]:
    """Return this environment for a Python that is to import from the folders ``first`` first.

    Empty entries of PYTHONPATH go: they mean the current directory, and come from nothing but a
    colon too many.
    """
    environment = dict(os.environ)
    environment.pop("PYTHONHOME", None)
    given = environment.pop("PYTHONPATH", "").split(os.pathsep)
    entries = [*map(str, first), *(entry for entry in given if entry)]
    if entries:
        environment["PYTHONPATH"] = os.pathsep.join(entries)
    return environment
