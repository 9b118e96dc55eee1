#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes what Sphinx reads, in build/site-source: scripts/build_site.py calls it.

The Markdown pages are copied, the references made from the sources; nothing is edited there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import api_pages
import command_pages
import gallery_page
import griffe
import markdown_pages
import public_names

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="is made anew")
    parser.add_argument("--gallery", type=Path, help="folder that tools/site/gallery.py filled")
    arguments = parser.parse_args()
    try:
        prepare(arguments.folder, arguments.gallery)
    except public_names.SiteError as error:
        print(f"prepare.py: {error}", file=sys.stderr)
        return 1
    return 0


def prepare(folder: Path, gallery: Path | None) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pages = markdown_pages.copy(ROOT, folder)
    package = public_names.load(ROOT / "python")
    names = api_pages.write(public_names.offered(package), folder / "api")
    command_pages.write(ROOT / "python", folder / "commands")
    gallery_page.write(folder, gallery)
    design = [page for page in pages if page.startswith("docs/design/")]
    add_tree(folder / "docs/design.md", [("", design)])
    add_tree(folder / "index.md", list(navigation(pages, set(design))))
    for name in ("conf.py", "style.css"):
        shutil.copy(HERE / name, folder / name)
    known = {"names": names, "all": sorted(everything(package))}
    (folder / "names.json").write_text(json.dumps(known), encoding="utf-8")


def navigation(pages: list[str], elsewhere: set[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield captions and pages: first those of the README's table, in its order."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    linked = [
        match[2] for match in markdown_pages.LINK.finditer(readme) if match[1].startswith("[")
    ]
    rows = [page for page in dict.fromkeys(linked[::-1]) if page in pages][::-1]
    docs = [page for page in rows if page.startswith("docs/")]
    rest = [page for page in pages if page not in {"README.md", *docs, *elsewhere}]
    yield "Guide", [*docs, *(page for page in rest if page.startswith("docs/"))]
    yield "Reference", ["api/index", "commands/index", "gallery/index"]
    yield "Project", [page for page in rest if not page.startswith("docs/")]


def add_tree(page: Path, groups: list[tuple[str, list[str]]]) -> None:
    """Append a hidden table of contents; it is what the navigation at the side shows."""
    text = ""
    for caption, pages in groups:
        paths = [f"/{name.removesuffix('.md')}" for name in pages]
        title = f":caption: {caption}\n" if caption else ""
        text += "\n```{toctree}\n:hidden:\n" + title + "\n" + "\n".join(paths) + "\n```\n"
    page.write_text(page.read_text(encoding="utf-8") + text, encoding="utf-8")


def everything(module: griffe.Object) -> Iterator[str]:
    """Yield the full name of all that the package defines."""
    for member in module.members.values():
        if isinstance(member, griffe.Alias):
            continue
        yield member.path
        if isinstance(member, griffe.Module | griffe.Class):
            yield from everything(member)


if __name__ == "__main__":
    sys.exit(main())
