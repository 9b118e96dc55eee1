# SPDX-License-Identifier: BSD-3-Clause
"""The site: its links, its pages, and once all of it."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def module(name: str) -> ModuleType:
    """Return a module of tools/site that needs nothing but the standard library and nmpack."""
    spec = importlib.util.spec_from_file_location(f"site_{name}", ROOT / f"tools/site/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "index.html").write_text(
        '<h1 id="top">x</h1><a href="deep/page.html#here">a</a><a href="#top">b</a>'
        '<a href="https://example.org/y">c</a><a href="mailto:x@example.org">d</a>'
        '<a href="#none">e</a><a href="deep/page.html#gone">f</a><img src="no.png">'
    )
    (tmp_path / "deep/page.html").write_text('<p id="here"><a href="../index.html">x</a></p>')
    broken, outside = module("links").check(tmp_path)
    assert [line.split()[1] for line in broken] == ["#none", "deep/page.html#gone", "no.png"]
    assert outside == ["https://example.org/y"]


def test_pages_keep_their_text_and_their_places(tmp_path: Path) -> None:
    pages = module("markdown_pages")
    names = pages.copy(ROOT, tmp_path)
    assert names[0] == "README.md"
    assert {str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md")} <= set(names)
    for name in names:
        copied = (tmp_path / pages.target_of(name)).read_text(encoding="utf-8")
        without = [pages.LINK.sub("", x) for x in (copied, (ROOT / name).read_text("utf-8"))]
        assert without[0] == without[1]
        for _, link, _ in pages.LINK.findall(re.sub(r"^```.*?^```", "", copied, flags=re.M | re.S)):
            assert (
                "://" in link or (tmp_path / pages.target_of(name)).parent.joinpath(link).exists()
            )


def test_links_in_examples_stay() -> None:
    pages = module("markdown_pages")
    text = "see [a](README.md)\n\n```md\n[a](README.md)\n```\n"
    assert [prose for prose, _ in pages.outside_fences(text)] == [True, False, True]
    assert "".join(part for _, part in pages.outside_fences(text)) == text


def test_every_package_of_the_site_is_pinned() -> None:
    lock = (ROOT / "requirements/site.lock").read_text(encoding="utf-8").splitlines()
    lines = [line for line in lock if not line.startswith("#")]
    assert lines == sorted(lines, key=str.casefold)
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)


def test_a_failure_is_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/build_site.py", "--galery"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("unrecognized arguments: --galery")


@pytest.fixture(scope="module")
def site() -> Path:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/build_site.py"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / "build/site"


@pytest.mark.slow
def test_the_site(site: Path) -> None:
    """It is built without a warning: links and names in docstrings lead somewhere."""
    page = (site / "api/nmpack.torch.html").read_text(encoding="utf-8")
    assert 'id="nmpack.torch.prune_"' in page
    assert 'href="nmpack.errors.html#nmpack.errors.PatternError"' in page
    front = (site / "index.html").read_text(encoding="utf-8")
    assert 'href="docs/benchmarks.html#int8"' in front
    assert "usage: nmpack convert" in (site / "commands/convert.html").read_text(encoding="utf-8")
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    titles: dict[str, Any] = json.loads(index[index.index("(") + 1 : index.rindex(")")])["titles"]
    assert {"Benchmarks", "nmpack.torch", "nmpack convert", "Gallery"} <= set(titles)
    listed = (ROOT / "build/site-links.txt").read_text(encoding="utf-8").splitlines()
    assert "https://github.com/google/XNNPACK" in listed
