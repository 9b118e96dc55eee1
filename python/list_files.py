#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Prints the files below a folder, a line each, without what Python or an editor leaves there."""

import sys
from pathlib import Path

root = Path(sys.argv[1])
for path in sorted(root.rglob("*")):
    name = path.relative_to(root)
    hidden = any(part.startswith(".") or part == "__pycache__" for part in name.parts)
    if path.is_file() and not hidden and path.suffix != ".pyc" and not name.name.endswith("~"):
        print(name.as_posix())
