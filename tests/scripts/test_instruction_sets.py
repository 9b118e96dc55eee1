# SPDX-License-Identifier: BSD-3-Clause
"""Records and tables name all that dense and N:M micro-kernels are chosen by."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CONFIGS = Path(__file__).resolve().parents[2] / "third_party/patched/xnnpack/src/configs"
FLAG = re.compile(r"\buse_((?:x86|arm_neon|riscv)\w*)")
#: Those that follow from another that is named, or choose for none of our types.
IMPLIED = {
    "x86_ssse3", "x86_f16c", "x86_avx256skx", "x86_avx256vnni", "arm_neon", "arm_neon_v8",
}  # fmt: skip


@pytest.mark.parametrize("pattern", ["gemm-config.c", "nm-*.c"])
def test_every_flag_that_chooses_a_kernel_has_a_name(pattern: str) -> None:
    named = set(FLAG.findall((CONFIGS / "nm-costs-config.c").read_text(encoding="utf-8")))
    sources = sorted(CONFIGS.glob(pattern))
    assert sources
    used = {flag for path in sources for flag in FLAG.findall(path.read_text(encoding="utf-8"))}
    assert used - IMPLIED <= named
