# SPDX-License-Identifier: BSD-3-Clause
"""A filter as blocks of rows in compressed storage: made from an array, read from a file.

The form is one of many that TFLite's SparsityParameters can state: traversal (tile, h, w, channel,
row of the tile), only the channels compressed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.errors import ModelError
from nmpack.sparsity.mask import Array, BoolArray, used_columns
from nmpack.tflite.model import Sparsity

# Axes of [O, H, W, I] or [O, I], then the rows of a block.
_FORMATS = {
    4: ["DENSE", "DENSE", "DENSE", "SPARSE_CSR", "DENSE"],
    2: ["DENSE", "SPARSE_CSR", "DENSE"],
}
_TILES = (256, 128, 64, 32, 16, 8, 4, 2, 1)
# A filter that is hardly smaller is not worth an operator.
_WORTH = 0.9
_BLOCKED = (0,)
# A hostile file states a large tensor and stores nothing. Where a filter has more than _FEW
# weights, one of _SPARSEST must be stored: pruning by columns leaves far more.
_FEW, _SPARSEST = 1 << 22, 64
_MOST = 1 << 28


@dataclass(frozen=True, slots=True)
class BlockRows:
    """A filter as blocks of ``tile`` rows: what TFLite's block CSR holds.

    Attributes:
        shape: OHWI of the filter; ``tile`` divides O.
        tile: rows of a block.
        segments: ``[O / tile * H * W + 1]``, where each tap's channels start in ``channels``.
        channels: input channel of each block, rising within a tap.
        values: ``[blocks, tile]``, of the filter's type.
    """

    shape: tuple[int, int, int, int]
    tile: int
    segments: npt.NDArray[np.int32]
    channels: npt.NDArray[Any]
    values: npt.NDArray[Any]

    def dense(self) -> npt.NDArray[Any]:
        """Return the filter ``[O, H, W, I]``."""
        outputs, height, width, inputs = self.shape
        taps = outputs // self.tile * height * width
        result = np.zeros((taps, inputs, self.tile), self.values.dtype)
        result[np.repeat(np.arange(taps), np.diff(self.segments)), self.channels] = self.values
        blocks = result.reshape(outputs // self.tile, height, width, inputs, self.tile)
        return np.ascontiguousarray(blocks.transpose(0, 4, 1, 2, 3)).reshape(self.shape)


def block_rows(weights: Array, *, tensors: int = 1) -> BlockRows | None:
    """Store a filter in the tile height that takes the fewest bytes.

    Args:
        weights: the filter ``[O, H, W, I]``, or ``[O, I]`` of a fully connected layer, float32, or
            int8 where 0 stands for 0.
        tensors: how many share its values; each repeats segments and channels.

    Returns:
        None when no height takes less than nine tenths of the dense bytes, or when so little would
        be stored that :func:`decode` refused it.
    """
    if weights.ndim == 2:
        weights = weights[:, None, None, :]
    rows = weights.shape[0]
    nonzero = (weights != 0).reshape(rows, -1)
    fits = sorted({math.gcd(rows, tile) for tile in _TILES}, reverse=True)
    costs = []
    for tile in fits:
        used = int(np.count_nonzero(used_columns(nonzero, tile, 1)[0]))
        index = _index_type(weights.shape[3])().itemsize
        taps = rows // tile * weights.shape[1] * weights.shape[2]
        size = used * (weights.itemsize * tile + tensors * index) + 4 * tensors * (taps + 1)
        costs.append((size, -tile, used * tile))
    size, negative, stored = min(costs)
    if size > _WORTH * weights.nbytes or weights.size > _most_weights(stored):
        return None
    tile = -negative
    return _encode(weights, used_columns(nonzero, tile, 1)[0], tile)


def _encode(weights: Array, used: BoolArray, tile: int) -> BlockRows:
    outputs, height, width, inputs = (int(axis) for axis in weights.shape)
    taps = used.reshape(-1, inputs)
    segments = np.zeros(len(taps) + 1, np.int32)
    np.cumsum(taps.sum(axis=1), out=segments[1:])
    where, channels = np.nonzero(taps)
    blocks = weights.reshape(outputs // tile, tile, height, width, inputs).transpose(0, 2, 3, 4, 1)
    values = np.ascontiguousarray(blocks).reshape(len(taps), inputs, tile)[where, channels]
    kind = _index_type(inputs)
    return BlockRows(
        (outputs, height, width, inputs), tile, segments, channels.astype(kind), values
    )


def _most_weights(stored: int) -> int:
    """Return how many weights a filter may have of which so many are stored."""
    return min(max(_FEW, _SPARSEST * stored), _MOST)


def _index_type(inputs: int) -> Any:
    if inputs <= 1 << 8:
        return np.uint8
    return np.uint16 if inputs <= 1 << 16 else np.int32


def decode(
    encoding: Sparsity,
    shape: tuple[int, ...],
    data: npt.NDArray[np.uint8],
    kind: npt.DTypeLike = np.float32,
) -> npt.NDArray[Any]:
    """Return the dense filter of ``kind`` that SparsityParameters and bytes of a file describe.

    Raises:
        ModelError: another form of storage, or numbers that contradict each other.
    """
    axes, kind = encoding.axes, np.dtype(kind)
    if (
        len(shape) not in _FORMATS
        or tuple(encoding.order) != tuple(range(len(shape) + 1))
        or encoding.blocks != _BLOCKED
        or [axis.format for axis in axes] != _FORMATS[len(shape)]
    ):
        raise ModelError("sparse storage of another form than blocks of rows is not supported")
    sizes = [axis.size for axis in axes]
    outputs, inputs = shape[0], shape[-1]
    height, width = shape[1:-1] or (1, 1)
    tile = sizes[-1]
    if min(*shape, tile) < 1:
        raise ModelError(f"a filter of shape {shape} in tiles of {tile} is impossible")
    stored = len(data) // kind.itemsize
    if math.prod(shape) > (most := _most_weights(stored)):
        raise ModelError(
            f"a filter of shape {shape} of which {stored} weights are stored: expected at most "
            f"{most} in all"
        )
    if sizes[:-2] != [outputs // tile, *shape[1:-1]] or outputs % tile:
        raise ModelError(f"axes {sizes} do not make a filter of shape {shape}")
    segments = _list_of(axes[-2].segments, "segments")
    channels = _list_of(axes[-2].indices, "indices")
    taps = outputs // tile * height * width
    blocks = len(channels)
    if (
        len(segments) != taps + 1
        or segments[0] != 0
        or segments[-1] != blocks
        or (np.diff(segments) < 0).any()
    ):
        raise ModelError(f"expected {taps + 1} rising segments that end at {blocks}")
    if blocks and not (channels.min() >= 0 and channels.max() < inputs):
        raise ModelError(f"an index lies outside of the {inputs} input channels")
    if len(data) != (size := blocks * tile * kind.itemsize):
        raise ModelError(f"expected {size} bytes of values, got {len(data)}")
    aligned = data.ctypes.data % kind.itemsize == 0
    values = (data if aligned else data.copy()).view(kind)
    rows = BlockRows(
        (outputs, height, width, inputs),
        tile,
        segments.astype(np.int32),
        channels,
        values.reshape(blocks, tile),
    )
    return rows.dense().reshape(shape)


def _list_of(values: npt.NDArray[Any] | None, what: str) -> npt.NDArray[np.int64]:
    if values is None:
        raise ModelError(f"the compressed axis has no {what}")
    return values.astype(np.int64)
