# SPDX-License-Identifier: BSD-3-Clause
"""Fashion-MNIST from the files that Debian's ``dataset-fashion-mnist`` installs."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.errors import MissingError, NmpackError

FOLDER = Path("/usr/share/datasets/fashion-mnist")
_MEAN, _DEVIATION = 0.2860, 0.3530
_FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", 60_000),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", 10_000),
}


@dataclass(frozen=True, slots=True)
class Images:
    """Normalised images ``[count, 28, 28, 1]`` (float32, NHWC) and their labels ``[count]``."""

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


def files(folder: Path = FOLDER) -> list[Path]:
    """Return the four files.

    Raises:
        MissingError: one is absent.
    """
    found = [folder / name for images, labels, _ in _FILES.values() for name in (images, labels)]
    for path in found:
        if not path.is_file():
            raise MissingError(
                f"{path} is not there: apt-get install dataset-fashion-mnist, or give --data FOLDER"
            )
    return found


def load(part: str, folder: Path = FOLDER) -> Images:
    """Read ``train`` (60 000 images) or ``test`` (10 000).

    Raises:
        MissingError: a file is absent.
        NmpackError: a file is damaged, or holds another number of images.
    """
    files(folder)
    images_name, labels_name, count = _FILES[part]
    images = _read(folder / images_name, (count, 28, 28))
    labels = _read(folder / labels_name, (count,))
    scaled = (images.astype(np.float32) / np.float32(255) - np.float32(_MEAN)) / np.float32(
        _DEVIATION
    )
    return Images(scaled[..., None], labels.astype(np.int64))


def _read(path: Path, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Read an idx file of unsigned bytes of exactly ``shape``."""
    header = 4 + 4 * len(shape)
    size = int(np.prod(shape))
    try:
        with gzip.open(path) as file:
            content = file.read(header + size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise NmpackError(f"{path}: not a readable gzip file: {error}") from error
    expected = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
    if content[:header] != expected or len(content) != header + size:
        raise NmpackError(f"{path}: expected an idx file of unsigned bytes, shape {shape}")
    return np.frombuffer(content, np.uint8, size, header).reshape(shape)
