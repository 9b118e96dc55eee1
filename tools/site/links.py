#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Checks the links of a folder of HTML pages, anchors included, and lists those that leave it."""

from __future__ import annotations

import argparse
import sys
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path

_ATTRIBUTES = {"a": "href", "iframe": "src", "img": "src", "link": "href", "script": "src"}


class Page(HTMLParser):
    """What a page links to, and the anchors that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.anchors |= {value for name in ("id", "name") if (value := values.get(name))}
        link = values.get(_ATTRIBUTES.get(tag, ""))
        if link is not None:
            self.links.append(link)


def check(folder: Path) -> tuple[list[str], list[str]]:
    """Look at each link of each page below ``folder``.

    Returns:
        A line for each link that leads nowhere, and the addresses outside, each once.
    """
    pages = {
        path: Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))
    }
    broken: list[str] = []
    outside: set[str] = set()
    for path, page in pages.items():
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme in ("http", "https") or link.startswith("//"):
                outside.add(link)
            elif not parts.scheme and not _leads(path, parts, pages):
                broken.append(f"{path.relative_to(folder)}: {link} leads nowhere")
    return broken, sorted(outside)


def _leads(path: Path, parts: urllib.parse.SplitResult, pages: dict[Path, Page]) -> bool:
    target = path
    if parts.path:
        target = Path(path.parent, urllib.parse.unquote(parts.path)).resolve()
    if not target.is_file():
        return False
    anchor = urllib.parse.unquote(parts.fragment)
    return not anchor or target not in pages or anchor in pages[target].anchors


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("list", type=Path, help="file for the links that leave the folder")
    arguments = parser.parse_args()
    broken, outside = check(arguments.folder.resolve())
    arguments.list.write_text("".join(f"{link}\n" for link in outside), encoding="utf-8")
    print("\n".join(broken), end="\n" if broken else "")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
