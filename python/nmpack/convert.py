# SPDX-License-Identifier: BSD-3-Clause
"""From a framework's model to a portable ``.tflite`` file with channels last.

The file is an ordinary graph of CONV_2D operators: nothing but the zeros in the weights says that
a model is pruned. Every file is written whole or not at all.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmpack.errors import ModelError, NmpackError
from nmpack.files import written_whole
from nmpack.quiet import import_keras, import_module, import_tensorflow, silenced
from nmpack.storage import STORAGES, to_sparse_storage
from nmpack.tflite_file import TFLiteFile

if TYPE_CHECKING:
    from torch import nn

# Without it the converter leaves the kernels of a Keras 3 model as resource variables.
_FREEZE = "tensorflow.python.framework.convert_to_constants"


def torch_to_tflite(
    model: nn.Module,
    path: str | Path,
    input_shape: tuple[int, int, int],
    *,
    batch: int = 1,
    storage: str = "dense",
) -> Path:
    """Convert a PyTorch image model through litert-torch.

    Args:
        model: takes ``[batch, channels, height, width]``; it is copied, finalized and put into
            evaluation mode, and not changed.
        path: the file to write.
        input_shape: ``(height, width, channels)``; the file's input is ``[batch, *input_shape]``.
        batch: fixed batch size, at least 1.
        storage: ``sparse`` stores pruned filters in TFLite's sparse encoding, see
            :mod:`nmpack.storage`; ``dense`` is what most other tools expect.

    Returns:
        ``path``.

    Raises:
        MissingError: torch or litert-torch is not installed.
        ModelError: the converter refuses the model.
    """
    height, width, channels = _checked(input_shape, batch)
    require_storage(storage)
    torch = import_module("torch", "torch")
    from nmpack.torch.holding import finalized_copy

    ready = finalized_copy(model).eval()
    with silenced():
        litert_torch = import_module("litert_torch", "torch")
        sample = torch.zeros(batch, height, width, channels)
        try:
            wrapped = litert_torch.to_channel_last_io(ready, args=[0])
            edge = litert_torch.convert(wrapped, (sample,))
        except Exception as error:
            raise ModelError(f"litert-torch cannot convert this model: {_brief(error)}") from error
    with written_whole(path) as temporary:
        with silenced():
            edge.export(str(temporary))
        _stored(temporary, storage)
    return Path(path)


def keras_to_tflite(
    model: Any, path: str | Path, *, batch: int | None = 1, storage: str = "dense"
) -> Path:
    """Convert a built Keras 3 model (TensorFlow backend) through TensorFlow's converter.

    Args:
        model: a functional or sequential model with one image input, channels last.
        path: the file to write.
        batch: fixed batch size; None keeps it dynamic.
        storage: as for :func:`torch_to_tflite`.

    Raises:
        MissingError: TensorFlow is not installed.
        ModelError: the converter refuses the model.
    """
    require_storage(storage)
    tf = import_tensorflow()
    backend = import_keras().config.backend()
    if backend != "tensorflow":
        raise ModelError(
            f"a Keras model converts on the TensorFlow backend only, the backend is {backend}: "
            "save the model and load it again with KERAS_BACKEND=tensorflow"
        )
    shape = tuple(model.input_shape[1:])
    if any(axis is None for axis in shape):
        raise ModelError(f"the model's input must have a fixed size, got {shape}")
    with silenced():
        try:
            signature = [tf.TensorSpec((batch, *shape), model.inputs[0].dtype)]
            function = tf.function(lambda x: model(x, training=False), signature)
            freeze = importlib.import_module(_FREEZE).convert_variables_to_constants_v2
            frozen = freeze(function.get_concrete_function())
            content = tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()
        except Exception as error:
            raise ModelError(
                f"TensorFlow's converter cannot convert this model: {_brief(error)}"
            ) from error
    with written_whole(path) as temporary:
        temporary.write_bytes(content)
        _stored(temporary, storage)
    return Path(path)


def require_storage(storage: str) -> None:
    """Check the name of a storage.

    Raises:
        NmpackError: there is none of that name.
    """
    if storage not in STORAGES:
        raise NmpackError(f"expected a storage out of {', '.join(STORAGES)}, got {storage!r}")


def _stored(path: Path, storage: str) -> None:
    if storage == "sparse":
        to_sparse_storage(path, path)
    else:
        TFLiteFile(path)


def _checked(input_shape: tuple[int, int, int], batch: int) -> tuple[int, int, int]:
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise NmpackError(
            f"the input shape must be (height, width, channels), all at least 1, got {input_shape}"
        )
    if batch < 1:
        raise NmpackError(f"the batch must be at least 1, got {batch}")
    return input_shape


def _brief(error: Exception) -> str:
    """Return the first line of what a converter says, at most 300 characters."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no message'}"
