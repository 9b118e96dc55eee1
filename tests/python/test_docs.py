# SPDX-License-Identifier: BSD-3-Clause
"""The pages name what there is: links, anchors, files, patches."""

from __future__ import annotations

import fnmatch
import os
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "patches/README.md", *sorted(ROOT.glob("docs/**/*.md")))
IDS = [str(page.relative_to(ROOT)) for page in PAGES]

LINK = re.compile(r"\[[^]\[]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^```.*?^```", re.M | re.S)
# Names of source files, and paths of anything, in our folders or in XNNPACK's.
SOURCE = re.compile(r"[\w.*/-]+\.(?:c|cc|h|ini|md|patch|py|sh|svg|toml|txt)(?:\.in)?")
OURS = {x.name for x in ROOT.iterdir() if x.is_dir() and x.name[0] != "."} - {"build"}


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


@cache
def files() -> list[str]:
    """Every file and folder that a page may name: ours, and those of the patched sources."""
    found = []
    for top in (ROOT, *(ROOT / "third_party/patched").iterdir()):
        for folder, inner, names in os.walk(top):
            at = Path(folder).relative_to(top)
            found += [f"/{at / name}" for name in names]
            found += [f"/{at / name}{end}" for name in inner for end in ("", "/")]
            if folder == str(ROOT):
                inner[:] = OURS - {"third_party"}
                found += [f"/{x.relative_to(ROOT)}" for x in ROOT.glob("third_party/*")]
                found += [f"/{x.relative_to(ROOT)}" for x in ROOT.glob("third_party/*/*")]
            inner[:] = [name for name in inner if not name.startswith(".")]
    return found


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    titles = re.findall(r"^#+ +(.*)$", prose(page), re.M)
    kept = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.strip().replace(" ", "-") for title in kept}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page: Path) -> None:
    wrong = []
    for link in LINK.findall(prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page if not path else (page.parent / path)
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_files_that_are_named_exist(page: Path) -> None:
    wrong = []
    for name in named(page):
        if not any(fnmatch.fnmatchcase(file, f"*/{name}") for file in files()):
            wrong.append(name)
    assert wrong == []


def named(page: Path) -> set[str]:
    words = [word for code in CODE.findall(prose(page)) for word in code.split()]
    paths = {word.strip("(),;:").removeprefix("./") for word in words}
    return {
        path
        for path in paths
        if (SOURCE.fullmatch(path) or (path.split("/")[0] in OURS and "/" in path))
        and "<" not in path
    }


def test_every_page_can_be_reached() -> None:
    seen: set[Path] = set()
    ways = [ROOT / "README.md"]
    while ways:
        page = ways.pop()
        seen.add(page)
        for link in LINK.findall(prose(page)):
            target = (page.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target not in seen and target.exists():
                ways.append(target)
    assert set(PAGES) - seen == {ROOT / "patches/README.md"} - seen


@pytest.mark.parametrize(("name", "title"), [("xnnpack", "XNNPACK"), ("tflite", "TFLite")])
def test_upstreaming_has_a_row_for_each_patch(name: str, title: str) -> None:
    series = (ROOT / "patches" / name / "series").read_text(encoding="utf-8").splitlines()
    patches = [line.removesuffix(".patch") for line in series if not line.startswith("#")]
    page = (ROOT / "docs/upstreaming.md").read_text(encoding="utf-8")
    section = page[page.index(f"## {title}") :].split("\n## ")[0]
    rows = re.findall(r"^\|(.*?)\|", section, re.M)
    assert sorted(x for row in rows for x in CODE.findall(row)) == sorted(patches)
    if name == "tflite":
        assert f"the {len(patches)} patches" in prose(ROOT / "docs/delegate.md")
