# SPDX-License-Identifier: BSD-3-Clause
"""A wheel of the package and of what is built for riscv64, to try on a board at once.

What is published is built by scripts/build_wheels.py; this one packs what lies there.
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

from .console import ToolError

PROGRAMS = (
    "delegate/libnmpack_delegate.so", "delegate/nmpack-run", "measure/nmpack-measure",
)  # fmt: skip
METADATA = """\
Metadata-Version: 2.1
Name: nmpack
Version: {version}
Requires-Dist: numpy
"""
WHEEL = """\
Wheel-Version: 1.0
Generator: nmpack
Root-Is-Purelib: false
Tag: py3-none-linux_riscv64
"""
ENTRY_POINTS = "[console_scripts]\nnmpack = nmpack.cli:main\n"
VERSION = "0"


def board_wheel(root: Path, folder: Path) -> Path:
    """Write the wheel of the tree ``root`` into ``folder``."""
    package = root / "python/nmpack"
    sources = sorted(path for path in package.rglob("*") if "__pycache__" not in path.parts)
    files = {
        f"nmpack/{path.relative_to(package)}": path.read_bytes()
        for path in sources
        if path.is_file()
    }
    for program in PROGRAMS:
        path = root / "build/riscv64" / program
        if not path.is_file():
            raise ToolError(f"expected {path}, found none; run scripts/setup.sh first")
        files[f"nmpack/lib/{path.name}"] = path.read_bytes()
    info = f"nmpack-{VERSION}.dist-info"
    files[f"{info}/METADATA"] = METADATA.format(version=VERSION).encode()
    files[f"{info}/WHEEL"] = WHEEL.encode()
    files[f"{info}/entry_points.txt"] = ENTRY_POINTS.encode()
    rows = [f"{name},{_hash(data)},{len(data)}" for name, data in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    target = folder / f"nmpack-{VERSION}-py3-none-linux_riscv64.whl"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (0o100755 if name.startswith("nmpack/lib/") else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return target


def _hash(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
    return f"sha256={digest.rstrip(b'=').decode()}"
