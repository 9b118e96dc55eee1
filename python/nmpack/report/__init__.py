# SPDX-License-Identifier: BSD-3-Clause
"""Everything about how one model runs, measured once and shown in several forms.

:func:`build` measures; :func:`page` makes one HTML file of it that needs nothing else,
:func:`csv_text` a table, :func:`overlay` colours for Model Explorer. What was not measured is left
out of all of them, and said.
"""

from __future__ import annotations

from nmpack.report.accuracy import Accuracy, read_accuracy
from nmpack.report.building import build
from nmpack.report.data import Layer, Report
from nmpack.report.exports import csv_text, overlay
from nmpack.report.page import page

__all__ = [
    "Accuracy",
    "Layer",
    "Report",
    "build",
    "csv_text",
    "overlay",
    "page",
    "read_accuracy",
]
