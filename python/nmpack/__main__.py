# SPDX-License-Identifier: BSD-3-Clause
"""``python -m nmpack`` is the ``nmpack`` command."""

from __future__ import annotations

import sys

from nmpack.cli import main

sys.exit(main())
