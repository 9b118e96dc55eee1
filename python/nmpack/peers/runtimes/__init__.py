# SPDX-License-Identifier: BSD-3-Clause
"""One module a runtime, of its package's name: ``open_network`` returns a :class:`Session`.

They are imported in the peers' environment alone. Each sets the number of threads, computes in the
precision that it is asked for, and leaves everything else as users get it.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from nmpack.errors import MissingError

Array = npt.NDArray[Any]
#: Images that int8 networks are calibrated on.
CALIBRATION = 2


class Session(Protocol):
    """An open network.

    Attributes:
        settings: what the runtime says it does, read back where it can be.
    """

    settings: dict[str, str]

    def feed(self, image: Array) -> None:
        """Take the input, ``[1, height, width, channels]``."""

    def run(self) -> None:
        """Compute from the input to the output, all of it."""

    def output(self) -> Array:
        """Return the last output."""


def peer_module(name: str) -> Any:
    """Import a package of the peers' environment.

    Raises:
        MissingError: it is not installed; says how to.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingError(
            f"{name} is not installed ({error}): run ./scripts/setup.sh --peers, or point "
            "NMPACK_PEERS_PYTHON at a Python that has it"
        ) from error


def channels_first(image: Array) -> Array:
    """Return an image with its channels first, contiguous."""
    return np.ascontiguousarray(image.transpose(0, 3, 1, 2))


def calibration_images(shape: tuple[int, ...]) -> list[Array]:
    """Draw images to calibrate on: only speed is asked of an int8 network here."""
    generator = np.random.default_rng(0)
    return [generator.uniform(-1.0, 1.0, shape).astype(np.float32) for _ in range(CALIBRATION)]
