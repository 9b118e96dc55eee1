# SPDX-License-Identifier: BSD-3-Clause
"""Records from machine to machine: JSON lines, one a trial, merged without duplicates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nmpack.checks import FormatError, parse_object, require_keys
from nmpack.errors import NmpackError
from nmpack.files import written_whole
from nmpack.tune.entries import Origin, Subject, read_subject, read_trial
from nmpack.tune.records import Database
from nmpack.tune.rounds import Trial

_LONGEST_LINE = 1 << 17
_MOST_BAD = 1000
_VERSION = 1


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did.

    Attributes:
        taken, known: trials that are new, and that were there already.
        bad: number of each line that was not taken, and why.
    """

    taken: int
    known: int
    bad: tuple[tuple[int, str], ...]


def export_records(database: str | Path, target: str | Path) -> int:
    """Write all trials of a database to ``target``, whole or not at all; returns how many.

    Raises:
        NmpackError: one of the files cannot be used, or there is no database.
    """
    if not Path(database).is_file():
        raise NmpackError(f"{database} is not a file: there are no records to export")
    count = 0
    with (
        Database(database) as source,
        written_whole(target) as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):
        for line in source.lines():
            file.write(line + "\n")
            count += 1
    return count


def import_records(database: str | Path, source: str | Path) -> ImportReport:
    """Take the trials of ``source`` into a database; of a bad line nothing is taken.

    Raises:
        NmpackError: one of the files cannot be used, or most of it is no record; then nothing is
            taken.
    """
    taken = known = 0
    bad: list[tuple[int, str]] = []
    with _opened(source) as file, Database(database) as target, target.writing():
        for number, line in _lines(file):
            try:
                added = target.add(*_read(line))
            except FormatError as error:
                bad.append((number, str(error)))
                if len(bad) > _MOST_BAD:
                    raise NmpackError(
                        f"{source}: more than {_MOST_BAD} of its first {number} lines are no "
                        "trials; nothing of it was taken"
                    ) from error
                continue
            taken += added
            known += not added
    return ImportReport(taken, known, tuple(bad))


def _opened(source: str | Path) -> BinaryIO:
    try:
        return Path(source).open("rb")
    except OSError as error:
        raise NmpackError(f"{source}: cannot be read: {error.strerror or error}") from error


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield numbers and lines; of one that is too long only its beginning."""
    number = 0
    while line := _line(file):
        number += 1
        rest = line
        while not rest.endswith(b"\n") and (rest := _line(file)):
            pass
        yield number, line


def _line(file: BinaryIO) -> bytes:
    try:
        return file.readline(_LONGEST_LINE)
    except OSError as error:
        # Not the database's.
        raise NmpackError(f"{file.name}: cannot be read: {error.strerror or error}") from error


def _read(line: bytes) -> tuple[Subject, Trial, Origin]:
    if len(line) >= _LONGEST_LINE:
        raise FormatError(f"it has {_LONGEST_LINE} bytes or more")
    try:
        row = parse_object(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise FormatError("it is not UTF-8") from error
    if row.pop("record", None) != _VERSION:
        raise FormatError(f"it is no record of version {_VERSION}")
    require_keys(row, ("subject", "trial"))
    subject = read_subject(row["subject"])
    trial, origin = read_trial(row["trial"])
    names = {item.name for item in subject.definition.candidates}
    if trial.candidate not in names:
        raise FormatError("its candidate is none of its layer's")
    return subject, trial, origin
