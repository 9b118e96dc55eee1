# SPDX-License-Identifier: BSD-3-Clause
"""Writes the reference of the command line: what each command prints for --help."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from public_names import SiteError

#: Prints the overview and each command's help, in one process: starting takes a second.
_ASK = """
import argparse, contextlib, io, json
from nmpack.cli import command_line, main

overview = io.StringIO()
with contextlib.redirect_stdout(overview):
    main([])
parser = command_line()
verbs = next(x for x in parser._actions if isinstance(x, argparse._SubParsersAction)).choices
helps = {name: verb.format_help() for name, verb in verbs.items()}
print(json.dumps({"overview": overview.getvalue(), "verbs": helps}))
"""


def write(package: Path, folder: Path) -> list[str]:
    """Write ``folder/VERB.rst`` for each command and an index; return the commands.

    The package is imported for it, which needs numpy and rich, no framework.
    """
    folder.mkdir(parents=True, exist_ok=True)
    answer = _asked(package)
    for verb, text in answer["verbs"].items():
        title = f"nmpack {verb}"
        page = [title, "=" * len(title), "", *_block(text)]
        (folder / f"{verb}.rst").write_text("\n".join(page), encoding="utf-8")
    title = "Command line"
    index = [title, "=" * len(title), "", "What ``nmpack`` alone prints:", ""]
    index += _block(answer["overview"])
    index += ["What each command prints for ``--help``:", "", ".. toctree::", "   :maxdepth: 1", ""]
    index += [f"   {verb}" for verb in answer["verbs"]]
    (folder / "index.rst").write_text("\n".join([*index, ""]), encoding="utf-8")
    return list(answer["verbs"])


def _block(text: str) -> list[str]:
    lines = [f"   {line}".rstrip() for line in text.rstrip().splitlines()]
    return [".. code-block:: none", "", *lines, ""]


def _asked(package: Path) -> dict[str, Any]:
    around = {**os.environ, "PYTHONPATH": str(package), "COLUMNS": "90", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _ASK], env=around, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["nothing"]
        raise SiteError(f"the commands cannot be asked for their help: {said[-1]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
