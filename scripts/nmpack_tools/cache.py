# SPDX-License-Identifier: BSD-3-Clause
"""The user's cache, which nmpack.locations knows too: scripts run before the package can."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the ``nmpack`` of ``XDG_CACHE_HOME`` or ``~/.cache``; a relative one is ignored."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "nmpack"
