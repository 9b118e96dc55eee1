# SPDX-License-Identifier: BSD-3-Clause
"""docs/overview: the drawing is what its script makes, the page quotes it, the delegate agrees."""

from __future__ import annotations

import re
from pathlib import Path

import draw_overview
import numpy as np
import overview_layer as layer
import pytest

from nmpack.interpreter_names import absent  # replaced below
