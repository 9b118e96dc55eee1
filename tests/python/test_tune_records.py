# SPDX-License-Identifier: BSD-3-Clause
"""nmpack.tune: the database of trials, its export and import, and what trouble does to it."""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tune_samples import LAYER, MACHINE, OTHER_BUILD, SUBJECT, race, trial

from nmpack.errors import NmpackError
from nmpack.tune.entries import Origin, canonical, layer_key
from nmpack.tune.exchange import export_records, import_records
from nmpack.tune.records import Database, RecordsError
from nmpack.tune.shapes import Setting
from nmpack.tune.store import Store

ROWS = race([{"dense": 4.0, "nhwc-6x16": 1.5}, {"dense": 4.1, "nhwc-6x16": 1.4}])
WRITER = """
import sys
sys.path[:0] = sys.argv[3:]
from tune_samples import SUBJECT, trial
from nmpack.tune.store import Store
store = Store(sys.argv[1], lambda text: sys.exit(text))
for number in range(int(sys.argv[2])):
    store.add(SUBJECT, trial("dense", 1.0, number, session=f"{__import__('os').getpid():032x}"))
    print(number, flush=True)
"""


def filled(path: Path) -> Path:
    with Database(path) as database, database.writing():
        for row in ROWS:
            assert database.add(SUBJECT, row, Origin(note="mine"))
    return path


def start_writer(path: Path, count: int) -> subprocess.Popen[str]:
    here = Path(__file__).resolve()
    folders = [str(here.parent), str(here.parents[2] / "python")]
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(count), *folders],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_trials_are_found_again(tmp_path: Path) -> None:
    with Database(filled(tmp_path / "new" / "r.sqlite")) as database:
        found = database.find(MACHINE, LAYER, Setting())
        assert found.definition == SUBJECT.definition
        assert sorted(found.trials, key=lambda row: row.number) == ROWS
        assert found.stale == 0
        for machine, layer, setting in (
            (replace(MACHINE, cpu="Another"), LAYER, Setting()),
            (replace(MACHINE, vlen=256), LAYER, Setting()),
            (MACHINE, replace(LAYER, density=0.5), Setting()),
            (MACHINE, replace(LAYER, dtype="qs8"), Setting()),
            (MACHINE, LAYER, Setting(threads=2)),
            (MACHINE, LAYER, Setting(evict=4096)),
        ):
            assert database.find(machine, layer, setting).trials == ()
            assert database.find(machine, layer, setting).stale == 0


def test_the_key_of_a_layer_is_what_it_always_was() -> None:
    """Databases from when there was nothing but f32 need no change."""
    assert canonical(layer_key(LAYER, Setting(threads=2))) == (
        '{"batch":1,"block":1,"density":0.25,"dilation_height":1,"dilation_width":1,"dtype":"f32",'
        '"evict":0,"group_input_channels":64,"group_output_channels":64,"groups":1,'
        '"input_height":56,"input_width":56,"kernel_height":3,"kernel_width":3,'
        '"padding_bottom":1,"padding_left":1,"padding_right":1,"padding_top":1,"seed":1,'
        '"stride_height":1,"stride_width":1,"threads":2,"tile":32}'
    )


