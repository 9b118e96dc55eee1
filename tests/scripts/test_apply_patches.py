# SPDX-License-Identifier: BSD-3-Clause
"""scripts/apply_patches.py on a small project of the same shape, with real git."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nmpack_tools.series import file_name, patch_subject
from patching import MAIN_C, SPEC, TEMPLATE, Project

Run = Callable[..., Any]

ROOT = Path(__file__).resolve().parents[2]
TOOL = "apply_patches.py"


# Building


def test_empty_series_and_no_overlay_is_the_pristine_source(project: Project, run: Run) -> None:
    run(TOOL, *project.args).ok()
    assert project.subjects() == [f"Pristine xnnpack {'a' * 40}"]
    assert project.git("diff", "--stat", "refs/nmpack/base", "HEAD") == ""
    assert (project.tree / "dos.txt").read_bytes() == b"one\r\ntwo\r\nthree\r\n"
    assert (project.tree / "lib" / "kept.log").exists()
    assert (project.tree / "link").is_symlink()
    other = project.tree.parent / "tensorflow"
    assert (other / "lite" / "delegate.cc").read_text() == MAIN_C


def test_a_second_run_does_nothing(patched: Project, run: Run) -> None:
    before = patched.times(), patched.tree.stat().st_ino
    out = run(TOOL, *patched.args).ok()
    assert out == "xnnpack: up to date\ntensorflow: up to date\n"
    assert (patched.times(), patched.tree.stat().st_ino) == before


def test_the_tree_holds_patches_overlay_and_generated_files(patched: Project) -> None:
    assert patched.subjects() == [
        f"Pristine xnnpack {'a' * 40}",
        "main: Count in words",
        "main: Add a line between two others",
        "Overlay and generated files",
    ]
    assert "line five\n" in (patched.tree / "src" / "main.c").read_text()
    kernel = "src/f32-nmconv/gen/f32-nmconv-7x4v-minmax-rvv.c"
    text = (patched.tree / kernel).read_text()
    assert text == "void xnn_f32_nmconv_minmax_ukernel_7x4v__rvv(void) {}\n"
    assert kernel in (patched.tree / "cmake" / "gen" / "rvv_microkernels.cmake").read_text()
    assert kernel in (patched.tree / "gen" / "rvv_microkernels.bzl").read_text()
    assert not (patched.tree / "kernels.toml").exists()
    assert patched.git("status", "--porcelain") == ""
    assert patched.leftovers() == []


def test_commit_ids_are_the_same_everywhere(patched: Project, run: Run, tmp_path: Path) -> None:
    other = patched.copy(tmp_path / "elsewhere")
    run(TOOL, *other.args).ok()
    assert other.git("rev-parse", "HEAD") == patched.git("rev-parse", "HEAD")


def test_only_what_changed_gets_a_new_time(patched: Project, run: Run) -> None:
    patched.age()
    run(TOOL, *patched.args).ok()
    old = patched.times()
    patched.write("kernels/src/operators/nm.c", "int operator_nm = 1;\n")
    out = run(TOOL, *patched.args).ok()
    assert "1 files changed" in out
    new = patched.times()
    assert {name for name in new if new[name] != old[name]} == {"src/operators/nm.c"}

    # A template changes what it expands to, and what tells these kernels from others.
    patched.age()
    old = patched.times()
    patched.write("kernels/src/f32-nmconv/rvv.c.in", TEMPLATE + "// more\n")
    run(TOOL, *patched.args).ok()
    new = patched.times()
    assert {name for name in new if new[name] > old[name]} == {
        "src/f32-nmconv/rvv.c.in",
        "src/f32-nmconv/gen/f32-nmconv-7x4v-minmax-rvv.c",
        "src/f32-nmconv/gen/f32-nmconv-14x2v-minmax-rvv.c",
        "src/configs/nm-hash.h",
    }

    # A cost changes the table that holds it.
    patched.age()
    old = patched.times()
    patched.write("kernels/kernels.toml", SPEC.replace("118", "119"))
    run(TOOL, *patched.args).ok()
    new = patched.times()
    assert {name for name in new if new[name] > old[name]} == {"src/configs/nm-tables.h"}


@pytest.mark.parametrize(
    "path",
    [
        "src/operators/convolution-nhwc.c",
        "src/operator-run.c",
        "src/operator-utils.c",
        "src/configs/gemm-config.c",
        "src/configs/nm-narrow-gemm-config.c",
        "src/f32-igemm/f32-igemm-5x16-minmax-rvv.c",
        "src/qs8-qc8w-gemm/qs8-qc8w-gemm-4x4v-minmax-rvv.c",
    ],
)
def test_records_tell_dense_operators_apart(patched: Project, run: Run, path: str) -> None:
    def digest() -> str:
        return (patched.tree / "src/configs/nm-hash.h").read_text()

    old = digest()
    kernel = "void xnn_f32_igemm_minmax_ukernel_5x4v__rvv() {}\n"
    patched.write(f"kernels/{path}", kernel)
    run(TOOL, *patched.args).ok()
    new = digest()
    assert new != old
    patched.write(f"kernels/{path}", f"{kernel}int another;\n")
    run(TOOL, *patched.args).ok()
    assert digest() not in (old, new)


def test_a_file_that_turns_back_to_pristine_counts_as_changed(patched: Project, run: Run) -> None:
    patched.age()
    run(TOOL, *patched.args).ok()
    old = patched.times()
    for name in list(patched.patch_files()):
        if name != "series":
            (patched.patches / name).unlink()
    (patched.patches / "series").write_text("")
    run(TOOL, *patched.args).ok()
    new = patched.times()
    assert (patched.tree / "src" / "main.c").read_text() == MAIN_C
    assert {name for name in new if new[name] != old[name]} == {"src/main.c"}
    assert new["src/main.c"] > old["src/main.c"]


def test_a_killed_run_leaves_the_old_tree_and_is_redone(
    patched: Project, run: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    head = patched.git("rev-parse", "HEAD")
    flag = tmp_path / "reached"
    patched.write("kernels/src/f32-nmconv/rvv.c.in", f"{TEMPLATE}// pause {flag}\n")
    process = subprocess.Popen(
        [sys.executable, ROOT / "scripts" / TOOL, *patched.args],
        env=environment,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not flag.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert patched.leftovers() != []
    assert patched.git("rev-parse", "HEAD") == head
    assert patched.git("status", "--porcelain") == ""
    patched.write("kernels/src/f32-nmconv/rvv.c.in", f"{TEMPLATE}// again\n")
    assert "done" in run(TOOL, *patched.args).ok()
    assert patched.leftovers() == []


def test_a_tree_without_its_stamp_is_built_again(patched: Project, run: Run) -> None:
    (patched.tree / ".git" / "nmpack-stamp.json").write_text("{")
    (patched.tree / "src" / "main.c").write_text("half\n")
    assert "incomplete, building it again" in run(TOOL, *patched.args).ok()
    assert "line five" in (patched.tree / "src" / "main.c").read_text()


# Work that is only in the tree


def test_an_edit_in_the_tree_is_not_thrown_away(patched: Project, run: Run) -> None:
    patched.edit("src/main.c", "line 7\n", "line seven\n")
    patched.write("kernels/src/operators/nm.c", "int operator_nm = 2;\n")
    error = run(TOOL, *patched.args).error()
    assert "was edited by hand (src/main.c)" in error
    assert "line seven" in (patched.tree / "src" / "main.c").read_text()
    assert "not committed (src/main.c)" in run(TOOL, "--export", *patched.args).error()
    run(TOOL, "--force", *patched.args).ok()
    assert "line seven" not in (patched.tree / "src" / "main.c").read_text()


def test_a_commit_in_the_tree_is_not_thrown_away(patched: Project, run: Run) -> None:
    patched.edit("src/main.c", "line 7\n", "line seven\n")
    patched.commit("main: Say seven")
    assert "commits that are not in patches/xnnpack/series" in run(TOOL, *patched.args).error()
    run(TOOL, "--export", *patched.args).ok()
    run(TOOL, *patched.args).ok()
    assert patched.subjects()[-2:] == ["main: Say seven", "Overlay and generated files"]


def test_new_file_times_are_no_edit(patched: Project, run: Run) -> None:
    patched.age()
    head = patched.git("rev-parse", "HEAD")
    assert run(TOOL, *patched.args).ok() == "xnnpack: up to date\ntensorflow: up to date\n"
    assert patched.git("rev-parse", "HEAD") == head


def test_an_export_does_not_undo_a_newer_series(patched: Project, run: Run) -> None:
    files = patched.patch_files()
    name = next(name for name in files if b"Count in words" in files[name])
    (patched.patches / name).write_bytes(files[name].replace(b"Because.", b"From a colleague."))
    before = patched.patch_files()
    assert "an export would undo that" in run(TOOL, "--export", *patched.args).error()
    assert patched.patch_files() == before
    run(TOOL, *patched.args).ok()
    assert "0 files written" in run(TOOL, "--export", *patched.args).ok()


# Export


def test_export_is_byte_for_byte(patched: Project, run: Run) -> None:
    before = patched.patch_files()
    assert "2 patches exported, 0 files written" in run(TOOL, "--export", *patched.args).ok()
    assert patched.patch_files() == before
    run(TOOL, "--check", *patched.args).ok()


def test_awkward_patches_survive_the_round_trip(project: Project, run: Run) -> None:
    run(TOOL, *project.args).ok()
    project.edit("dos.txt", "two\r\n", "zwei\r\n")
    project.commit("dos: Keep the line endings")
    (project.tree / "src" / "main.c").chmod(0o755)
    project.commit("main: Make it executable")
    (project.tree / "src" / "end.c").write_bytes(b"no newline at the end\n\ttabs and blanks  ")
    project.commit("end: A file whose last line has no end")
    project.edit("src/main.c", "line 9\n", "line 9 µ€😀\n")
    long = (
        "main: Ein sehr langer Betreff mit Umlauten äöü, der länger als eine Zeile ist, zum Falten"
    )
    project.commit(
        long, body="A line that starts so:\n\n    From nobody Mon\n\n[PATCH] is kept\n--\nx"
    )
    project.edit("src/main.c", "line 10\n", "diff --git a/x b/x\n-- \n")
    project.commit("[main] Keep: what looks like a prefix")
    project.git("rm", "-q", "lib/kept.log")
    project.commit("lib: Drop a file that .gitignore would hide")
    run(TOOL, "--export", *project.args).ok()
    first = project.patch_files()
    assert len(first) == 7
    run(TOOL, "--check", *project.args).ok()
    run(TOOL, *project.args).ok()
    assert "0 files written" in run(TOOL, "--export", *project.args).ok()
    assert project.patch_files() == first
    assert long in project.subjects()
    assert (project.tree / "dos.txt").read_bytes() == b"one\r\nzwei\r\nthree\r\n"
    text = b"".join(first.values()).decode()
    assert "From: Zoë Müller <zoe@example.org>" in text
    assert "Date: Fri, 20 Nov 2026 12:00:00 +0100" in text
    assert "Signed-off-by" not in text


def test_a_new_commit_becomes_the_last_patch(patched: Project, run: Run) -> None:
    before = patched.patch_files()
    patched.edit("src/main.c", "line 12\n", "line twelve\n")
    patched.commit("main: Say a Dozen")
    out = run(TOOL, "--export", *patched.args).ok()
    assert "new: patches/xnnpack/main-say-a-dozen.patch" in out
    after = patched.patch_files()
    assert {name for name in after if after[name] != before.get(name)} == {
        "main-say-a-dozen.patch",
        "series",
    }
    assert after["series"].decode().splitlines() == [
        "# in this order",
        "main-count-in-words.patch",
        "main-add-a-line-between-two-others.patch",
        "main-say-a-dozen.patch",
    ]


def test_a_patch_keeps_the_name_it_was_given(patched: Project, run: Run) -> None:
    (patched.patches / "main-count-in-words.patch").rename(patched.patches / "words.patch")
    series = patched.patches / "series"
    series.write_text(series.read_text().replace("main-count-in-words", "words"))
    run(TOOL, *patched.args).ok()
    patched.edit("src/main.c", "line 6\n", "line six\n")
    commit = patched.git("log", "--format=%H", "--grep=Count in words").strip()
    patched.git("commit", "-qam", "fixup! main: Count in words")
    assert "fold it first" in run(TOOL, "--export", *patched.args).error()
    patched.git("rebase", "-q", "-i", "--autosquash", "refs/nmpack/base")
    assert commit != patched.git("log", "--format=%H", "--grep=Count in words").strip()
    out = run(TOOL, "--export", *patched.args).ok()
    assert "updated: patches/xnnpack/words.patch" in out
    run(TOOL, *patched.args).ok()
    assert "line six" in (patched.tree / "src" / "main.c").read_text()


def test_a_dropped_commit_drops_its_patch(patched: Project, run: Run) -> None:
    patched.git("rebase", "-q", "--onto", "HEAD~2", "HEAD~1")
    out = run(TOOL, "--export", *patched.args).ok()
    assert "removed: patches/xnnpack/main-add-a-line-between-two-others.patch" in out
    run(TOOL, *patched.args).ok()
    run(TOOL, "--check", *patched.args).ok()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("src/operators/nm.c", "comes from kernels/"),
        ("cmake/gen/rvv_microkernels.cmake", "is generated"),
    ],
)
def test_generated_files_are_no_patches(patched: Project, run: Run, path: str, reason: str) -> None:
    (patched.tree / path).write_text("changed\n")
    patched.commit("nm: Change it in the wrong place")
    error = run(TOOL, "--export", *patched.args).error()
    assert f"touches {path}" in error
    assert reason in error


def test_an_export_wants_the_trailers(patched: Project, run: Run) -> None:
    before = patched.patch_files()
    patched.edit("src/main.c", "line 12\n", "line twelve\n")
    patched.commit("main: Say twelve", trailers="Origin: vendor")
    error = run(TOOL, "--export", *patched.args).error()
    assert "main-say-twelve.patch lacks the trailer 'Why-a-patch:'" in error
    assert patched.patch_files() == before


# Names


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ("subgraph: Choose the N:M operator", "subgraph-choose-the-n-m-operator.patch"),
        ("../../evil", "evil.patch"),
        ("äöü", "patch.patch"),
        ("word " * 30, "-".join(["word"] * 12) + ".patch"),
    ],
)
def test_file_names_from_subjects(subject: str, name: str) -> None:
    assert file_name(subject) == name


def test_folded_and_encoded_subjects() -> None:
    assert patch_subject(b"From: x\nSubject: one\n two\n\nSubject: not this\n") == "one two"
    assert patch_subject(b"Subject: =?UTF-8?q?=C3=A4?= b\n") == "ä b"


# Words


def test_help_teaches(run: Run) -> None:
    out = run(TOOL, "--help").ok()
    for word in ("--export", "--check", "--force", "git commit", "kernels/", "patches/README.md"):
        assert word in out
