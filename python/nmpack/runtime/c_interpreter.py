# SPDX-License-Identifier: BSD-3-Clause
"""The TFLite interpreter of a system's library, with the methods of the Python interpreters.

Where no Python package of TFLite exists, as on riscv64, this drives Debian's libtensorflow-lite
(:mod:`nmpack.runtime.c_library`) through its C interface. Names, arguments and kinds of errors are
those of ``tf.lite.Interpreter`` and ``ai_edge_litert.interpreter.Interpreter``.
"""

from __future__ import annotations

import enum
import operator
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from nmpack.runtime.c_library import integers
from nmpack.runtime.c_native import Delegate, Native, copy_model, map_model
from nmpack.runtime.c_signature import SignatureRunner, require_open, require_shape, signature_keys
from nmpack.runtime.c_tensor import Array, Tensor

__all__ = ["Delegate", "Interpreter", "OpResolverType", "SignatureRunner", "load_delegate"]

_LARGEST_INDEX = (1 << 31) - 1
_MOST_THREADS = 256
_REFUSED = "TFLite refuses the model and does not say why"


class OpResolverType(enum.Enum):
    """Which kernels may run; the C interface has its own ones, all the same but for the last."""

    AUTO = 0
    BUILTIN = 1
    BUILTIN_WITHOUT_DEFAULT_DELEGATES = 3
    BUILTIN_REF = 2


def load_delegate(library: str, options: Mapping[Any, Any] | None = None) -> Delegate:
    """Load a delegate from a plugin; keys and values become strings.

    Raises:
        ValueError: it is not a plugin, or refuses an option; the message is its own.
    """
    return Delegate(library, options)


