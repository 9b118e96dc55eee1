# SPDX-License-Identifier: BSD-3-Clause
"""From a framework's model to a portable ``.tflite`` file with channels last.

The file is an ordinary graph of CONV_2D operators: nothing but the zeros in the weights says that
a model is pruned. Its inputs and outputs have names, in the signature ``serving_default``; those of
nested structures join the steps that lead to them, as ``heads_0_boxes``. Every file is written
whole or not at all.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmpack.errors import ModelError, NmpackError
from nmpack.files import written_whole
from nmpack.quantize import Int8, to_int8
from nmpack.quiet import import_keras, import_module, import_tensorflow, silenced
from nmpack.refusals import said
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.storage import STORAGES, to_sparse_storage

if TYPE_CHECKING:
    from torch import nn


def torch_to_tflite(
    model: nn.Module,
    path: str | Path,
    input_shape: tuple[int, int, int] | None = None,
    *,
    batch: int = 1,
    storage: str = "dense",
    samples: Any = None,
    int8: Int8 | None = None,
) -> Path:
    """Convert a PyTorch model through litert-torch.

    Args:
        model: is copied, and the copy is finalized and put into evaluation mode, into float32 and
            on the CPU; ``model`` does not change.
        path: the file to write.
        input_shape: ``(height, width, channels)`` of a model that takes one image,
            ``[batch, channels, height, width]``; the file's input is ``[batch, *input_shape]``.
        batch: fixed batch size, at least 1.
        storage: ``sparse`` stores pruned filters in TFLite's sparse encoding, see
            :mod:`nmpack.tflite.storage`; ``dense`` is what most other tools expect.
        samples: instead of ``input_shape`` and ``batch``, an example of what the model takes: a
            tensor, a tuple of arguments, or a mapping of keyword arguments, each nested as the
            model wants it. In the file, floating-point inputs of four axes have their channels
            last; all else, outputs included, has the model's own axes. 64-bit inputs and outputs
            have 32 bits.
        int8: quantize as it says, see :func:`nmpack.quantize.to_int8`; None stays in float32.

    Returns:
        ``path``.

    Raises:
        MissingError: torch, litert-torch or what quantizes is not installed.
        ModelError: the converter refuses the model, the model fails on the inputs, or its weights
            have no values yet.
        NmpackError: neither or both of ``input_shape`` and ``samples`` are given, or calibration
            data do not fit.
    """
    require_storage(storage)
    if (input_shape is None) == (samples is None):
        raise NmpackError("expected either an input shape or samples of what the model takes")
    if samples is not None and batch != 1:
        raise NmpackError(f"samples have a batch of their own: expected no other, got {batch}")
    torch = import_module("torch", "torch")
    from nmpack.torch.conversion import flat_model

    if input_shape is not None:
        height, width, channels = _checked(input_shape, batch)
        samples = torch.zeros(batch, channels, height, width)
    flat = flat_model(model, samples)
    with silenced():
        litert_torch = import_module("litert_torch", "torch")
    with written_whole(path) as temporary:
        try:
            with silenced():
                litert_torch.convert(flat, (), flat.samples()).export(str(temporary))
        except Exception as error:
            raise ModelError(f"litert-torch cannot convert this model: {said(error)}") from error
        _finished(temporary, storage, int8)
    return Path(path)


def keras_to_tflite(
    model: Any,
    path: str | Path,
    *,
    batch: int | None = 1,
    storage: str = "dense",
    samples: Any = None,
    int8: Int8 | None = None,
) -> Path:
    """Convert a built Keras 3 model (TensorFlow backend) through TensorFlow's converter.

    Args:
        model: with any number of inputs and outputs, nested as they are, channels last. One that
            computes in another precision is converted in float32; ``model`` does not change.
        path: the file to write.
        batch: fixed batch size; None keeps it dynamic.
        storage, int8: as for :func:`torch_to_tflite`.
        samples: an example of what the model takes, arrays nested as its inputs, where the model
            does not say it: images of any size, and subclassed models with several inputs. Then
            their first axis is the batch, unless that is None.

    Raises:
        MissingError: TensorFlow or what quantizes is not installed.
        ModelError: the converter refuses the model, the model fails on the inputs, it has no
            weights yet, or the size of an input is not known.
        NmpackError: calibration data do not fit.
    """
    require_storage(storage)
    if batch is not None and batch < 1:
        raise NmpackError(f"the batch must be at least 1, got {batch}")
    import_tensorflow()
    backend = import_keras().config.backend()
    if backend != "tensorflow":
        raise ModelError(
            f"a Keras model converts on the TensorFlow backend only, the backend is {backend}: "
            "save the model and load it again with KERAS_BACKEND=tensorflow"
        )
    from nmpack.keras.conversion import to_flatbuffer

    with silenced():
        content = to_flatbuffer(model, batch, samples)
    with written_whole(path) as temporary:
        temporary.write_bytes(content)
        _finished(temporary, storage, int8)
    return Path(path)


def require_storage(storage: str) -> None:
    """Check the name of a storage.

    Raises:
        NmpackError: there is none of that name.
    """
    if storage not in STORAGES:
        raise NmpackError(f"expected a storage out of {', '.join(STORAGES)}, got {storage!r}")


def _finished(path: Path, storage: str, int8: Int8 | None) -> None:
    if int8 is not None:
        to_int8(path, path, int8)
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
