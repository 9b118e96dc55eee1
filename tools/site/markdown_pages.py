# SPDX-License-Identifier: BSD-3-Clause
"""Copies the Markdown pages, as they are but for links that leave what is copied.

Every page keeps its place in the tree, so that links between pages stay as they are; README.md
becomes the first page, index.md. A link to a file that is no page, as a licence, leads to a copy.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

PAGES = (
    "README.md",
    "CHANGELOG.md",
    "THIRD_PARTY_LICENSES.md",
    "patches/README.md",
    "docs/**/*.md",
)
LINK = re.compile(r"(!?\[[^]\[]*\]\()([^)\s#]+)((?:#[^)\s]*)?\))")

_FENCE = re.compile(r"^( *)(```+)[^`]*?^\1\2 *$", re.M | re.S)


def copy(root: Path, folder: Path) -> list[str]:
    """Copy the pages below ``root``; return their paths there, README.md first."""
    paths = [path for pattern in PAGES for path in sorted(root.glob(pattern))]
    pages = [str(path.relative_to(root)) for path in paths]
    for page in pages:
        target = folder / target_of(page)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = (root / page).read_text(encoding="utf-8")
        target.write_text(_rewritten(text, page, root, folder, set(pages)), encoding="utf-8")
    return pages


def target_of(page: str) -> str:
    """Return where a page is copied to."""
    return "index.md" if page == "README.md" else page


def outside_fences(text: str) -> list[tuple[bool, str]]:
    """Cut a page into (is prose, text), fenced blocks apart."""
    parts, end = [], 0
    for match in _FENCE.finditer(text):
        parts += [(True, text[end : match.start()]), (False, match[0])]
        end = match.end()
    return [*parts, (True, text[end:])]


def _rewritten(text: str, page: str, root: Path, folder: Path, pages: set[str]) -> str:
    def leading(match: re.Match[str]) -> str:
        if "://" in match[2]:
            return match[0]
        place = os.path.normpath(Path(page).parent / match[2])
        if place in pages:
            return match[1] + os.path.relpath(target_of(place), Path(page).parent) + match[3]
        if (root / place).is_file():
            # Not under its own name where that would make a page of it.
            copied = folder / place
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / place, copied)
        return match[0]

    return "".join(
        LINK.sub(leading, part) if is_prose else part for is_prose, part in outside_fences(text)
    )