class Interpreter:
    """Runs one model. Every method may be called from any thread, one at a time goes on."""

    def __init__(
        self,
        model_path: str | Path | None = None,
        model_content: bytes | None = None,
        experimental_delegates: Sequence[Any] | None = None,
        num_threads: int | None = None,
        experimental_op_resolver_type: Any = OpResolverType.AUTO,
        experimental_preserve_all_tensors: bool = False,
        experimental_disable_delegate_clustering: bool = False,
    ) -> None:
        """Open a model; its tensors are not allocated yet.

        Args:
            model_path: of a ``.tflite`` file, which may not change as long as this lives.
            model_content: the bytes of one, instead.
            experimental_delegates: what :func:`load_delegate` returned, kept as long as needed.
            num_threads: of TFLite's own kernels, 1 (the default) to 256.
            experimental_op_resolver_type: anything but ``BUILTIN_REF``, which needs C++.
            experimental_preserve_all_tensors, experimental_disable_delegate_clustering: False,
                for the same reason.

        Raises:
            ValueError: the model is refused, or an argument; says why.
            MissingError: there is no library; says how to install it.
        """
        if (model_path is None) == (model_content is None):
            got = "both" if model_path is not None else "neither"
            raise ValueError(f"expected one of model_path and model_content, got {got}")
        threads = 1 if num_threads is None else num_threads
        whole = isinstance(threads, int) and not isinstance(threads, bool)
        if not whole or not 1 <= threads <= _MOST_THREADS:
            raise ValueError(f"expected num_threads of 1 to {_MOST_THREADS}, got {num_threads!r}")
        resolver = getattr(experimental_op_resolver_type, "name", None)
        if resolver not in OpResolverType.__members__:
            raise ValueError(f"expected an OpResolverType, got {experimental_op_resolver_type!r}")
        for what, asked in (
            ("reference kernels", resolver == OpResolverType.BUILTIN_REF.name),
            ("to preserve all tensors", experimental_preserve_all_tensors),
            ("to disable clustering", experimental_disable_delegate_clustering),
        ):
            if asked:
                raise ValueError(f"{what}: TFLite's C interface does not offer it")
        delegates = list(experimental_delegates or ())
        for delegate in delegates:
            if not hasattr(delegate, "_get_native_delegate_pointer"):
                raise ValueError(f"expected what load_delegate returned, got {delegate!r}")
        content = copy_model(model_content) if model_path is None else map_model(model_path)
        self._native = Native(content, delegates, threads)

    def allocate_tensors(self) -> None:
        """Plan the graph's memory for the present shapes.

        Raises:
            RuntimeError: TFLite or a delegate refuses it, or an array looks into its memory.
        """
        native = self._native
        with native.lock:
            native.require_no_views()
            pointer = native.pointer
            native.ready = False
            status = native.library.TfLiteInterpreterAllocateTensors(pointer)
            native.require(status, _REFUSED)
            native.ready = True

    def invoke(self) -> None:
        """Run the graph.

        Raises:
            RuntimeError: it cannot run, or an array looks into its memory.
        """
        native = self._native
        with native.lock:
            native.require_no_views()
            pointer = native.pointer
            if not native.ready:
                raise RuntimeError("expected allocated tensors; call allocate_tensors first")
            native.ready = False
            status = native.library.TfLiteInterpreterInvoke(pointer)
            native.require(status, "TFLite fails to run the model and does not say why")
            native.ready = True

    def get_input_details(self) -> list[dict[str, Any]]:
        """Return a dictionary for each input: name, index, shape, dtype, quantization and so on."""
        return self._details("Input")

    def get_output_details(self) -> list[dict[str, Any]]:
        """Return the same for each output."""
        return self._details("Output")

    def get_tensor_details(self) -> list[dict[str, Any]]:
        """Return the same for each tensor of the main graph."""
        with self._native.lock:
            library, pointer = self._native.library, self._native.pointer
            found: list[dict[str, Any]] = []
            while tensor := library.TfLiteInterpreterGetTensor(pointer, len(found)):
                found.append(Tensor(tensor).details(len(found)))
            return found

    def get_tensor(self, tensor_index: int) -> Array:
        """Return a copy of a tensor's value.

        Raises:
            ValueError: there is no such tensor, or it has no value of numbers.
        """
        with self._native.lock:
            value: Array = self._view(tensor_index)[0].copy()
            return value

    def set_tensor(self, tensor_index: int, value: object) -> None:
        """Copy a value into a tensor.

        Raises:
            ValueError: there is no such tensor, or the value's shape or type is not the tensor's.
        """
        # What this calls may use the interpreter, and a tensor may be elsewhere then.
        array = np.asarray(value)
        with self._native.lock:
            tensor, what = self._tensor(tensor_index)
            self._require_memory(tensor, what)
            tensor.write(array, what)

    def tensor(self, tensor_index: int) -> Callable[[], Array]:
        """Return a function that returns an array in the tensor's own memory.

        As long as such an array lives, the interpreter neither allocates nor runs.
        """

        def view() -> Array:
            with self._native.lock:
                array, owner = self._view(tensor_index)
                if owner is not None:
                    self._native.watch(owner)
                return array

        return view

    def resize_tensor_input(
        self, input_index: int, tensor_size: Sequence[int], strict: bool = False
    ) -> None:
        """Give an input another shape; allocate the tensors afterwards.

        Args:
            input_index: index of the tensor, as in the details.
            tensor_size: its dimensions.
            strict: only those may change that the model leaves open.

        Raises:
            ValueError: it is no input, or cannot have that shape.
            RuntimeError: an array looks into the interpreter's memory.
        """
        native = self._native
        number, shape = operator.index(input_index), require_shape(tensor_size)
        with native.lock:
            native.require_no_views()
            tensor, what = self._tensor(number)
            inputs = native.indices("Input")
            if number not in inputs:
                raise ValueError(f"expected the index of an input, one of {inputs}, got {what}")
            if strict:
                require_open(tensor, shape, what)
            if tuple(shape) == tensor.shape:
                return
            native.ready = False
            status = native.library.TfLiteInterpreterResizeInputTensor(
                native.pointer, inputs.index(number), integers(shape), len(shape)
            )
            native.require(status, f"{what} cannot have the shape {shape}", ValueError)

    def reset_all_variables(self) -> None:
        """Set variables to zero.

        Raises:
            RuntimeError: TFLite refuses it.
        """
        native = self._native
        with native.lock:
            status = native.library.TfLiteInterpreterResetVariableTensors(native.pointer)
            native.require(status, "TFLite cannot reset the variables")

    def get_signature_list(self) -> dict[str, dict[str, list[str]]]:
        """Return the names of inputs and outputs of each signature."""
        with self._native.lock:
            found = {}
            for key in signature_keys(self._native):
                runner = SignatureRunner(self._native, key)
                found[key] = {"inputs": runner.names("Input"), "outputs": runner.names("Output")}
            return found

    def get_signature_runner(self, signature_key: str | None = None) -> SignatureRunner:
        """Return a signature to call; the only one of the model if None.

        Raises:
            ValueError: there is no such one, or no key is given and there are several.
        """
        with self._native.lock:
            keys = signature_keys(self._native)
            if signature_key is None and len(keys) == 1:
                signature_key = keys[0]
            if signature_key not in keys:
                raise ValueError(f"expected a signature out of {keys}, got {signature_key!r}")
            return SignatureRunner(self._native, signature_key)

    def close(self) -> None:
        """End the interpreter now; nothing but this may be called afterwards.

        Raises:
            RuntimeError: an array still looks into its memory.
        """
        self._native.close()

    def __enter__(self) -> Interpreter:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def _details(self, kind: str) -> list[dict[str, Any]]:
        with self._native.lock:
            return [self._tensor(index)[0].details(index) for index in self._native.indices(kind)]

    def _tensor(self, index: int) -> tuple[Tensor, str]:
        """Return a tensor, and what to call it in messages."""
        number = operator.index(index)
        pointer = None
        if 0 <= number <= _LARGEST_INDEX:
            pointer = self._native.library.TfLiteInterpreterGetTensor(self._native.pointer, number)
        if not pointer:
            raise ValueError(f"expected the index of a tensor of the model, got {number}")
        tensor = Tensor(pointer)
        return tensor, f"tensor {number} ({tensor.name})"

    def _view(self, index: int) -> tuple[Array, object]:
        tensor, what = self._tensor(index)
        self._require_memory(tensor, what)
        return tensor.view(what)

    def _require_memory(self, tensor: Tensor, what: str) -> None:
        if not self._native.ready and not tensor.is_constant:
            raise ValueError(f"cannot access {what}: call allocate_tensors first")
