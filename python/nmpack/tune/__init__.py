# SPDX-License-Identifier: BSD-3-Clause
"""Tuning: time what a convolution may run on, on the machine that it is to run on.

1. :func:`layers_of` lists the distinct convolutions of a model.
2. :func:`tune` measures them on a target, :func:`native_target`, :func:`qemu_target` or
   :class:`SshTarget`, and keeps every trial in a :class:`Store`.
3. :func:`table_of` and :func:`save_table` write what came of it for the delegate; :func:`embed`
   puts it into the model.

:mod:`nmpack.tune.rounds` has the rule by which trials decide.
"""

from __future__ import annotations

from nmpack.tune.embedding import embed, embedded
from nmpack.tune.exchange import export_records, import_records
from nmpack.tune.layers import layers_of
from nmpack.tune.records import default_database
from nmpack.tune.ssh import Board, SshTarget
from nmpack.tune.store import Store
from nmpack.tune.table import load_table, save_table
from nmpack.tune.tabulate import table_of
from nmpack.tune.targets import native_target, qemu_target
from nmpack.tune.tuner import tune

__all__ = [
    "Board",
    "SshTarget",
    "Store",
    "default_database",
    "embed",
    "embedded",
    "export_records",
    "import_records",
    "layers_of",
    "load_table",
    "native_target",
    "qemu_target",
    "save_table",
    "table_of",
    "tune",
]
