# SPDX-License-Identifier: BSD-3-Clause
"""Records for a tuning, which no trouble with them stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nmpack.tune.entries import Origin, Subject
from nmpack.tune.protocol import Machine
from nmpack.tune.records import Database, Found, RecordsError
from nmpack.tune.rounds import Trial
from nmpack.tune.shapes import Layer, Setting


class Store:
    """Records for a tuning that goes on without them: trouble is told once.

    Attributes:
        used, stale: trials that were found, and could or could not be used.
    """

    def __init__(self, path: str | Path, warn: Callable[[str], None], note: str = "") -> None:
        """Open the database at ``path``; ``note`` goes with every trial."""
        self._warn, self._origin = warn, Origin(note=note)
        self.used = self.stale = 0
        self._database: Database | None = None
        with self._told():
            self._database = Database(path)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except RecordsError as error:
            if self._database is not None:
                self._database.close()
            self._database = None
            self._warn(f"{error}; going on without records")

    def find(self, machine: Machine, layer: Layer, setting: Setting) -> Found:
        """Look up a layer, and count."""
        found = Found()
        if self._database is not None:
            with self._told():
                found = self._database.find(machine, layer, setting)
        self.used += len(found.trials)
        self.stale += found.stale
        return found

    def add(self, subject: Subject, trial: Trial) -> None:
        """Append a trial."""
        if self._database is not None:
            with self._told(), self._database.writing():
                self._database.add(subject, trial, self._origin)

    def close(self) -> None:
        """Close the database."""
        if self._database is not None:
            self._database.close()
