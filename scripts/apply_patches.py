#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Builds third_party/patched/<source> from the pinned source, the patch series and the overlay.

Each patched tree is a git repository: the pristine source, then one commit for every patch of
patches/<set>/series, then (XNNPACK only) one commit with the overlay kernels/, what its templates
expand to, and XNNPACK's regenerated microkernel lists. The meson build uses these trees.

To change a patch, work where it applies:
  cd third_party/patched/xnnpack && $EDITOR ... && git commit
  scripts/apply_patches.py --export        writes patches/ from the commits
  scripts/apply_patches.py                 builds the tree from patches/ again
New files do not belong in patches: put them in kernels/. See patches/README.md.

A second run does nothing; a run that was interrupted leaves the old tree whole.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from nmpack_tools.console import ToolError, exclusive, run_main, say
from nmpack_tools.patchtree import Layout, build, export, exported, refresh
from nmpack_tools.pins import load_pins
from nmpack_tools.series import label, load_series, missing_trailers

ROOT = Path(__file__).resolve().parent.parent

# source -> (patch folder, overlay folder)
TREES = {"xnnpack": ("xnnpack", "kernels"), "tensorflow": ("tflite", None)}


def layouts(root: Path, only: list[str] | None) -> list[Layout]:
    pins = {pin.name: pin for pin in load_pins(root / "third_party" / "pins.toml")}
    chosen = []
    for name, (patches, overlay) in TREES.items():
        if only and name not in only:
            continue
        if name not in pins:
            raise ToolError(f"third_party/pins.toml has no pin called {name}")
        folder = root / overlay if overlay else None
        chosen.append(
            Layout(
                pin=pins[name],
                pristine=root / "third_party" / name,
                patches=root / "patches" / patches,
                overlay=folder if folder is not None and folder.is_dir() else None,
                tree=root / "third_party" / "patched" / name,
            )
        )
    return chosen


def check(layout: Layout) -> None:
    """Proves, in a temporary folder, that the series is exact, applies, and round-trips."""
    series = load_series(layout.patches)
    for patch in series.patches:
        if missing := missing_trailers(patch.read_bytes()):
            raise ToolError(
                f"{label(patch)} lacks the trailer '{missing[0]}:'; see patches/README.md"
            )
    with tempfile.TemporaryDirectory(prefix="nmpack-check-") as tmp:
        repo = build(layout, series, Path(tmp) / layout.name)
        again = exported(repo, series)
        for name, content in series.contents().items():
            if again.get(name) != content:
                raise ToolError(
                    f"{label(layout.patches / name)} is not what its commit exports "
                    f"({_first_difference(content, again.get(name, b''))}); "
                    "run scripts/apply_patches.py --export"
                )
    say(
        f"{layout.name}: ok ({len(series.patches)} patches apply without fuzz and export unchanged)"
    )


def _first_difference(file: bytes, export: bytes) -> str:
    old, new = file.split(b"\n"), export.split(b"\n")
    for number, (a, b) in enumerate(zip(old, new, strict=False), 1):
        if a != b:
            ours, theirs = a.decode(errors="replace"), b.decode(errors="replace")
            return f"line {number}: file has {ours!r}, export {theirs!r}"
    return f"file has {len(old)} lines, export {len(new)}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--export", action="store_true", help="write patches/ from the trees' commits"
    )
    mode.add_argument(
        "--check",
        action="store_true",
        help="prove in a temporary folder that each series is exact, applies and exports unchanged",
    )
    mode.add_argument(
        "--force",
        action="store_true",
        help="build again even if nothing changed, throwing away edits made in the trees",
    )
    parser.add_argument(
        "--only", metavar="NAME", action="append", choices=sorted(TREES), help="just this tree"
    )
    parser.add_argument(
        "--root",
        type=Path,
        default=ROOT,
        help="the project's folder (default: where this script is)",
    )
    args = parser.parse_args()
    if shutil.which("git") is None:
        raise ToolError("git is missing; install it (Debian: apt-get install git)")
    chosen = layouts(args.root.resolve(), args.only)
    if args.check:
        for layout in chosen:
            check(layout)
        return 0
    with exclusive(args.root / "third_party" / ".lock", "run"):
        for layout in chosen:
            if args.export:
                export(layout)
            else:
                refresh(layout, args.force)
    return 0


if __name__ == "__main__":
    run_main(main)
