# SPDX-License-Identifier: BSD-3-Clause
"""Stages that are done once: a stage is skipped when its key and its files are as it left them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nmpack.cli.progress import progress
from nmpack.demo.plan import Plan, duration
from nmpack.files import write_json
from nmpack.locations import PACKAGE
from nmpack.progress import Progress
from nmpack.terminal import Console

Result = dict[str, Any]
#: Seconds between two lines that say how far a stage is, where there is no terminal for a bar.
_QUIET = 20.0


class Stages:
    """The stages of one run, their records in ``folder/stages`` and the time each took."""

    def __init__(self, folder: Path, console: Console, total: int, plan: Plan) -> None:
        """Keep records under ``folder``; ``total`` stages are announced as ``plan`` expects."""
        self.folder = folder
        self.console = console
        self.seconds: dict[str, float] = {}
        self.cached: list[str] = []
        self._total = total
        self._count = 0
        self._plan = plan
        self._now = ""

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
            name: of the record, and in the plan.
            title: what to announce.
            key: everything that decides the result, as plain values.
            outputs: files that ``action`` writes.
            action: does the work; a stage that fails or is interrupted leaves no record.
        """
        self._count += 1
        self._now = name
        record = self.folder / "stages" / f"{name}.json"
        digest = key_digest(key)
        known = _known(record)
        label = f"[{self._count}/{self._total}] {title}"
        if known.get("key") == digest and known.get("files") == _digests(outputs):
            self.console.print(f"{label}: done before ({known['seconds']:.0f} s)")
            self.cached.append(name)
            self._add(name, float(known["seconds"]))
            return dict(known["result"])
        self.console.print(f"{label}{self._plan.announce(name)}")
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
        self._add(name, seconds)
        self.console.print(f"      {seconds:.1f} s", style="dim")
        # What a later run will read back, so that both runs see the same types.
        return dict(json.loads(json.dumps(result)))

    @contextmanager
    def watch(self, what: str) -> Iterator[Progress]:
        """Show how far a stage is and how much is left; yields what to call with (done, total)."""
        start = said = time.monotonic()
        first: int | None = None
        with progress(what, 1) as (shown, task):

            def tell(done: int, total: int) -> None:
                nonlocal first, said
                if first is None:  # a stage that goes on does not begin at nothing
                    first = done
                now = time.monotonic()
                text = what
                if done > first:
                    rest = (now - start) / (done - first) * (total - done)
                    text += f", {duration(rest + self._plan.after(self._now))} to the end"
                shown.update(task, completed=done, total=total, description=text)
                if shown.disable and done < total and now - said >= _QUIET:
                    said = now
                    self.console.print(f"      {text} ({done} of {total})")

            yield tell

    def _add(self, name: str, seconds: float) -> None:
        self.seconds[name] = seconds
        self._plan.took(name, seconds)


def code_digest(*names: str) -> str:
    """Return one SHA-256 of modules of nmpack; a folder stands for all modules below it."""
    paths = [PACKAGE / name for name in names]
    return digest_of([path for item in paths for path in (sorted(item.rglob("*.py")) or [item])])


def digest_of(paths: Sequence[Path]) -> str:
    """Return one SHA-256 of several files' contents."""
    total = hashlib.sha256()
    for path in paths:
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def key_digest(key: Mapping[str, Any]) -> str:
    """Return one SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()


def _digests(paths: Sequence[Path]) -> dict[str, str]:
    return {path.name: digest_of([path]) if path.is_file() else "absent" for path in paths}


def _known(record: Path) -> dict[str, Any]:
    try:
        value = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    complete = isinstance(value, dict) and {"key", "files", "seconds", "result"} <= set(value)
    return value if complete else {}
