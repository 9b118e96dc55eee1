# SPDX-License-Identifier: BSD-3-Clause
"""``nmpack --version``, and with ``--verbose`` what a report of a fault has to say."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path

from nmpack import __version__
from nmpack.errors import NmpackError
from nmpack.locations import PACKAGE, find_measure
from nmpack.measure.machine import describe_machine
from nmpack.runtime.interpreter import (
    INTERPRETERS,
    NOT_INSTALLED,
    find_delegate,
    package_version,
)


def version_text(*, verbose: bool) -> str:
    """Return the version alone, or with it what is installed and what it runs on, a line each."""
    if not verbose:
        return f"nmpack {__version__}"
    machine = describe_machine()
    features = machine["features"]
    rows = [
        ("package", str(PACKAGE)),
        ("python", f"{platform.python_version()}, numpy {package_version('numpy')}"),
        *_delegate(),
        ("measuring", _path_of_measure()),
        ("interpreters", ", ".join(_interpreters()) or "none installed"),
        ("processor", f"{machine['processor']} ({machine['architecture']})"),
        ("vector ISA", (features if isinstance(features, str) else ", ".join(features)) or "none"),
    ]
    return "\n".join([f"nmpack {__version__}", *(f"  {name:<13} {text}" for name, text in rows)])


def _delegate() -> list[tuple[str, str]]:
    """Say which library it is, and what that says of itself."""
    try:
        path = find_delegate()
    except NmpackError as error:
        return [("delegate", f"none: {error}")]
    try:
        built = built_of(path)
    except NmpackError as error:
        built = f"unknown: {error}"
    return [("delegate", str(path)), ("built of", built)]


def built_of(library: Path) -> str:
    """Return what a delegate says it was built of: XNNPACK's commit, hash of patches, compiler.

    Raises:
        NmpackError: it cannot be loaded, or is older than the function that tells.
    """
    try:
        tell = ctypes.CDLL(str(library)).nmpack_version
    except (OSError, AttributeError) as error:
        raise NmpackError(f"{library} does not say what it was built of: {error}") from error
    tell.restype = ctypes.c_char_p
    return str(tell().decode("ascii"))


def _path_of_measure() -> str:
    try:
        return str(find_measure("host"))
    except NmpackError as error:
        return f"none: {error}"


def _interpreters() -> list[str]:
    found = ((name, package_version(name)) for name in INTERPRETERS)
    return [f"{name} {version}" for name, version in found if version != NOT_INSTALLED]
