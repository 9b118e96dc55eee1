# SPDX-License-Identifier: BSD-3-Clause
"""Interpreters with and without our delegate: in this process, in another, under an emulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nmpack.quiet import modules_of

if not TYPE_CHECKING:  # a checker would take every name for one that exists
    __getattr__ = modules_of(__name__, "c_interpreter", "interpreter", "runner")
