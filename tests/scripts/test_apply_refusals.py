# SPDX-License-Identifier: BSD-3-Clause
"""What scripts/apply_patches.py must refuse: bad series, patches, sources, kernels and lists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from patching import SPEC, TEMPLATE, Project

Run = Callable[..., Any]

ROOT = Path(__file__).resolve().parents[2]
TOOL = "apply_patches.py"


def test_the_series_names_a_missing_patch(patched: Project, run: Run) -> None:
    (patched.patches / "main-count-in-words.patch").unlink()
    for mode in ((), ("--check",), ("--export",)):
        error = run(TOOL, *mode, *patched.args).error()
        assert "patches/xnnpack/series names main-count-in-words.patch, but there is no" in error


def test_a_patch_is_not_in_the_series(patched: Project, run: Run) -> None:
    patched.write("patches/xnnpack/stray.patch", "")
    error = run(TOOL, "--check", *patched.args).error()
    assert "patches/xnnpack/stray.patch is not listed in patches/xnnpack/series" in error


def test_a_patch_is_listed_twice(patched: Project, run: Run) -> None:
    with (patched.patches / "series").open("a") as series:
        series.write("main-count-in-words.patch\n")
    assert "names main-count-in-words.patch twice" in run(TOOL, *patched.args).error()


@pytest.mark.parametrize("name", ["../evil.patch", "/etc/x.patch", "Upper.patch", "a.diff"])
def test_a_series_line_that_is_no_patch_name(project: Project, run: Run, name: str) -> None:
    project.write("patches/xnnpack/series", f"{name}\n")
    assert "expected kebab-case ending in .patch" in run(TOOL, *project.args).error()


def test_the_series_is_missing(project: Project, run: Run) -> None:
    (project.patches / "series").unlink()
    assert "patches/xnnpack/series is missing" in run(TOOL, *project.args).error()


def test_fuzz_is_refused_and_the_old_tree_stays(patched: Project, run: Run) -> None:
    head = patched.git("rev-parse", "HEAD")
    path = patched.patches / "main-count-in-words.patch"
    text = path.read_text()
    assert " line 3\n" in text
    # patch(1) would still take this: one line of context differs.
    path.write_text(text.replace(" line 3\n", " line three\n"))
    for mode in ((), ("--check",)):
        error = run(TOOL, *mode, *patched.args).error()
        assert "patches/xnnpack/main-count-in-words.patch does not apply" in error
        assert "src/main.c, hunk at line 2" in error
    assert patched.git("rev-parse", "HEAD") == head
    assert patched.leftovers() == []


def test_a_shifted_hunk_fails_the_check(patched: Project, run: Run) -> None:
    path = patched.patches / "main-count-in-words.patch"
    path.write_text(path.read_text().replace("@@ -2,7 +2,7 @@", "@@ -4,7 +4,7 @@"))
    error = run(TOOL, "--check", *patched.args).error()
    assert "is not what its commit exports" in error
    assert "'@@ -4,7 +4,7 @@" in error


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "does not apply"),
        (b"hello\n", "does not apply"),
        (b"From 0 Mon Sep 17 00:00:00 2001\nFrom: a <a@b>\nSubject: x\n\ny\n", "does not apply"),
        (b"From 0 Mon Sep 17 00:00:00 2001\nFrom: a <a@b>\nSubject: x\n\ny\n\n"
         b"diff --git a/no b/no\n--- a/no\n+++ b/no\n@@ -1 +1 @@\n-a\n+b\n", "no: does not exist"),
        (b"From 0 Mon Sep 17 00:00:00 2001\nFrom: a <a@b>\nSubject: x\n\ny\n\n"
         b"diff --git a/../e b/../e\nnew file mode 100644\n--- /dev/null\n+++ b/../e\n"
         b"@@ -0,0 +1 @@\n+b\n", "does not apply"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_patch(project: Project, run: Run, content: bytes, reason: str) -> None:
    (project.patches / "bad.patch").write_bytes(content)
    (project.patches / "series").write_text("bad.patch\n")
    error = run(TOOL, *project.args).error()
    assert "patches/xnnpack/bad.patch" in error
    assert reason in error
    assert not project.tree.exists()


def test_the_check_wants_the_trailers(patched: Project, run: Run) -> None:
    path = patched.patches / "main-count-in-words.patch"
    path.write_text(path.read_text().replace("Forwarded: no\n", ""))
    assert "lacks the trailer 'Forwarded:'" in run(TOOL, "--check", *patched.args).error()


def test_the_check_leaves_no_trace(patched: Project, run: Run, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    names = sorted(map(str, patched.root.rglob("*")))
    before = patched.times()
    out = run(TOOL, "--check", *patched.args, TMPDIR=str(scratch)).ok()
    assert "xnnpack: ok (2 patches" in out
    assert sorted(map(str, patched.root.rglob("*"))) == names
    assert patched.times() == before
    assert list(scratch.iterdir()) == []


# The source


def test_the_source_is_missing_or_changed(project: Project, run: Run) -> None:
    (project.pristine / "src" / "main.c").write_text("changed\n")
    error = run(TOOL, *project.args).error()
    assert "third_party/xnnpack is not the pinned source; run scripts/fetch_sources.py" in error
    project.pristine.rename(project.root / "away")
    error = run(TOOL, *project.args).error()
    assert "third_party/xnnpack is missing; run scripts/fetch_sources.py" in error


def test_git_is_missing(project: Project, run: Run, tmp_path: Path) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    assert "git is missing; install it" in run(TOOL, *project.args, PATH=str(empty)).error()


# Kernels and lists


def test_a_kernel_that_the_list_tool_does_not_know(patched: Project, run: Run) -> None:
    head = patched.git("rev-parse", "HEAD")
    patched.write("kernels/kernels.toml", SPEC.replace("rvv", "rvw"))
    patched.write("kernels/src/f32-nmconv/rvw.c.in", TEMPLATE.replace("rvv", "rvw"))
    (patched.root / "kernels/src/f32-nmconv/rvv.c.in").unlink()
    error = run(TOOL, *patched.args).error()
    kernel = "src/f32-nmconv/gen/f32-nmconv-7x4v-minmax-rvw.c"
    assert f"{kernel} is in none of XNNPACK's cmake" in error
    assert patched.git("rev-parse", "HEAD") == head


def test_a_template_that_nothing_names(patched: Project, run: Run) -> None:
    patched.write("kernels/src/f32-gemm/rvv.c.in", TEMPLATE)
    error = run(TOOL, *patched.args).error()
    assert "kernels/src/f32-gemm/rvv.c.in is neither in kernels.toml nor in scripts/gen" in error


def test_a_template_that_names_its_kernel_otherwise(patched: Project, run: Run) -> None:
    patched.write("kernels/src/f32-nmconv/rvv.c.in", TEMPLATE.replace("${MR}x", "${MR}y"))
    error = run(TOOL, *patched.args).error()
    assert "src/f32-nmconv/f32-nmconv-minmax.h lists xnn_f32_nmconv_minmax_ukernel_" in error
    assert "v__rvv, but no kernel file defines it" in error


def test_a_kernel_without_a_row(patched: Project, run: Run) -> None:
    text = "void xnn_f32_nmconv_minmax_ukernel_3x3__scalar(void) {}\n"
    patched.write("kernels/src/f32-nmconv/by-hand-scalar.c", text)
    error = run(TOOL, *patched.args).error()
    assert "src/f32-nmconv/by-hand-scalar.c is in no X-macro list of src/f32-nmconv" in error


def test_two_files_with_the_same_kernel(patched: Project, run: Run) -> None:
    text = "void xnn_f32_nmconv_minmax_ukernel_1x4__scalar(void) {}\n"
    patched.write("kernels/src/f32-nmconv/by-hand-scalar.c", text)
    error = run(TOOL, *patched.args).error()
    assert "two files define the same microkernel: src/f32-nmconv/by-hand-scalar.c and" in error


def test_a_template_that_does_not_expand(patched: Project, run: Run) -> None:
    patched.write("kernels/src/f32-nmconv/rvv.c.in", TEMPLATE + "${UNSET}\n")
    error = run(TOOL, *patched.args).error()
    assert "kernels/src/f32-nmconv/rvv.c.in does not expand to xnn_f32_nmconv_minmax_" in error
    assert "UNSET" in error


def test_a_kernel_without_a_template(patched: Project, run: Run) -> None:
    (patched.root / "kernels/src/f32-nmconv/rvv.c.in").unlink()
    error = run(TOOL, *patched.args).error()
    assert "kernels/src/f32-nmconv/rvv.c.in is missing: kernels.toml has xnn_f32_nmconv_" in error


def test_kernels_toml_is_missing_or_wrong(patched: Project, run: Run) -> None:
    spec = patched.root / "kernels/kernels.toml"
    spec.write_text(SPEC.replace("118", "-1"))
    error = run(TOOL, *patched.args).error()
    assert "kernels/kernels.toml: costs.rvv.nmconv_percent.7x4v: expected a number from 0" in error
    spec.unlink()
    assert "kernels/kernels.toml is missing" in run(TOOL, *patched.args).error()


def test_the_overlay_holds_no_list(patched: Project, run: Run) -> None:
    patched.write("kernels/src/f32-nmconv/f32-nmconv-minmax.h", "// mine\n")
    error = run(TOOL, *patched.args).error()
    assert "kernels.toml would overwrite src/f32-nmconv/f32-nmconv-minmax.h, a file of" in error


def test_the_overlay_only_adds_files(patched: Project, run: Run) -> None:
    patched.write("kernels/src/main.c", "mine\n")
    assert "kernels/src/main.c would overwrite a file" in run(TOOL, *patched.args).error()


def test_the_overlay_holds_no_generated_files(patched: Project, run: Run) -> None:
    patched.write("kernels/src/f32-nmconv/gen/f32-nmconv-1x4-minmax-scalar.c", "mine\n")
    assert "lies in a gen folder" in run(TOOL, *patched.args).error()


def test_editors_leftovers_are_not_copied(patched: Project, run: Run) -> None:
    for name in ("nm.c~", ".nm.c.swp", "#nm.c#", "nm.c.orig"):
        patched.write(f"kernels/src/operators/{name}", "")
    patched.write("kernels/README.md", "the top folder's own files are not part of the tree\n")
    assert run(TOOL, *patched.args).ok() == "xnnpack: up to date\ntensorflow: up to date\n"
