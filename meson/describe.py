#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Says what a build's XNNPACK is: the pinned commit, and a hash of what is done to it.

  describe.py ROOT                    prints it
  describe.py ROOT TEMPLATE OUTPUT    writes TEMPLATE with it for @SOURCES@, if that changes OUTPUT

The hash is of the names and contents of all patches and of the overlay, so two builds of the same
sources say the same.
"""

import hashlib
import re
import sys
from pathlib import Path

root = Path(sys.argv[1])
# The oldest Python that builds it has no module for TOML.
pins = (root / "third_party/pins.toml").read_text(encoding="utf-8")
(commit,) = re.findall(r'^name = "xnnpack"\n(?:.+\n)*?commit = "([0-9a-f]{40})"$', pins, re.M)
total = hashlib.sha256()
for folder in ("patches", "kernels"):
    for path in sorted((root / folder).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            name = path.relative_to(root).as_posix()
            total.update(f"{name}\n{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
said = f"XNNPACK {commit}, patches {total.hexdigest()}"
if len(sys.argv) == 2:
    print(said, end="")
else:
    template, output = map(Path, sys.argv[2:])
    text = template.read_text(encoding="utf-8").replace("@SOURCES@", said)
    if not output.exists() or output.read_text(encoding="utf-8") != text:
        output.write_text(text, encoding="utf-8")
