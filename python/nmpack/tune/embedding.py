# SPDX-License-Identifier: BSD-3-Clause
"""A tuning table in the metadata of a ``.tflite`` file, where the delegate finds it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nmpack.files import written_whole
from nmpack.tflite.builder import packed, unpacked
from nmpack.tflite.file import TFLiteFile
from nmpack.tune.table import Table, read_table, write_table

NAME = "nmpack_tuning"


def embed(model: str | Path, table: Table, target: str | Path | None = None) -> None:
    """Write ``model`` with a table to ``target``, by default in its own place.

    A table that it carries already is replaced; everything else stays.

    Raises:
        ModelError: it is not usable, or would lose something when it is written anew.
        MissingError: ai-edge-litert, whose schema is used, is not installed.
    """
    source = Path(model)
    TFLiteFile(source)
    schema, unpacked_model = unpacked(source)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(write_table(table), np.uint8)
    entries = [
        item
        for item in unpacked_model.metadata or ()
        if item.name not in (NAME, NAME.encode("ascii"))
    ]
    entry = schema.MetadataT()
    entry.name, entry.buffer = NAME, len(unpacked_model.buffers)
    unpacked_model.buffers.append(buffer)
    unpacked_model.metadata = [*entries, entry]
    content = packed(unpacked_model)
    with written_whole(target or source) as temporary:
        temporary.write_bytes(content)
        TFLiteFile(temporary)


def embedded(model: str | Path) -> Table | None:
    """Return the table that a file carries, None where it has none.

    Raises:
        ModelError: the file is not usable.
        TableError: the table is not.
    """
    content = TFLiteFile(model).metadata(NAME)
    return None if content is None else read_table(content, f"{model}, metadata {NAME}")
