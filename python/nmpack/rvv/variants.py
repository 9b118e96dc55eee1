# SPDX-License-Identifier: BSD-3-Clause
"""What is compared: a model as upstream runs it, as our kernels run it dense, and pruned copies."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.element_types import type_of
from nmpack.errors import ModelError, NmpackError
from nmpack.quantize import Int8, to_int8
from nmpack.sparsity.mask import compute_mask
from nmpack.sparsity.pattern import NMPattern
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.model import TensorInfo

DENSITIES = (1.0, 0.5, 0.25)
TILES = (32, 8)


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to run a model.

    Attributes:
        name: for tables.
        upstream: whether the build of the unpatched XNNPACK runs it.
        nm, layout: the delegate's options of these names.
        pattern: how the model's copy is pruned; None runs the file as it is.
    """

    name: str
    upstream: bool = False
    nm: str = "auto"
    layout: str = "auto"
    pattern: NMPattern | None = None


def as_it_is(*, upstream: bool) -> tuple[Variant, ...]:
    """Variants of a file that is not to be changed."""
    first = (Variant("upstream", upstream=True),) if upstream else ()
    return (*first, Variant("nmpack"))


def pruned(
    densities: Sequence[float], tiles: Sequence[int], *, upstream: bool
) -> tuple[Variant, ...]:
    """Variants of a dense model: a density of 1 stands for dense, by upstream and by ours.

    Raises:
        NmpackError: a density is not above 0 and at most 1, or a tile not positive.
    """
    found: list[Variant] = []
    for density in densities:
        if not 0.0 < density <= 1.0:
            raise NmpackError(f"a density is above 0 and at most 1, got {density:g}")
        if density == 1.0:
            found += [Variant("upstream dense", upstream=True)] if upstream else []
            found.append(Variant("own dense NHWC", nm="force", layout="nhwc"))
            found.append(Variant("own dense CNHW", nm="force", layout="cnhw"))
            continue
        for tile in tiles:
            pattern = NMPattern.from_density(density, tile=tile)
            found.append(Variant(f"{100 * density:g}% T={tile}", pattern=pattern))
    if len({variant.name for variant in found}) != len(found):
        raise NmpackError("a density or a tile is given twice")
    return tuple(found)


def prune_file(source: str | Path, target: str | Path, pattern: NMPattern) -> int:
    """Write a copy of a ``.tflite`` file with its layers pruned by magnitude.

    As ``nmpack prune`` does, the first convolution, those with groups and those with fewer output
    channels than a tile stay dense. So do fully connected layers, unless no graph has more than one
    convolution: then the last of them does. First and last are those of the graphs that a caller
    runs, of every signature; a filter that several subgraphs share is dense or pruned for all.

    Returns:
        How many filters were pruned.

    Raises:
        ModelError: nothing in it can be pruned.
    """
    file = TFLiteFile(source)
    entries = [graph for graph in file.subgraphs if graph.index == 0 or graph.signatures]
    ends = {(graph.index, item.node) for graph in entries for item in graph.convolutions[:1]}
    linear = all(len(graph.convolutions) <= 1 for graph in file.subgraphs)
    for graph in entries:
        last = [item for item in graph.layers if item.linear][-1:]
        ends |= {(graph.index, item.node) for item in last}
    spans: dict[int, bytes] = {}
    dense: set[int] = set()
    for item in file.layers:
        if item.weights is None:
            continue
        offset = file.span(item.weights)[0]
        kind = type_of(item.weights.dtype)
        plain = kind is not None and not item.weights.sparse and _zero_is_nothing(item.weights)
        fits = item.groups == 1 and item.shape[0] >= pattern.tile
        plain = plain and (linear or not item.linear)
        if (item.subgraph, item.node) in ends or item.depthwise or not (plain and fits):
            dense.add(offset)
        elif offset not in spans:
            weights = file.array(item.weights)
            real = _real(weights, item.weights).reshape(item.shape)
            mask = compute_mask(real, pattern, layer=item.name).reshape(weights.shape)
            spans[offset] = np.where(mask, weights, weights.dtype.type(0)).tobytes()
    for offset in dense:
        spans.pop(offset, None)
    if not spans:
        raise ModelError(f"{source}: no layer of {pattern.tile} channels to prune")
    shutil.copyfile(source, target)
    with Path(target).open("r+b") as copy:
        for offset, data in spans.items():
            copy.seek(offset)
            copy.write(data)
    return len(spans)


def quantize_file(source: str | Path, target: str | Path) -> None:
    """Write a float32 file in int8, as ``nmpack convert --int8`` does, from two random inputs.

    Raises:
        NmpackError: what :func:`nmpack.quantize.to_int8` raises.
    """
    graph = TFLiteFile(source).primary
    _, *shape = graph.tensors[graph.inputs[0]].shape
    images = np.random.default_rng(0).standard_normal((2, *shape), np.float32)
    to_int8(source, target, Int8(images))


def _zero_is_nothing(tensor: TensorInfo) -> bool:
    """Return whether a stored 0 stands for 0, and scales are of output channels."""
    found = tensor.quantization
    return found is None or not (found.zero_point.any() or (found.per_axis and found.dimension))


def _real(weights: npt.NDArray[Any], tensor: TensorInfo) -> npt.NDArray[np.float32]:
    """Return what weights stand for, in their scales; what is no number counts as 0."""
    found = tensor.quantization
    if found is None:
        return weights.astype(np.float32)
    scales = found.scale.reshape([-1] + [1] * (weights.ndim - 1)) if found.per_axis else found.scale
    return np.nan_to_num(weights * scales, posinf=0.0, neginf=0.0).astype(np.float32)
