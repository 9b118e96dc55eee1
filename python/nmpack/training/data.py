# SPDX-License-Identifier: BSD-3-Clause
"""Images for training; what a batch holds is a function of seed, epoch and place alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from nmpack.datasets import fashion as files
from nmpack.errors import MissingError, NmpackError
from nmpack.quiet import import_module

Batch = tuple[torch.Tensor, torch.Tensor]
_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm")
# ImageNet's channel means and deviations, as torchvision's checkpoints expect.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Images(Protocol):
    """A collection of labelled images."""

    classes: int

    def __len__(self) -> int:
        """Return the number of images."""

    def batch(self, places: Sequence[int], draw: tuple[int, ...] | None) -> Batch:
        """Return ``[B, C, H, W]`` float32 and labels ``[B]``; ``draw`` seeds the augmentation."""


class TensorImages:
    """Images in memory."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, classes: int) -> None:
        """Hold ``[N, C, H, W]`` float32 and int64 labels ``[N]``.

        Raises:
            NmpackError: there are none, or their numbers differ.
        """
        if len(images) == 0 or len(images) != len(labels):
            raise NmpackError(
                f"expected as many labels as images, at least one, got {len(images)} images and "
                f"{len(labels)} labels"
            )
        self.images, self.labels, self.classes = images, labels, classes

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def head(self, count: int) -> TensorImages:
        """Return the first ``count`` images."""
        return TensorImages(self.images[:count], self.labels[:count], self.classes)

    def batch(self, places: Sequence[int], draw: tuple[int, ...] | None) -> Batch:
        """Return the images, half of them flipped when ``draw`` is given."""
        index = torch.as_tensor(places, dtype=torch.int64)
        images = self.images[index]
        if draw is not None:
            # Drawn for each image of the epoch, so that it does not matter who reads it.
            flips = torch.from_numpy(np.random.default_rng(draw).random(len(self)) < 0.5)[index]
            images = torch.where(flips[:, None, None, None], images.flip(3), images)
        return images, self.labels[index]


def fashion(part: str, folder: Path = files.FOLDER) -> TensorImages:
    """Return Fashion-MNIST's ``train`` (60 000) or ``test`` (10 000) images, ``[N, 1, 28, 28]``."""
    found = files.load(part, folder)
    images = torch.from_numpy(found.images).permute(0, 3, 1, 2).contiguous()
    return TensorImages(images, torch.from_numpy(found.labels), 10)


class ImageFolder:
    """A folder with one folder of images for each class, as ImageNet is kept."""

    def __init__(self, folder: str | Path, size: int = 224) -> None:
        """List the images below ``folder``; they are read when a batch wants them.

        Raises:
            MissingError: no such folder.
            NmpackError: it has no classes, or a class has no images.
        """
        root = Path(folder)
        if not root.is_dir():
            raise MissingError(f"{root} is not a folder with one folder of images for each class")
        names = sorted(item.name for item in root.iterdir() if item.is_dir())
        if not names:
            raise NmpackError(f"{root} has no images: expected one folder of images for each class")
        self.size, self.classes = size, len(names)
        self._files: list[Path] = []
        labels = []
        for label, name in enumerate(names):
            found = sorted(p for p in (root / name).rglob("*") if p.suffix.lower() in _ENDINGS)
            if not found:
                raise NmpackError(
                    f"{root / name} has no images: expected files ending in {', '.join(_ENDINGS)}"
                )
            self._files += found
            labels += [label] * len(found)
        self._labels = torch.tensor(labels)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._files)

    def batch(self, places: Sequence[int], draw: tuple[int, ...] | None) -> Batch:
        """Read images: a random part of each, flipped by chance, or its middle without ``draw``."""
        images = [self._read(place, draw) for place in places]
        return torch.stack(images), self._labels[torch.as_tensor(places, dtype=torch.int64)]

    def _read(self, place: int, draw: tuple[int, ...] | None) -> torch.Tensor:
        pillow = import_module("PIL.Image", "train")
        path = self._files[place]
        try:
            with pillow.open(path) as opened:
                image = opened.convert("RGB")
        except OSError as error:
            raise NmpackError(f"{path}: not a readable image: {error}") from error
        size = self.size
        if draw is None:
            scale = size * 256 / 224 / min(image.size)
            width, height = (max(size, round(axis * scale)) for axis in image.size)
            left, top = (width - size) // 2, (height - size) // 2
            image = image.resize((width, height), pillow.Resampling.BILINEAR)
            image = image.crop((left, top, left + size, top + size))
        else:
            generator = np.random.default_rng((*draw, place))
            box = _random_box(image.size, generator)
            image = image.resize((size, size), pillow.Resampling.BILINEAR, box=box)
            if generator.random() < 0.5:
                image = image.transpose(pillow.Transpose.FLIP_LEFT_RIGHT)
        values = np.asarray(image, dtype=np.float32) / np.float32(255)
        scaled = (values - np.array(_MEAN, np.float32)) / np.array(_DEVIATION, np.float32)
        return torch.from_numpy(scaled).permute(2, 0, 1).contiguous()


def _random_box(
    size: tuple[int, int], generator: np.random.Generator
) -> tuple[float, float, float, float]:
    """Draw 8 to 100 % of the area, sides 3:4 to 4:3, as torchvision's RandomResizedCrop does."""
    width, height = size
    for _ in range(10):
        area = width * height * generator.uniform(0.08, 1.0)
        ratio = math.exp(generator.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if w <= width and h <= height:
            left, top = generator.uniform(0, width - w), generator.uniform(0, height - h)
            return left, top, left + w, top + h
    return 0, 0, width, height


class Part:
    """The first images of a collection."""

    def __init__(self, images: Images, count: int) -> None:
        """Take at most ``count`` of ``images``."""
        self._images, self._count = images, min(count, len(images))
        self.classes = images.classes

    def __len__(self) -> int:
        """Return the number of images."""
        return self._count

    def batch(self, places: Sequence[int], draw: tuple[int, ...] | None) -> Batch:
        """Return what the whole collection returns."""
        return self._images.batch(places, draw)


def open_data(where: str, *, size: int = 224) -> tuple[Images, Images]:
    """Return training and validation images: ``fashion``, or a folder with ``train`` and ``val``.

    Raises:
        MissingError, NmpackError: there are none; the message says where they were looked for.
    """
    if where == "fashion":
        return fashion("train"), fashion("test")
    train, test = ImageFolder(Path(where) / "train", size), ImageFolder(Path(where) / "val", size)
    if train.classes != test.classes:
        raise NmpackError(
            f"{where}: expected the same classes in train and val, got {train.classes} and "
            f"{test.classes}"
        )
    return train, test


def order_of(count: int, seed: int, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the order of the images in an epoch."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def batches(
    images: Images,
    places: Sequence[Sequence[int]],
    draw: tuple[int, ...] | None,
    *,
    workers: int = 0,
) -> Iterator[Batch]:
    """Yield the batch at each of ``places``; ``workers`` processes read ahead."""
    yield from DataLoader(_Batches(images, places, draw), batch_size=None, num_workers=workers)


class _Batches(Dataset[Batch]):
    def __init__(
        self, images: Images, places: Sequence[Sequence[int]], draw: tuple[int, ...] | None
    ) -> None:
        self._images, self._places, self._draw = images, places, draw

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Batch:
        return self._images.batch(self._places[index], self._draw)
