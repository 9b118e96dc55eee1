# SPDX-License-Identifier: BSD-3-Clause
"""Meson builds what XNNPACK's CMake files list, with the flags that they give."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MESON_BUILD = ROOT / "meson/xnnpack/meson.build"
XNNPACK = ROOT / "third_party/xnnpack"

CMAKE = """
SET(OPERATOR_SRCS
  src/operators/one.c  # a remark
  src/operators/two.c)
SET(TABLE_SRCS src/tables/t.c)
SET(XNNPACK_SRCS src/init.c "${PROJECT_BINARY_DIR}/build_identifier.c")
ADD_LIBRARY(microkernels-prod STATIC ${PROD_MICROKERNEL_SRCS} ${TABLE_SRCS})
ADD_LIBRARY(operators OBJECT ${OPERATOR_SRCS})
ADD_LIBRARY(packing OBJECT src/packing.cc)
ADD_LIBRARY(next-prime STATIC src/next_prime.cc)
TARGET_LINK_LIBRARIES(operators PRIVATE xnnpack-base packing)
ADD_LIBRARY(XNNPACK STATIC ${XNNPACK_SRCS})
TARGET_LINK_LIBRARIES(XNNPACK PRIVATE operators microkernels-prod)
"""
KERNELS = """
SET(PROD_RVV_MICROKERNEL_SRCS
  src/a/gen/a-rvv.c)
SET(NON_PROD_RVV_MICROKERNEL_SRCS)
SET(ALL_RVV_MICROKERNEL_SRCS ${PROD_RVV_MICROKERNEL_SRCS} + ${NON_PROD_RVV_MICROKERNEL_SRCS})
"""


def source_lists(*files: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "meson/xnnpack/source_lists.py", *files],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def tree(tmp_path: Path) -> tuple[Path, Path]:
    kernels, cmake = tmp_path / "rvv_microkernels.cmake", tmp_path / "CMakeLists.txt"
    kernels.write_text(KERNELS)
    cmake.write_text(CMAKE)
    return kernels, cmake


def test_library_holds_all_that_it_links_but_microkernels(tree: tuple[Path, Path]) -> None:
    result = source_lists(*tree)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "library=src/init.c;src/operators/one.c;src/operators/two.c;src/packing.cc",
        "tables=src/tables/t.c",
        "prod_rvv=src/a/gen/a-rvv.c",
        "non_prod_rvv=",
    ]


def test_missing_file_is_one_sentence(tree: tuple[Path, Path]) -> None:
    result = source_lists(tree[0].with_name("sse_microkernels.cmake"), tree[1])
    assert result.returncode == 1
    assert result.stdout == ""
    assert "sse_microkernels.cmake" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_tree_without_the_library_is_one_sentence(tree: tuple[Path, Path]) -> None:
    tree[1].write_text("PROJECT(other)\n")
    result = source_lists(*tree)
    assert result.returncode == 1
    assert "expected ADD_LIBRARY(XNNPACK ...)" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def declared_flags(cpu: str) -> dict[str, list[str]]:
    """The flags of each instruction set in meson.build, whose table is valid Python as well."""
    table = re.search(r"^skx = .*?^\}\[cpu\]$", MESON_BUILD.read_text(), re.M | re.S)
    assert table is not None
    names: dict[str, Any] = {"cpu": cpu}
    exec(table[0], names)
    return {isa: row[0] for isa, row in names["isas"].items() if isa != "scalar"}


@pytest.mark.parametrize("cpu", ["riscv64", "x86_64"])
def test_flags_are_those_of_xnnpack(cpu: str) -> None:
    text = (XNNPACK / "CMakeLists.txt").read_text()
    given = re.findall(r"\$\{ALL_(\w+)_MICROKERNEL_SRCS\}.* COMPILE_FLAGS \"( -m[^\"]*)\"", text)
    expected = {isa.lower(): flags.split() for isa, flags in given}
    flags = declared_flags(cpu)
    assert flags == {isa: expected[isa] for isa in flags}
