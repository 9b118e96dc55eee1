# SPDX-License-Identifier: BSD-3-Clause
"""Import the heavy frameworks late, with clear errors and without their noise on the terminal."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from nmpack.errors import MissingError

_TENSORFLOW_QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "GRPC_VERBOSITY": "ERROR",
    "GLOG_minloglevel": "3",
}


def import_module(name: str, extra: str) -> Any:
    """Import ``name``; on failure say which extra of nmpack brings it.

    Raises:
        MissingError: the module is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingError(
            f"{name} cannot be imported ({error}); install it with: pip install 'nmpack[{extra}]'"
        ) from error


def modules_of(package: str, *names: str) -> Callable[[str], Any]:
    """Return a package's ``__getattr__`` that imports its modules ``names`` when asked for them."""

    def import_one(name: str) -> Any:
        if name in names:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return import_one


def import_keras() -> Any:
    """Import Keras 3, its backend's start-up messages silenced."""
    if (loaded := sys.modules.get("keras")) is not None:
        return loaded
    _quieten()
    with silenced():
        return import_module("keras", "keras")


def import_tensorflow() -> Any:
    """Import TensorFlow, its start-up messages silenced."""
    _quieten()
    with silenced():
        return import_module("tensorflow", "keras")


def _quieten() -> None:
    import logging  # takes as long as the rest of ``import nmpack``

    for key, value in _TENSORFLOW_QUIET.items():
        os.environ.setdefault(key, value)
    for name in ("tensorflow", "absl", "jax", "torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()


@contextmanager
def silenced() -> Iterator[None]:
    """Keep C++ and Python libraries from writing to the terminal; errors still propagate.

    File descriptors 1 and 2 point to the null device meanwhile, because the converters log from
    C++. ``NMPACK_VERBOSE=1`` leaves them alone.
    """
    if os.environ.get("NMPACK_VERBOSE") == "1":
        yield
        return
    _flush()
    saved = os.dup(1), os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 1)
        os.dup2(null, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        _flush()
        for target, source in zip((1, 2), saved, strict=True):
            os.dup2(source, target)
            os.close(source)
        os.close(null)
