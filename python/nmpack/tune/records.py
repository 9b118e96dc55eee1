# SPDX-License-Identifier: BSD-3-Clause
"""The records: every trial ever made, in an SQLite database that several processes may share.

Rows are only appended. What a trial is of is a subject, a row of its own. Trials of the same layer
and hardware that another build of the kernels made are stale: counted, and not used.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

from nmpack.checks import FormatError, parse_object
from nmpack.errors import NmpackError
from nmpack.locations import data_folder
from nmpack.measure.stats import Summary
from nmpack.runtime.ended import Ended
from nmpack.tune.entries import (
    Origin,
    Subject,
    canonical,
    layer_key,
    read_subject,
    read_trial,
    trial_to_dict,
)
from nmpack.tune.protocol import Definition, Machine
from nmpack.tune.rounds import Trial
from nmpack.tune.shapes import Layer, Setting

_VERSION = 1
_APPLICATION = 0x4E4D5455
_TABLES = """
create table if not exists subjects (
  id integer primary key, layer text not null, content text not null unique);
create index if not exists subjects_of_layers on subjects (layer);
create table if not exists trials (
  subject integer not null references subjects, session text not null, number integer not null,
  stage text not null, round integer not null, candidate text not null, unit text not null,
  n integer not null, median real not null, q1 real not null, q3 real not null,
  least real not null, largest real not null, at real not null, release text not null,
  note text not null, primary key (session, number)) without rowid;
create index if not exists trials_of_subjects on trials (subject);
"""
_COLUMNS = (
    "session", "number", "stage", "round", "candidate", "unit",
    *(item.name for item in fields(Summary)), "at", "release", "note",
)  # fmt: skip
_WAIT_SECONDS = 10.0
T = TypeVar("T")
U = TypeVar("U")


class RecordsError(NmpackError):
    """The database cannot be used; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the records have on a layer.

    Attributes:
        definition: what the program made of it, None where no trial can be used.
        trials: of this hardware and this build.
        stale: how many there are of this hardware and other builds.
    """

    definition: Definition | None = None
    trials: tuple[Trial, ...] = ()
    stale: int = 0


def default_database() -> Path:
    """Return where records are kept unless told otherwise."""
    return data_folder() / "tuning.sqlite"


class Database(Ended):
    """The file; every trouble with it is a :class:`RecordsError`."""

    def __init__(self, path: str | Path) -> None:
        """Open it; make it where there is none."""
        self.path = Path(path)
        self._subjects: dict[Subject, int] = {}
        with self._guarded():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self.path, timeout=_WAIT_SECONDS, isolation_level=None
            )
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        application, version = (
            self._connection.execute(f"pragma {name}").fetchone()[0]
            for name in ("application_id", "user_version")
        )
        # What is lost when the machine itself dies are the last trials, and no more.
        self._connection.execute("pragma synchronous=normal")
        if (application, version) == (_APPLICATION, _VERSION):
            return
        if self._connection.execute("select count(*) from sqlite_schema").fetchone()[0]:
            raise RecordsError(f"{self.path}: is no database of this version's tuning records")
        self._connection.execute("pragma journal_mode=wal")
        with self.writing():
            for statement in _TABLES.split(";"):
                self._connection.execute(statement)
            self._connection.execute(f"pragma application_id={_APPLICATION}")
            self._connection.execute(f"pragma user_version={_VERSION}")

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise RecordsError(f"{self.path}: the records cannot be used: {error}") from error

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold a transaction: all of it is written, or nothing."""
        with self._guarded():
            self._connection.execute("begin immediate")
            try:
                yield
                self._connection.execute("commit")
            except BaseException:
                self._subjects.clear()
                with suppress(sqlite3.Error):
                    self._connection.execute("rollback")
                raise

    def add(self, subject: Subject, trial: Trial, origin: Origin) -> bool:
        """Append a trial within :meth:`writing`; returns False where it is there already.

        Raises:
            FormatError: there is another trial of that session and number.
        """
        names = ", ".join(_COLUMNS)
        values = tuple(trial_to_dict(trial, origin)[name] for name in _COLUMNS)
        known = self._connection.execute(
            f"select {names} from trials where session = ? and number = ?",  # noqa: S608
            (trial.session, trial.number),
        ).fetchone()
        if known is not None:
            if known != values:
                raise FormatError("another trial of its session and number is there already")
            return False
        marks = ", ".join("?" * (1 + len(values)))
        self._connection.execute(
            f"insert into trials (subject, {names}) values ({marks})",  # noqa: S608 - our names
            (self._subject(subject), *values),
        )
        return True

    def _subject(self, subject: Subject) -> int:
        """Return the number of a subject's row, which is made where it is missing."""
        if subject not in self._subjects:
            content = canonical(subject.to_dict())
            layer = canonical(layer_key(subject.layer, subject.setting))
            self._connection.execute(
                "insert or ignore into subjects (layer, content) values (?, ?)", (layer, content)
            )
            row = self._connection.execute("select id from subjects where content = ?", (content,))
            self._subjects[subject] = row.fetchone()[0]
        return self._subjects[subject]

    def find(self, machine: Machine, layer: Layer, setting: Setting) -> Found:
        """Look up a layer."""
        definition, stale = None, 0
        trials: list[Trial] = []
        key = canonical(layer_key(layer, setting))
        with self._guarded():
            rows = self._connection.execute(
                "select id, content from subjects where layer = ? order by id", (key,)
            ).fetchall()
            for number, content in rows:
                subject = self._read(read_subject, self._read(parse_object, content))
                if subject.machine.hardware != machine.hardware:
                    continue
                if subject.machine.build == machine.build:
                    definition = subject.definition
                    trials += [trial for trial, _ in self._trials(number)]
                else:
                    stale += self._count("where subject = ?", number)
        return Found(definition, tuple(trials), stale)

    def count(self) -> int:
        """Return how many trials there are."""
        with self._guarded():
            return self._count("")

    def _count(self, condition: str, *values: object) -> int:
        query = f"select count(*) from trials {condition}"  # noqa: S608 - our text
        return int(self._connection.execute(query, values).fetchone()[0])

    def lines(self) -> Iterator[str]:
        """Yield every trial as a line of JSON."""
        with self._guarded():
            subjects = self._connection.execute("select id, content from subjects order by id")
            for number, content in subjects.fetchall():
                subject = self._read(parse_object, content)
                for trial, origin in self._trials(number):
                    values = trial_to_dict(trial, origin)
                    yield canonical({"record": _VERSION, "subject": subject, "trial": values})

    def subjects(self) -> Iterator[tuple[Subject, tuple[Trial, ...]]]:
        """Yield everything that trials are of, with its trials."""
        with self._guarded():
            rows = self._connection.execute("select id, content from subjects order by id")
            for number, content in rows.fetchall():
                subject = self._read(read_subject, self._read(parse_object, content))
                yield subject, tuple(trial for trial, _ in self._trials(number))

    def _trials(self, subject: int) -> Iterator[tuple[Trial, Origin]]:
        query = f"select {', '.join(_COLUMNS)} from trials where subject = ?"  # noqa: S608
        for row in self._connection.execute(query, (subject,)):
            yield self._read(read_trial, dict(zip(_COLUMNS, row, strict=True)))

    def _read(self, read: Callable[[U], T], value: U) -> T:
        try:
            return read(value)
        except FormatError as error:
            raise RecordsError(f"{self.path}: a record is damaged: {error}") from error

    def kill(self) -> None:
        """There is no child."""

    def close(self) -> None:
        """Close it."""
        with suppress(sqlite3.Error):
            self._connection.close()
