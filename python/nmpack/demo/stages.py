# SPDX-License-Identifier: BSD-3-Clause
"""Stages that are done once: a stage is skipped when its key and its files are as it left them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from nmpack.files import write_json
from nmpack.locations import PACKAGE

Result = dict[str, Any]


class Stages:
    """The stages of one run, their records in ``folder/stages`` and the time each took."""

    def __init__(self, folder: Path, console: Console, total: int) -> None:
        """Keep records under ``folder``; ``total`` stages are announced."""
        self.folder = folder
        self.console = console
        self.seconds: dict[str, float] = {}
        self.cached: list[str] = []
        self._total = total
        self._count = 0

    def run(
        self,
        name: str,
        title: str,
        key: Mapping[str, Any],
        outputs: Sequence[Path],
        action: Callable[[], Result],
    ) -> Result:
        """Return ``action()``'s JSON-able result, from the record when nothing changed.

        Args:
            name: of the record.
            title: what to announce.
            key: everything that decides the result, as plain values.
            outputs: files that ``action`` writes.
            action: does the work; a stage that fails or is interrupted leaves no record.
        """
        self._count += 1
        record = self.folder / "stages" / f"{name}.json"
        digest = hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()
        known = _known(record)
        label = f"[{self._count}/{self._total}] {title}"
        if known.get("key") == digest and known.get("files") == _digests(outputs):
            self.console.print(f"{label}: done before ({known['seconds']:.0f} s)", markup=False)
            self.cached.append(name)
            self.seconds[name] = float(known["seconds"])
            return dict(known["result"])
        self.console.print(label, markup=False)
        start = time.monotonic()
        result = action()
        seconds = time.monotonic() - start
        content = {
            "key": digest,
            "files": _digests(outputs),
            "seconds": seconds,
            "result": result,
        }
        write_json(record, content)
        self.seconds[name] = seconds
        self.console.print(f"      {seconds:.1f} s", style="dim")
        # What a later run will read back, so that both runs see the same types.
        return dict(json.loads(json.dumps(result)))


def code_digest(*names: str) -> str:
    """Return one SHA-256 of modules of nmpack; a folder stands for all modules below it."""
    paths = [PACKAGE / name for name in names]
    return digest_of([path for item in paths for path in (sorted(item.rglob("*.py")) or [item])])


def digest_of(paths: Sequence[Path]) -> str:
    """Return one SHA-256 of several files' contents."""
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _digests(paths: Sequence[Path]) -> dict[str, str]:
    return {path.name: digest_of([path]) if path.is_file() else "absent" for path in paths}


def _known(record: Path) -> dict[str, Any]:
    try:
        value = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    complete = isinstance(value, dict) and {"key", "files", "seconds", "result"} <= set(value)
    return value if complete else {}
