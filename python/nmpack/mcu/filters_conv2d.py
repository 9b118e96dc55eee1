# SPDX-License-Identifier: BSD-3-Clause
"""CONV_2D and FULLY_CONNECTED as one call of ``nm_conv2d_s8``: its kernel, struct and scratch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from nmpack.mcu.filters import FilterError, PackedFilter, choose
from nmpack.mcu.filters_schedule import Geometry, gathered_bytes, schedule
from nmpack.mcu.step import Constant, Int8

__all__ = [
    "Conv2d",
    "Geometry",
    "Requantization",
    "Rounding",
    "check_sizes",
    "fold_bias",
    "is_small",
    "lower_conv2d",
    "requantization_constants",
]

Rounding = Literal["TWICE", "ONCE", "ONCE_64"]
_MOST = 65535
#: What a sum may reach for cv.addRNr to round it.
_LARGEST_SUM = 1 << 30


@dataclass(frozen=True, slots=True, eq=False)
class Requantization:
    """From sums to outputs, as TFLite defines it.

    Attributes:
        bias: int32 (N,), as in the file.
        multiplier: (N,), 0 or from 2^30 to 2^31 - 1 where rounded twice; of 32 or 64 bits else.
        shift: (N,), to the right; negative is to the left.
        input_zero_point: of the input.
        output_zero_point: of the output.
        output_min: smallest stored value.
        output_max: largest stored value.
        rounding: ``TWICE``, ``ONCE`` or ``ONCE_64``: the header's ``NM_ROUND_``.
    """

    bias: npt.NDArray[np.int32]
    multiplier: npt.NDArray[np.int64] | npt.NDArray[np.uint64]
    shift: npt.NDArray[np.int64]
    input_zero_point: int
    output_zero_point: int
    output_min: int = -128
    output_max: int = 127
    rounding: Rounding = "TWICE"


@dataclass(frozen=True, slots=True, eq=False)
class Conv2d:
    """A call of ``nm_conv2d_s8``; its attributes are those of a step.

    Attributes:
        filter: the chosen kernel and its arrays.
        parameters: the struct's initializer, without its braces.
        constants: weights, index, bias, multiplier, shift.
        sources: files below ``mcu/kernels``.
        scratch_bytes: of a call.
        macs: multiply-adds of a call, fillers included.
        dense_macs: those of a dense kernel.
        cycles: predicted, of a call.
    """

    filter: PackedFilter
    parameters: str
    constants: tuple[Constant, ...]
    sources: tuple[str, ...]
    scratch_bytes: int
    macs: int
    dense_macs: int
    cycles: int


def lower_conv2d(
    weights: Int8,
    geometry: Geometry,
    requantization: Requantization,
    *,
    target: str,
    kernel: str | None = None,
) -> Conv2d:
    """Choose a kernel for a convolution and pack its weights.

    Args:
        weights: (N, K), K as (kernel_height, kernel_width, input_channels).
        geometry: its sizes.
        requantization: of its outputs.
        target: one of ``TARGETS``.
        kernel: name of the kernel to take if it fits; None for the one of the fewest cycles.

    Raises:
        FilterError: a size is beyond 16 bits, or does not fit the others.
    """
    check_sizes(weights, geometry, requantization)
    _check(weights, geometry)
    once = requantization.rounding != "TWICE"
    packed = choose(
        weights,
        rows=geometry.pixels,
        target=target,
        kernel=kernel,
        cost=lambda one: schedule(one, geometry, target, once=once)[1],
        exact=is_small(weights, requantization),
    )
    rows, cycles = schedule(packed, geometry, target, once=once)
    folded = fold_bias(weights, requantization)
    constants = (*packed.constants, *requantization_constants(folded, requantization))
    fields: dict[str, object] = {
        "filter": _filter_fields(packed, requantization),
        "matmul": packed.function,
        "kernel_scratch": packed.scratch_bytes,
        **{name: getattr(geometry, name) for name in Geometry.__dataclass_fields__},
        "window_rows": rows,
        "pixels": packed.pixels,
        "interleaved": int(packed.layout == "interleaved"),
        "input_zero_point": requantization.input_zero_point,
    }
    return Conv2d(
        filter=packed,
        parameters=", ".join(f".{name} = {value}" for name, value in fields.items()),
        constants=constants,
        sources=("conv2d_s8.c", "im2col_s8.c", *packed.sources),
        scratch_bytes=packed.scratch_bytes + gathered_bytes(packed, geometry, rows),
        macs=packed.macs * geometry.pixels,
        dense_macs=packed.dense_macs * geometry.pixels,
        cycles=round(cycles),
    )


def fold_bias(weights: Int8, requantization: Requantization) -> npt.NDArray[np.int32]:
    """Return the biases with ``- input_zero_point * sum(weights)``, wrapped to 32 bits."""
    sums = weights.astype(np.int64).sum(axis=1)
    folded = requantization.bias.astype(np.int64) - requantization.input_zero_point * sums
    wrapped: npt.NDArray[np.int32] = folded.astype(np.uint32).astype(np.int32)
    return wrapped


def requantization_constants(
    folded: npt.NDArray[np.int32], requantization: Requantization
) -> tuple[Constant, ...]:
    """Return the arrays ``bias``, ``multiplier`` and ``shift`` of a struct, of whole tiles."""
    more = (0, -len(folded) % 8)
    if requantization.rounding == "ONCE_64":
        whole = requantization.multiplier.astype(np.uint64)
        words = np.stack([whole >> np.uint64(32), whole & np.uint64(0xFFFFFFFF)], axis=1).ravel()
        multiplier = np.pad(words.astype(np.uint32), (0, 2 * more[1]))
    else:
        factor = 2 if requantization.rounding == "TWICE" else 1
        multiplier = np.pad((factor * requantization.multiplier).astype(np.uint32), more)
    return (
        Constant("bias", np.pad(folded, more)),
        Constant("multiplier", multiplier),
        Constant("shift", np.pad(requantization.shift.astype(np.int8), more)),
    )


def _filter_fields(packed: PackedFilter, requantization: Requantization) -> str:
    r = requantization
    index = "{index}" if len(packed.constants) > 1 else "NULL"
    return (
        f"{{.weights = {{weights}}, .index = {index}, .bias = {{bias}}, "
        f".multiplier = {{multiplier}}, .shift = {{shift}}, .channels = {packed.channels}, "
        f".columns = {packed.columns}, .kept = {packed.kept}, "
        f".output_zero_point = {r.output_zero_point}, .output_min = {r.output_min}, "
        f".output_max = {r.output_max}, .rounding = NM_ROUND_{r.rounding}}}"
    )


def is_small(weights: Int8, requantization: Requantization) -> bool:
    """Return whether one rounding instruction does: no shift to the left, no sum beyond 30 bits.

    Args:
        weights: (N, K).
        requantization: of their sums.
    """
    largest = np.abs(weights.astype(np.int64)).sum(axis=1) * 256
    largest += np.abs(requantization.bias.astype(np.int64))
    least = {"TWICE": 0, "ONCE": 1, "ONCE_64": _MOST}[requantization.rounding]
    return bool((requantization.shift >= least).all() and (largest < _LARGEST_SUM).all())


def check_sizes(weights: Int8, geometry: Geometry, requantization: Requantization) -> None:
    """Refuse what structs cannot say, and arrays that are not of the weights' channels.

    Args:
        weights: (N, K).
        geometry: sizes.
        requantization: of N channels.

    Raises:
        FilterError: a size is beyond 16 bits, an array has another length, or a shift 32 bits.
    """
    for name in Geometry.__dataclass_fields__:
        size = getattr(geometry, name)
        if not (0 if name.startswith("pad_") else 1) <= size <= _MOST:
            raise FilterError(f"expected up to {_MOST} as {name} of a convolution, got {size}")
    for name in ("bias", "multiplier", "shift"):
        found = getattr(requantization, name).shape
        if found != weights.shape[:1]:
            raise FilterError(f"expected {weights.shape[0]} values as {name}, got {found}")
    if requantization.shift.min() < -31 or requantization.shift.max() > 31:
        raise FilterError("expected shifts from -31 to 31 of a requantization")


def _check(weights: Int8, geometry: Geometry) -> None:
    if weights.ndim != 2 or weights.shape[1] != geometry.columns:
        raise FilterError(
            f"expected weights of {geometry.columns} columns, got the shape {weights.shape}"
        )
