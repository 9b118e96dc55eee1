# SPDX-License-Identifier: BSD-3-Clause
"""The packed arrays of each kernel for filters; ``mcu/kernels/matmul_*.c`` say their form."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from nmpack.mcu.step import Int8

_FARTHEST = 255
_HALF = 65535


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """Weights and index of one filter.

    Attributes:
        weights: in the kernel's order.
        index: in the kernel's form; None in dense filters.
        columns: bytes of a pixel that the kernel may read.
        kept: the field of ``struct nm_filter_s8``.
        steps: of each tile of channels.
        multiplied: weights that are multiplied with a pixel, fillers included.
    """

    weights: Int8
    index: npt.NDArray[np.uint8] | npt.NDArray[np.uint32] | None
    columns: int
    kept: int
    steps: tuple[int, ...]
    multiplied: int


def pad(weights: Int8, rows: int, columns: int) -> Int8:
    """Append zeros until channels and columns are multiples of ``rows`` and ``columns``."""
    count, width = weights.shape
    return np.pad(weights, ((0, -count % rows), (0, -width % columns)))


def dense_rows(weights: Int8, multiple: int) -> Packed:
    """Channels one after the other, their columns padded to a multiple."""
    padded = pad(weights, 1, multiple)
    count, width = padded.shape
    return Packed(padded.ravel(), None, width, 0, (width // 4,) * count, padded.size)


def dense_tiles(weights: Int8) -> Packed:
    """Tiles of four channels and four columns."""
    padded = pad(weights, 4, 4)
    count, width = padded.shape
    order = padded.reshape(count // 4, 4, width // 4, 4).transpose(0, 2, 1, 3)
    return Packed(order.ravel(), None, width, 0, (width // 4,) * (count // 4), padded.size)


def indexed(weights: Int8, tile: int, pitch: int) -> Packed | None:
    """Tiles of channels with the columns that any of them keeps.

    Args:
        weights: (channels, columns).
        tile: 1, 4 or 8 channels.
        pitch: bytes between columns of a pixel: 1, or 4 where pixels are interleaved.

    Returns:
        None where the first kept column of a tile, or the number of them, is beyond 16 bits.
    """
    padded = pad(weights, tile, 1)
    tiles = padded.reshape(-1, tile, padded.shape[1])
    parts: list[Int8] = []
    index: list[bytes] = []
    steps: list[int] = []
    for block in tiles:
        columns, real = with_fillers(np.flatnonzero(block.any(axis=0)), _FARTHEST // pitch)
        columns, real = _rounded(columns, real, 4)
        header = _header(len(columns) // 4, columns, pitch)
        if header is None:
            return None
        values = np.where(real, block[:, columns], np.int8(0))
        # [halves][steps][channels][columns]
        order: Int8 = values.reshape(max(tile // 4, 1), min(tile, 4), len(columns) // 4, 4)
        order = order.transpose(0, 2, 1, 3)
        if tile == 8 and pitch == 1:
            order = values.reshape(tile, len(columns) // 4, 4).transpose(1, 0, 2)
        parts.append(order.ravel())
        index.append(header + _distances(columns, pitch))
        steps.append(len(columns) // 4)
    joined = np.concatenate(parts)
    bytes_ = np.frombuffer(b"".join(index), np.uint8)
    return Packed(joined, bytes_, weights.shape[1], 0, tuple(steps), joined.size)


def blocks(weights: Int8) -> Packed | None:
    """Tiles of four channels with the blocks of four columns that any of them keeps.

    Returns:
        None where the first kept block of a tile, or the number of them, is beyond 16 bits.
    """
    padded = pad(weights, 4, 4)
    count, width = padded.shape
    tiles = padded.reshape(count // 4, 4, width // 4, 4)
    parts: list[Int8] = []
    index: list[bytes] = []
    steps: list[int] = []
    for block in tiles:
        kept, real = with_fillers(np.flatnonzero(block.any(axis=(0, 2))), _FARTHEST // 4)
        header = _header(len(kept), kept, 4)
        if header is None:
            return None
        values = np.where(real[None, :, None], block[:, kept], np.int8(0))
        parts.append(values.transpose(1, 0, 2).ravel())
        distances = _distances(kept, 4)
        index.append(header + distances + bytes(-len(distances) % 4))
        steps.append(len(kept))
    joined = np.concatenate(parts)
    bytes_ = np.frombuffer(b"".join(index), np.uint8)
    return Packed(joined, bytes_, width, 0, tuple(steps), joined.size)


def offsets(weights: Int8, tile: int, m: int) -> Packed | None:
    """Tiles of 1 or 4 channels that keep one of every ``m`` columns: the gather instruction's form.

    Returns:
        None where a tile keeps more, or the padded columns are beyond 16 bits.
    """
    padded = pad(weights, tile, 8 * m)
    width = padded.shape[1]
    tiles = padded.reshape(-1, tile, width // m, m)
    kept = tiles.any(axis=1)
    if width > _HALF or (kept.sum(axis=2) > 1).any():
        return None
    offset = kept.argmax(axis=2)
    values = np.take_along_axis(tiles, offset[:, None, :, None], axis=3)[..., 0]
    order = values.reshape(len(tiles), tile, -1, 4).transpose(0, 2, 1, 3)
    nibbles = offset.astype(np.uint32).reshape(-1, 8) << np.arange(0, 32, 4, dtype=np.uint32)
    words = np.bitwise_or.reduce(nibbles, axis=1).astype(np.uint32)
    steps = width // m // 8
    return Packed(order.ravel(), words, width, steps, (steps,) * len(tiles), order.size)


def with_fillers(
    kept: npt.NDArray[np.intp], farthest: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Insert columns where the next kept one is too far away.

    Args:
        kept: ascending.
        farthest: the largest distance.

    Returns:
        columns: no two of them farther apart.
        real: which of them were there.
    """
    gaps = np.diff(kept)
    if not (gaps > farthest).any():
        return kept, np.ones(len(kept), np.bool_)
    parts = [np.arange(a, b, farthest) for a, b in pairwise(kept)]
    columns = np.concatenate([*parts, kept[-1:]])
    return columns, np.isin(columns, kept)


def _rounded(
    columns: npt.NDArray[np.intp], real: npt.NDArray[np.bool_], multiple: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    missing = -len(columns) % multiple
    return np.pad(columns, (0, missing), "edge") if missing else columns, np.pad(real, (0, missing))


def _header(steps: int, columns: npt.NDArray[np.intp], pitch: int) -> bytes | None:
    first = int(columns[0]) * pitch if len(columns) else 0
    if first > _HALF or steps > _HALF:
        return None
    return np.array([steps, first], "<u2").tobytes()


def _distances(columns: npt.NDArray[np.intp], pitch: int) -> bytes:
    return np.diff(columns * pitch, append=columns[-1:] * pitch).astype(np.uint8).tobytes()
