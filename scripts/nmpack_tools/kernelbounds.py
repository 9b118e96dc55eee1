# SPDX-License-Identifier: BSD-3-Clause
"""What the overlay's headers say of kernels.toml: its costs, and how many kernels and rows."""

from __future__ import annotations

import re
from pathlib import Path

from .console import ToolError

HEADER = "include/xnnpack-nm.h"
NMCONV_HEADER = "src/xnnpack/nmconv.h"
_NMCONV_ROWS = "XNN_MAX_NMCONV_MR"
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
_MEMBER = re.compile(r"float (\w+)((?:\[XNN_MAX_\w+\])*);")


def load_bounds(overlay: Path) -> dict[str, list[int]]:
    """Of each member of struct xnn_nm_costs: the lengths of its arrays; none for a plain number.

    nmconv_percent has two as well: how many micro-kernels, and how many pixels one may compute.
    """
    header = _read(overlay, HEADER, "it says what costs there are")
    limits = _limits(header)
    bounds = {}
    for name, sizes in _members(header):
        bounds[name] = [_limit(HEADER, limits, size) for size in re.findall(r"\w+", sizes)]
    if [len(bounds.get(name, [])) for name in ("nmconv_percent", "nmspmm_percent")] != [1, 2]:
        raise ToolError(
            f"kernels/{HEADER}: expected a struct xnn_nm_costs with nmconv_percent[] and "
            f"nmspmm_percent[][], got members {', '.join(bounds) or 'none'}"
        )
    nmconv = _read(overlay, NMCONV_HEADER, "it says how many pixels micro-kernels compute at once")
    bounds["nmconv_percent"].append(_limit(NMCONV_HEADER, _limits(nmconv), _NMCONV_ROWS))
    return bounds


def _read(overlay: Path, name: str, purpose: str) -> str:
    try:
        return (overlay / name).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ToolError(f"kernels/{name} is missing: {purpose}") from None
    except UnicodeDecodeError as error:
        raise ToolError(f"kernels/{name}: expected text in UTF-8, got {error}") from None


def _limits(header: str) -> dict[str, int]:
    found = re.findall(r"^#define (XNN_MAX_\w+) (\d{1,9})\b", header, re.M)
    return {name: int(digits) for name, digits in found}


def _limit(header: str, limits: dict[str, int], name: str) -> int:
    if name not in limits:
        raise ToolError(f"kernels/{header}: expected a #define of {name} as 1 to 9 digits")
    return limits[name]


def _members(header: str) -> list[tuple[str, str]]:
    """Names of the members of struct xnn_nm_costs, which are all floats, with their brackets."""
    body = re.search(r"^struct xnn_nm_costs \{(.*?)^\};", header, re.M | re.S)
    members = []
    for line in _COMMENT.sub("", body[1] if body else "").splitlines():
        match = _MEMBER.fullmatch(line.strip())
        if match is not None:
            members.append((match[1], match[2]))
        elif line.strip():
            raise ToolError(
                f"kernels/{HEADER}: expected each line of struct xnn_nm_costs to be a member as "
                f"'float name;' or 'float name[XNN_MAX_ENTRIES];', got {line.strip()!r}"
            )
    return members
