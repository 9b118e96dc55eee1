# SPDX-License-Identifier: BSD-3-Clause
"""A report's page in a browser: on a phone and a desk, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from devtools import Browser
from report_samples import written

from nmpack.report import Report, build, page
from nmpack.report.markup import Markup, document

pytestmark = [
    pytest.mark.browser,
    pytest.mark.delegate,
    pytest.mark.usefixtures("delegate"),
]
SCREENS = [(width, dark) for width in (390, 1280) for dark in (False, True)]

# The contrast of text with what lies behind it, as WCAG 2 defines it.
CONTRAST = """
(() => {
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((x) => x / 255)
      .map((x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const color = getComputedStyle(node).backgroundColor;
      if (color !== "rgba(0, 0, 0, 0)") return color;
    }
  };
  const of = (node) => {
    const style = getComputedStyle(node);
    const a = light(node.closest("svg") ? style.fill : style.color), b = light(behind(node));
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  const all = (what) => Math.min(...[...document.querySelectorAll(what)].map(of));
  return [all("p, li, td, th, h1, h2, figcaption, small, svg text"), all("rect, circle")];
})()
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    model, baseline = written(tmp_path_factory.mktemp("report"))
    return build(model, baseline=baseline, runs=2, warmup=0)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.mark.parametrize(("width", "dark"), SCREENS)
def test_a_screen(report: Report, browser: Browser, width: int, dark: bool, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page(report))
    browser.open(path, width, dark=dark)
    asked = [item["request"]["url"] for method, item in browser.events
             if method == "Network.requestWillBeSent"]  # fmt: skip
    assert {url for url in asked if not url.startswith("data:")} == {path.as_uri()}
    assert browser.evaluate("document.title").startswith("nmpack report: ")
    assert browser.evaluate("document.scripts.length") == 1
    # A phone shows a page that is too wide as a whole, smaller; a desk scrolls it.
    assert browser.evaluate("innerWidth") == width
    root = "document.documentElement"
    assert browser.evaluate(f"{root}.scrollWidth - {root}.clientWidth") == 0
    # Nothing of a chart is cut off, either.
    assert browser.evaluate(
        "[...document.querySelectorAll('svg')].flatMap((svg) => [...svg.querySelectorAll('text')]"
        ".filter((x) => x.getBoundingClientRect().right > svg.getBoundingClientRect().right + 1)"
        ".map((x) => x.textContent))"
    ) == []  # fmt: skip
    seen = "[...document.querySelectorAll('rect.bar')].filter((x) => x.getBoundingClientRect()"
    assert browser.evaluate(f"{seen}.width > 0).length") == 4 * (len(report.layers) + 1)
    text, marks = browser.evaluate(CONTRAST)
    assert text >= 4.5
    assert marks >= 3
    brightness = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (brightness == "rgb(255, 255, 255)") != dark
    browser.screenshot(tmp_path / "screen.png")
    assert [item for method, item in browser.events if method == "Log.entryAdded"] == []


def test_a_table_is_sorted_by_a_click(report: Report, browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page(report))
    browser.open(path, 1280, dark=False)
    head = "[...document.querySelectorAll('th button')].find((x) => x.textContent == 'sparse ms')"
    read = (
        f"(() => {{ const head = {head}.closest('th'); return [...head.closest('table').tBodies[0]"
        ".rows].map((row) => row.cells[head.cellIndex].dataset.value); })()"
    )
    expected = sorted(1e3 * layer.seconds["sparse"] for layer in report.layers)
    browser.evaluate(f"{head}.click()")
    assert [float(value) for value in browser.evaluate(read)] == expected
    browser.evaluate(f"{head}.click()")
    assert [float(value) for value in browser.evaluate(read)] == expected[::-1]
    assert browser.evaluate(f"{head}.closest('th').ariaSort") == "descending"


def test_a_script_of_a_strangers_does_not_run(browser: Browser, tmp_path: Path) -> None:
    """Also where one got into the page, the page's own policy stops it."""
    path = tmp_path / "report.html"
    markup = "<script>document.title = 'broken'</script><img src=x onerror='document.title = 1'>"
    path.write_text(document("sound", "p { color: red }", "void 0;", Markup(markup)))
    browser.open(path, 1280, dark=False)
    assert browser.evaluate("document.title") == "sound"
    refused = [item["entry"]["text"] for method, item in browser.events
               if method == "Log.entryAdded"]  # fmt: skip
    assert sum("Content Security Policy" in text for text in refused) >= 2
