# SPDX-License-Identifier: BSD-3-Clause
"""Signatures of a model in TFLite's C library: functions with named inputs and outputs."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nmpack.refusals import one_line
from nmpack.runtime.c_library import integers
from nmpack.runtime.c_native import Native
from nmpack.runtime.c_tensor import Array, Tensor

_LONGEST_DIMENSION = (1 << 31) - 1


class SignatureRunner:
    """A signature, callable with its inputs by name; it keeps its interpreter alive."""

    def __init__(self, native: Native, key: str) -> None:
        """Look up the signature ``key``.

        Raises:
            ValueError: there is no such one.
        """
        self._native = native
        self._key = _encode(key)
        with native.lock:
            if native.runner(self._key) is None:
                raise ValueError(f"expected the key of a signature, got {key!r}")

    def __call__(self, **inputs: Any) -> dict[str, Array]:
        """Run it; the inputs are resized to the shapes of the arrays.

        Returns:
            Its outputs by name, copies.

        Raises:
            ValueError: the names, a type or a shape does not fit.
            RuntimeError: TFLite cannot prepare or run it.
        """
        # What this calls may use the interpreter, and a tensor may be elsewhere then.
        arrays = {name: np.asarray(value) for name, value in inputs.items()}
        shapes = {name: require_shape(array.shape) for name, array in arrays.items()}
        with self._native.lock:
            self._native.require_no_views()
            runner, library = self._runner(), self._native.library
            tensors = dict(self._tensors("Input"))
            if set(inputs) != set(tensors):
                raise ValueError(f"expected the inputs {sorted(tensors)}, got {sorted(inputs)}")
            for name, tensor in tensors.items():
                tensor.require_type(arrays[name], f"the input {name!r}")
            self._native.ready = False
            for name, shape in shapes.items():
                status = library.TfLiteSignatureRunnerResizeInputTensor(
                    runner, _encode(name), integers(shape), len(shape)
                )
                what = f"the input {name!r} cannot have the shape {shape}"
                self._native.require(status, what, ValueError)
            self.allocate_tensors()
            for name, tensor in self._tensors("Input"):
                tensor.write(arrays[name], f"the input {name!r}")
            self._native.ready = False
            status = library.TfLiteSignatureRunnerInvoke(runner)
            self._native.require(status, "TFLite fails to run it and does not say why")
            self._native.ready = self._has_main_graph()
            return {
                name: tensor.view(f"the output {name!r}")[0].copy()
                for name, tensor in self._tensors("Output")
            }

    def allocate_tensors(self) -> None:
        """Prepare its graph for the present shapes.

        Raises:
            RuntimeError: TFLite refuses it.
        """
        with self._native.lock:
            self._native.require_no_views()
            # It may be the graph that the interpreter itself runs, or one that runs that.
            self._native.ready = False
            status = self._native.library.TfLiteSignatureRunnerAllocateTensors(self._runner())
            self._native.require(status, "TFLite cannot prepare it and does not say why")
            self._native.ready = self._has_main_graph()

    def get_input_details(self) -> dict[str, dict[str, Any]]:
        """Return what is known of each input; ``index`` is -1, for the C interface has none."""
        return self._details("Input")

    def get_output_details(self) -> dict[str, dict[str, Any]]:
        """Return what is known of each output, likewise."""
        return self._details("Output")

    def _details(self, kind: str) -> dict[str, dict[str, Any]]:
        with self._native.lock:
            return {name: tensor.details(-1) for name, tensor in self._tensors(kind)}

    def _tensors(self, kind: str) -> Iterator[tuple[str, Tensor]]:
        library, runner = self._native.library, self._runner()
        for name in self.names(kind):
            pointer = getattr(library, f"TfLiteSignatureRunnerGet{kind}Tensor")(
                runner, _encode(name)
            )
            if not pointer:
                raise ValueError(f"the signature's {kind.lower()} {name!r} has no tensor")
            yield name, Tensor(pointer)

    def names(self, kind: str) -> list[str]:
        """Return the names of what is ``Input`` or ``Output``."""
        with self._native.lock:
            library, runner = self._native.library, self._runner()
            count = getattr(library, f"TfLiteSignatureRunnerGet{kind}Count")(runner)
            name = getattr(library, f"TfLiteSignatureRunnerGet{kind}Name")
            return [_decode(name(runner, place)) for place in range(count)]

    def _has_main_graph(self) -> bool:
        """Whether it names a tensor of the main graph, and so runs that one."""
        native = self._native
        get = native.library.TfLiteInterpreterGetTensor
        for kind in ("Input", "Output"):
            main = {Tensor(get(native.pointer, index)) for index in native.indices(kind)}
            if main.intersection(tensor for _, tensor in self._tensors(kind)):
                return True
        return False

    def _runner(self) -> int:
        found = self._native.runner(self._key) if self._native.pointer else None
        assert found is not None, "it was there when this was made"
        return found


def signature_keys(native: Native) -> list[str]:
    """Return the keys of a model's signatures, in its order."""
    count = native.library.TfLiteInterpreterGetSignatureCount(native.pointer)
    key = native.library.TfLiteInterpreterGetSignatureKey
    return [_decode(key(native.pointer, place)) for place in range(count)]


def require_shape(shape: Any) -> list[int]:
    """Return a shape as whole numbers.

    Raises:
        ValueError: a dimension is no whole number, negative, or too large for TFLite.
    """
    try:
        given = list(shape)
        sizes = [operator.index(size) for size in given]
        if any(isinstance(size, (bool, np.bool_)) for size in given):
            raise TypeError
    except TypeError:
        raise ValueError(
            f"expected dimensions of whole numbers, got {one_line(repr(shape))}"
        ) from None
    if any(not 0 <= size <= _LONGEST_DIMENSION for size in sizes):
        raise ValueError(f"expected dimensions of 0 to {_LONGEST_DIMENSION}, got {sizes}")
    return sizes


def require_open(tensor: Tensor, shape: Sequence[int], what: str) -> None:
    """Let a shape pass in which nothing differs but what the model leaves open.

    Raises:
        ValueError: something does.
    """
    signature = tensor.shape_signature
    if len(shape) != len(signature) or any(
        size not in (-1, asked) for size, asked in zip(signature, shape, strict=True)
    ):
        raise ValueError(
            f"expected for {what} the shape {list(signature)}, where -1 is open, got {list(shape)}"
        )


def _decode(name: bytes | None) -> str:
    return (name or b"").decode("utf-8", "surrogateescape")


def _encode(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
