# SPDX-License-Identifier: BSD-3-Clause
"""Writing flatbuffers as the schema of ``.tflite`` files wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np

from nmpack.errors import ModelError
from nmpack.quiet import import_module, silenced


def aligned_builder(flatbuffers: Any) -> Any:
    """Return a builder that aligns byte vectors as the schema wants, to 16."""

    base: Any = flatbuffers.Builder

    class Builder(base):  # type: ignore[misc]
        head: int

        def CreateNumpyVector(self, x: Any) -> Any:  # noqa: N802
            if x.dtype.itemsize != 1 or not x.size:
                return super().CreateNumpyVector(x)
            self.StartVector(1, x.size, 16)
            self.head = self.head - x.size
            self.Bytes[self.head : self.head + x.size] = x.tobytes()
            self.vectorNumElems = x.size
            return self.EndVector()

    return Builder(1 << 20)


def unpacked(path: Path) -> tuple[Any, Any]:
    """Return the schema's module and a model as its objects, to be changed and packed again.

    Raises:
        ModelError: it is not usable, or would lose something when it is written anew.
        MissingError: ai-edge-litert, whose schema is used, is not installed.
    """
    with silenced():
        schema = import_module("ai_edge_litert.schema_py_generated", "interpreter")
    content = path.read_bytes()
    try:
        model = schema.ModelT.InitFromPackedBuf(content, 0)
    except Exception as error:
        raise ModelError(f"{path}: not a usable .tflite file: {error!r:.200}") from error
    graphs = model.subgraphs
    options = any(item.largeCustomOptionsOffset for graph in graphs for item in graph.operators)
    if options:
        raise ModelError(f"{path}: options beside the flatbuffer are not supported")
    outside = sum(buffer.size for buffer in model.buffers if buffer.offset > 1)
    if outside > len(content):
        raise ModelError(f"{path}: buffers of {outside} bytes share a file of {len(content)}")
    for buffer in model.buffers:
        _bring_inside(path, buffer, content)
    if is_zipfile(path):
        raise ModelError(f"{path}: files packed behind the model would be lost")
    return schema, model


def _bring_inside(path: Path, buffer: Any, content: bytes) -> None:
    """Take what a buffer keeps behind the flatbuffer, as other tools write large models."""
    if buffer.offset > 1 and buffer.data is None:
        end = buffer.offset + buffer.size
        if end > len(content):
            raise ModelError(f"{path}: a buffer ends at byte {end} of {len(content)}")
        buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
    buffer.offset = buffer.size = 0


def drop_unused(model: Any) -> None:
    """Empty the buffers of a model that neither a tensor nor metadata uses, in place."""
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    used |= {item.buffer for item in model.metadata or ()} | set(model.metadataBuffer or ())
    for place, buffer in enumerate(model.buffers):
        if place not in used:
            buffer.data = None


def packed(model: Any) -> bytes:
    """Return the file of a model."""
    with silenced():
        flatbuffers = import_module("flatbuffers", "interpreter")
    builder = aligned_builder(flatbuffers)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
