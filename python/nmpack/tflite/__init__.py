# SPDX-License-Identifier: BSD-3-Clause
"""Files of TFLite models: reading with every byte distrusted, rewriting, and their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nmpack.quiet import modules_of

if not TYPE_CHECKING:  # a checker would take every name for one that exists
    __getattr__ = modules_of(__name__, "file", "model", "storage")
