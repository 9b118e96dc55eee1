#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Builds the documentation as a static site, in build/site: open build/site/index.html.

  1. .venv-site, from requirements/site.lock; a second run leaves it as it is
  2. build/site-source: the Markdown pages, and the references made from docstrings and --help
  3. build/site, by Sphinx, whose warnings are errors
  4. every link of every page that stays on the site must lead somewhere; those that leave it are
     listed in build/site-links.txt, and are not followed

Reports that --gallery has measured before are shown again without it.

environment:
  NMPACK_PYTHON   the Python 3.11 to make .venv-site from (default: the one that runs this)
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from nmpack_tools.console import ToolError, exclusive, run_main, say
from nmpack_tools.environment import make_environment

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements/site.lock"
VENV = ROOT / ".venv-site"
TOOLS = ROOT / "tools/site"
BUILD = ROOT / "build"
SOURCE, SITE, LINKS, GALLERY = (
    BUILD / name for name in ("site-source", "site", "site-links.txt", "gallery")
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--gallery",
        action="store_true",
        help="first measure the reports of the gallery on this machine, with .venv and the delegate"
        " that scripts/setup.sh makes: minutes",
    )
    parser.add_argument(
        "--follow", action="store_true", help="last, ask the network for each link in the list"
    )
    arguments = parser.parse_args()
    with exclusive(BUILD / "site.lock", "build_site.py"):
        python = str(make_environment(VENV, LOCK, run))
        if arguments.gallery:
            measure_gallery()
        say("  writing the pages")
        run([python, str(TOOLS / "prepare.py"), str(SOURCE), "--gallery", str(GALLERY)], "prepare")
        say("  building the site")
        shutil.rmtree(SITE, ignore_errors=True)
        sphinx = [python, "-m", "sphinx", "-q", "-W", "--keep-going", "-E", "-b"]
        run([*sphinx, "html", "-d", str(BUILD / "site-cache"), str(SOURCE), str(SITE)], "Sphinx")
        run([python, str(TOOLS / "links.py"), str(SITE), str(LINKS)], "links")
        if arguments.follow:
            say("  asking for the links that leave the site")
            folder = str(BUILD / "site-linkcheck")
            run([*sphinx, "linkcheck", "-d", folder, str(SOURCE), folder], "following links")
    outside = len(LINKS.read_text(encoding="utf-8").splitlines())
    say(f"the site: {SITE}/index.html; {outside} links leave it, see {LINKS}")
    return 0


def measure_gallery() -> None:
    """Makes the reports, with the environment that runs models."""
    python = ROOT / ".venv/bin/python"
    if not python.exists():
        raise ToolError("expected .venv, found none: run scripts/setup.sh first")
    command = [str(python), str(TOOLS / "gallery.py"), str(GALLERY)]
    if subprocess.run(command, check=False, cwd=ROOT).returncode != 0:
        raise ToolError("the gallery failed: what is above says why")


def run(command: list[str], what: str) -> str:
    """Runs a command; an error shows all it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode != 0:
        print((done.stdout + done.stderr).rstrip(), file=sys.stderr)
        raise ToolError(f"{what} failed: what is above says why")
    return done.stdout


if __name__ == "__main__":
    run_main(main)
