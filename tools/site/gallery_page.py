# SPDX-License-Identifier: BSD-3-Clause
"""Writes the gallery: pages that ``nmpack report`` made, each with what was measured."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

_NONE = """\
There are none in this copy of the site: they are measured, which takes minutes.
``./scripts/build_site.py --gallery`` makes them.
"""


def write(folder: Path, gallery: Path | None) -> None:
    """Write ``folder/gallery/index.rst`` and, where there is a gallery, copy its reports."""
    target = folder / "gallery"
    target.mkdir()
    # Sphinx copies what is below extra as it is.
    reports = folder / "extra/gallery/reports"
    reports.mkdir(parents=True)
    text = ["Gallery", "=======", "", "Pages of :doc:`nmpack report </docs/report>`, as they are."]
    if gallery is None or not (gallery / "gallery.json").is_file():
        text += ["", _NONE]
    else:
        text += _reports(gallery, reports)
    (target / "index.rst").write_text("\n".join(text), encoding="utf-8")


def _reports(gallery: Path, target: Path) -> Iterator[str]:
    listing = json.loads((gallery / "gallery.json").read_text(encoding="utf-8"))
    yield (
        f"Made {listing['made']} with nmpack {listing['version']} on {listing['machine']}; weights"
        " are random, which times do not depend on."
    )
    yield ""
    for entry in listing["reports"]:
        shutil.copy(gallery / entry["page"], target / entry["page"])
        address = f"reports/{entry['page']}"
        yield from (entry["title"], "-" * len(entry["title"]), "")
        yield from (".. code-block:: sh", "", *(f"   {line}" for line in entry["commands"]), "")
        for name, value in entry["results"].items():
            yield f"- {name}: {value}"
        yield from ("", ".. raw:: html", "")
        yield f'   <p><a href="{address}">The whole page</a></p>'
        yield (
            f'   <iframe class="report" loading="lazy" src="{address}"'
            f' title="Report: {entry["title"]}"></iframe>'
        )
        yield ""
