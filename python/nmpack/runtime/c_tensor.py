# SPDX-License-Identifier: BSD-3-Clause
"""A tensor of TFLite's C interface: what it is, and its data, in or out of its own memory."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.runtime.c_library import AffineQuantization, load_library

Array = npt.NDArray[Any]

#: Types by number, as the Python interpreters name them. Strings, resources and variants have no
#: elements of one size, and four bits are no type of numpy's.
_TYPES: dict[int, Any] = {
    1: np.float32, 2: np.int32, 3: np.uint8, 4: np.int64, 5: np.bytes_, 6: np.bool_, 7: np.int16,
    8: np.complex64, 9: np.int8, 10: np.float16, 11: np.float64, 12: np.complex128, 13: np.uint64,
    16: np.uint32, 17: np.uint16, 18: np.int8,
}  # fmt: skip
_WITHOUT_ARRAY = {5: "strings", 14: "resources", 15: "variants", 18: "four-bit integers"}
_CONSTANT = (1, 5)  # kTfLiteMmapRo, kTfLitePersistentRo


class Tensor:
    """One tensor, as long as its interpreter neither ends nor prepares its graph anew."""

    def __init__(self, pointer: int) -> None:
        """Wrap a ``TfLiteTensor``."""
        self._library = load_library()
        self._pointer = pointer

    def __eq__(self, other: object) -> bool:
        """Whether it is the same tensor of the same graph."""
        return isinstance(other, Tensor) and self._pointer == other._pointer

    def __hash__(self) -> int:
        """Return a number that is the same for the same tensor."""
        return hash(self._pointer)

    @property
    def name(self) -> str:
        """Its name, which may be empty or repeat."""
        return (self._library.TfLiteTensorName(self._pointer) or b"").decode("utf-8", "replace")

    @property
    def shape(self) -> tuple[int, ...]:
        """Its present shape."""
        count = self._library.TfLiteTensorNumDims(self._pointer)
        return tuple(self._library.TfLiteTensorDim(self._pointer, i) for i in range(count))

    @property
    def shape_signature(self) -> tuple[int, ...]:
        """Its shape with -1 for what the model leaves open."""
        count, size = ctypes.c_int32(-1), ctypes.c_int32()
        library = self._library
        library.TfLiteOpaqueTensorGetNumDimsSignature(self._pointer, ctypes.byref(count))
        if count.value <= 0:
            return self.shape
        sizes = []
        for place in range(count.value):
            library.TfLiteOpaqueTensorGetDimSignature(self._pointer, place, ctypes.byref(size))
            sizes.append(size.value)
        return tuple(sizes)

    @property
    def dtype(self) -> Any:
        """numpy's type; ``numpy.void`` where there is none."""
        return _TYPES.get(self._type, np.void)

    @property
    def is_constant(self) -> bool:
        """Whether its data may not be written, and is there before tensors are allocated."""
        return self._library.TfLiteOpaqueTensorGetAllocationType(self._pointer) in _CONSTANT

    @property
    def _type(self) -> int:
        return int(self._library.TfLiteTensorType(self._pointer))

    def details(self, index: int) -> dict[str, Any]:
        """Return what ``get_input_details`` of the Python interpreters says of a tensor."""
        params = self._library.TfLiteTensorQuantizationParams(self._pointer)
        return {
            "name": self.name,
            "index": index,
            "shape": np.array(self.shape, np.int32),
            "shape_signature": np.array(self.shape_signature, np.int32),
            "dtype": self.dtype,
            "quantization": (float(params.scale), int(params.zero_point)),
            "quantization_parameters": self._quantization(),
            "sparsity_parameters": {},
        }

    def _quantization(self) -> dict[str, Any]:
        found = self._library.TfLiteOpaqueTensorGetQuantization(self._pointer)
        scales, zeros, dimension = np.empty(0, np.float32), np.empty(0, np.int32), 0
        if found.type == 1 and found.params:
            affine = AffineQuantization.from_address(found.params)
            scales = _counted(affine.scale, np.float32)
            zeros = _counted(affine.zero_point, np.int32)
            dimension = int(affine.quantized_dimension)
        return {"scales": scales, "zero_points": zeros, "quantized_dimension": dimension}

    def require_type(self, array: Array, what: str) -> None:
        """Let an array pass whose numbers are of the tensor's type.

        Raises:
            ValueError: they are not.
        """
        self._require_array(what)
        if array.dtype != self.dtype:
            raise ValueError(
                f"cannot set {what}: expected {np.dtype(self.dtype).name}, got {array.dtype.name}"
            )

    def write(self, array: Array, what: str) -> None:
        """Copy an array into the tensor.

        Raises:
            ValueError: shape or type differ, or the tensor cannot be written.
        """
        self.require_type(array, what)
        if array.shape != self.shape:
            raise ValueError(
                f"cannot set {what}: expected shape {list(self.shape)}, got {list(array.shape)}"
            )
        if self.is_constant:
            raise ValueError(f"cannot set {what}: it is a constant of the model")
        # Holds the copy, if one is made, until it was read.
        array = np.ascontiguousarray(array)
        size = self._size(what)
        if size:
            self._library.TfLiteTensorCopyFromBuffer(self._pointer, array.ctypes.data, size)

    def view(self, what: str) -> tuple[Array, object]:
        """Return an array in the tensor's own memory, and what lives as long as its views.

        Raises:
            ValueError: it has no data of numbers, or none yet.
        """
        self._require_array(what)
        size = self._size(what)
        if not size:
            return np.empty(self.shape, self.dtype), None
        owner = (ctypes.c_ubyte * size).from_address(self._library.TfLiteTensorData(self._pointer))
        array: Array = np.frombuffer(memoryview(owner), self.dtype).reshape(self.shape)
        array.flags.writeable = not self.is_constant
        return array, owner

    def _require_array(self, what: str) -> None:
        held = _WITHOUT_ARRAY.get(self._type) or (
            None if self._type in _TYPES else f"type number {self._type}"
        )
        if held is not None:
            raise ValueError(f"cannot access {what}: expected numbers, got {held}")

    def _size(self, what: str) -> int:
        """Return the bytes of data that are there, all that the shape takes."""
        size = int(self._library.TfLiteTensorByteSize(self._pointer))
        expected = math.prod(self.shape) * np.dtype(self.dtype).itemsize
        if size != expected or min(self.shape, default=0) < 0:
            raise ValueError(f"cannot access {what}: expected {expected} bytes, got {size}")
        if size and not self._library.TfLiteTensorData(self._pointer):
            raise ValueError(
                f"cannot access {what}: it has no memory; call allocate_tensors first, and expect "
                "none of a tensor within a delegate's partition"
            )
        return size


def _counted(address: int | None, kind: Any) -> Array:
    """Copy a TfLiteIntArray or TfLiteFloatArray: a length, then the values."""
    if not address:
        return np.empty(0, kind)
    count = max(0, ctypes.c_int.from_address(address).value)
    values = (ctypes.c_ubyte * (4 * count)).from_address(address + 4)
    copied: Array = np.frombuffer(bytes(values), kind).copy()
    return copied