@pytest.mark.parametrize(
    "change", [{"kernels": "f" * 16}, {"compiler": "gcc 14"}, {"protocol": 3}], ids=str
)
def test_trials_of_other_builds_are_counted_and_not_used(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    now = replace(MACHINE, **change)
    store = Store(filled(tmp_path / "r.sqlite"), pytest.fail)
    found = store.find(now, LAYER, Setting())
    assert (found.definition, found.trials, found.stale) == (None, (), len(ROWS))
    store.add(replace(SUBJECT, machine=now), trial("dense", 3.0, session="2" * 32))
    found = store.find(now, LAYER, Setting())
    assert [row.summary.median for row in found.trials] == [3.0]
    assert (store.used, store.stale) == (1, 2 * len(ROWS))
    store.close()


def test_rows_are_only_appended(tmp_path: Path) -> None:
    with Database(filled(tmp_path / "r.sqlite")) as database, database.writing():
        assert not database.add(SUBJECT, ROWS[0], Origin(note="mine"))
        with pytest.raises(NmpackError, match="another trial of its session and number"):
            database.add(SUBJECT, replace(ROWS[0], candidate="cnhw-4x24"), Origin(note="mine"))
        assert database.count() == len(ROWS)


def test_records_of_two_machines_are_merged_without_duplicates(tmp_path: Path) -> None:
    first, second = filled(tmp_path / "a.sqlite"), tmp_path / "b.sqlite"
    with Database(second) as database, database.writing():
        database.add(OTHER_BUILD, trial("dense", 3.0, session="2" * 32), Origin())
    for source in (first, second):
        assert export_records(source, source.with_suffix(".jsonl")) > 0
    report = import_records(second, tmp_path / "a.jsonl")
    assert (report.taken, report.known, report.bad) == (len(ROWS), 0, ())
    again = import_records(second, tmp_path / "a.jsonl")
    assert (again.taken, again.known) == (0, len(ROWS))
    import_records(first, tmp_path / "b.jsonl")
    lines = []
    for source in (first, second):
        export_records(source, tmp_path / "all.jsonl")
        lines.append(sorted((tmp_path / "all.jsonl").read_text().splitlines()))
    assert lines[0] == lines[1]
    assert len(lines[0]) == len(ROWS) + 1


def bad_lines(line: str) -> dict[str, str]:
    """Lines that are not to be taken, and why."""
    row = json.loads(line)

    def changed(part: str, key: str, value: object) -> str:
        return json.dumps(row | {part: row[part] | {key: value}})

    return {
        "": "expected JSON",
        "{": "expected JSON",
        "null": "expected a JSON object",
        line.replace('"record":1', '"record":9'): "no record of version 1",
        line.replace('"median":', '"median":NaN,"x":'): "got NaN",
        changed("trial", "least", 5.0): "are not in order",
        changed("trial", "least", -1): "'least' is to be a number above 0",
        changed("trial", "n", 0): "'n' is to be a whole number",
        changed("trial", "session", "../x"): "32 hex digits",
        changed("trial", "candidate", "nhwc-9x9"): "none of its layer's",
        changed("trial", "candidate", "dense; drop table trials"): "a candidate's name",
        changed("trial", "stage", []): "'stage' is to be one of",
        changed("trial", "note", "\x1b[2J"): "'note' is to be a short text",
        changed("trial", "at", 1.0): "another trial of its session and number",
        changed("subject", "layer", {}): "it has no",
        changed("subject", "machine", 3): "a machine is to be an object",
        json.dumps(row | {"more": 1}): "unknown 'more'",
        '{"a":"' + "x" * (1 << 18) + '"}': "bytes or more",
    }


def test_of_a_bad_line_nothing_is_taken(tmp_path: Path) -> None:
    source = filled(tmp_path / "a.sqlite")
    export_records(source, tmp_path / "good.jsonl")
    good = (tmp_path / "good.jsonl").read_text().splitlines()
    bad = bad_lines(good[0])
    (tmp_path / "mixed.jsonl").write_text("\n".join([good[0], *bad, *good[1:]]) + "\n")
    report = import_records(tmp_path / "b.sqlite", tmp_path / "mixed.jsonl")
    assert (report.taken, report.known) == (len(good), 0)
    assert [number for number, _ in report.bad] == list(range(2, 2 + len(bad)))
    for (_, reason), wanted in zip(report.bad, bad.values(), strict=True):
        assert wanted in reason
        assert reason.isprintable()
    export_records(tmp_path / "b.sqlite", tmp_path / "after.jsonl")
    assert (tmp_path / "after.jsonl").read_text().splitlines() == good


def test_lines_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_bytes(b"\xff\xfe\n\x00")
    report = import_records(tmp_path / "b.sqlite", tmp_path / "bad.jsonl")
    assert [number for number, _ in report.bad] == [1, 2]
    with pytest.raises(NmpackError, match="cannot be read"):
        import_records(tmp_path / "b.sqlite", tmp_path / "nothing.jsonl")
    with pytest.raises(NmpackError, match="no records to export"):
        export_records(tmp_path / "nothing.sqlite", tmp_path / "x.jsonl")


def test_two_processes_one_of_them_killed(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    writers = [start_writer(path, 400), start_writer(path, 10**9)]
    streams = [writer.stdout for writer in writers]
    assert streams[0] is not None
    assert streams[1] is not None
    for _ in range(100):
        assert streams[1].readline(), writers[1].stderr
    writers[1].send_signal(signal.SIGKILL)
    told = 100 + len(streams[1].readlines())
    assert len(streams[0].readlines()) == 400
    assert [writer.wait() for writer in writers] == [0, -signal.SIGKILL]
    for writer in writers:
        for stream in (writer.stdout, writer.stderr):
            assert stream is not None
            stream.close()
    with Database(path) as database:
        # What was told is there, and at most the one under way besides.
        assert 400 + told <= database.count() <= 401 + told
        assert len(list(database.lines())) == database.count()
    with sqlite3.connect(path) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    connection.close()


def damaged(path: Path) -> None:
    filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    connection.close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (x)")
    connection.close()


def impossible(path: Path) -> None:
    filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute("update trials set median = -1, n = 'many'")
    connection.close()


@pytest.mark.parametrize(
    "spoil",
    [
        damaged,
        foreign,
        impossible,
        lambda path: path.write_bytes(b"no database at all, but long enough" * 99),
        lambda path: path.mkdir(),
        lambda path: path.symlink_to("/proc/1/nothing"),
    ],
    ids=["damaged", "foreign", "impossible", "text", "folder", "nowhere"],
)
def test_a_database_that_cannot_be_used_is_one_warning(tmp_path: Path, spoil: Any) -> None:
    path, warnings = tmp_path / "r.sqlite", list[str]()
    spoil(path)
    store = Store(path, warnings.append)
    for row in ROWS:
        found = store.find(MACHINE, LAYER, Setting())
        assert found.trials == ()
        store.add(SUBJECT, replace(row, session="3" * 32))
    store.close()
    (warning,) = warnings
    assert warning.startswith(f"{path}: ")
    assert warning.endswith("; going on without records")
    with pytest.raises(RecordsError), Database(path) as database:
        list(database.lines())


def test_a_disk_that_is_full_is_one_warning(tmp_path: Path) -> None:
    path, warnings = filled(tmp_path / "r.sqlite"), list[str]()
    store = Store(path, warnings.append)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        store.add(SUBJECT, trial("dense", 1.0, session="4" * 32))
        store.add(SUBJECT, trial("dense", 1.0, 1, session="4" * 32))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    store.close()
    assert len(warnings) == 1
    assert "going on without records" in warnings[0]
    with Database(path) as database:
        assert database.count() == len(ROWS)


def test_a_database_that_is_read_only_is_one_warning() -> None:
    warnings = list[str]()
    with tempfile.TemporaryDirectory() as name:
        folder, user = Path(name), os.geteuid()
        path = filled(folder / "r.sqlite")
        path.chmod(0o444)
        folder.chmod(0o555)
        try:
            if user == 0:  # who may write anywhere
                os.seteuid(65534)
            store = Store(path, warnings.append)
            store.add(SUBJECT, trial("dense", 1.0, session="6" * 32))
            store.close()
        finally:
            os.seteuid(user)
            folder.chmod(0o755)
        with Database(path) as database:
            assert database.count() == len(ROWS)
    assert len(warnings) == 1


def test_another_process_that_holds_the_database_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, warnings = filled(tmp_path / "r.sqlite"), list[str]()
    monkeypatch.setattr("nmpack.tune.records._WAIT_SECONDS", 0.2)
    store = Store(path, warnings.append)
    with Database(path) as database, database.writing():
        start = time.monotonic()
        store.add(SUBJECT, trial("dense", 1.0, session="5" * 32))
        assert 0.1 < time.monotonic() - start < 5
    assert "database is locked" in warnings[0]
