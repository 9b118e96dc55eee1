# SPDX-License-Identifier: BSD-3-Clause
"""Every kernel for filters against its definition, in every form, and how one is chosen."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from kernel_cases import draw_case, draw_depthwise_case, draw_requantization, draw_weights
from mcu_kernel_programs import KERNELS as FOLDER
from mcu_kernel_programs import build

from nmpack.errors import NmpackError
from nmpack.mcu import rtl, spike, toolchain
from nmpack.mcu.filters import KERNELS, FilterError, candidates, choose, describe
from nmpack.mcu.filters_conv2d import Geometry, lower_conv2d
from nmpack.mcu.filters_pack import with_fillers

_SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def _drawn(count: int, target: str, seed: int | None, kernels: list[str]):
    seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    drawn = [draw_case(rng, kernel, target) for kernel in kernels for _ in range(count)]
    return drawn + [draw_depthwise_case(rng, target) for _ in range(4 * count)]


@pytest.mark.parametrize("level", ["-O1", "-O3"])
def test_portable_kernels_are_exact_and_stay_in_their_memory(tmp_path: Path, level: str):
    cases = _drawn(20, "xcv-nm", None, list(KERNELS))
    program = build(cases, tmp_path, target="host", flags=["-g", level, *_SANITIZERS])
    done = subprocess.run([program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, _explained(done.stdout, cases) + done.stderr[-3000:]


@pytest.mark.parametrize(
    ("target", "kernels"),
    [
        ("rv32imc", ["portable", "dense4x4", "col4x4"]),
        ("xcv", list(KERNELS)),
        ("xcv-nm", [name for name in KERNELS if "nm" in name]),
    ],
)
def test_kernels_of_microcontrollers_are_exact_on_rtl(
    tmp_path: Path, target: str, kernels: list[str]
):
    cases = _drawn(4, target, None, kernels)
    program = build(cases, tmp_path, target=target)
    report = rtl.run(program, extended=target == "xcv-nm")
    assert report.exit_code == 0, _explained(report.output, cases)


@pytest.mark.parametrize("target", ["rv32imc", "xcv", "xcv-nm", "zve32x"])
def test_kernels_of_microcontrollers_are_exact_on_spike(tmp_path: Path, target: str):
    cases = _drawn(16, target, None, list(KERNELS))
    program = build(cases, tmp_path, target=target)
    report = spike.run(program, target=target)
    assert report.exit_code == 0, _explained(report.output, cases)


def _explained(output: str, cases) -> str:
    numbers = [int(line.split()[1]) for line in output.splitlines() if line.startswith("case")]
    return output + "\n".join(f"{number}: {cases[number].name}" for number in numbers[:5])


def test_hardware_loops_keep_their_rules(tmp_path: Path):
    """Aligned bodies of 3 instructions or more, none compressed or a jump, the last of XCV."""
    loops = 0
    for source in sorted([*FOLDER.glob("xcv/*.S"), *FOLDER.glob("xcv-nm/*.S")]):
        words = [toolchain.clang(), *toolchain.target_flags("xcv"), f"-I{FOLDER}", "-c"]
        compiled = tmp_path / "one.o"
        subprocess.run([*words, str(source), "-o", str(compiled)], check=True)
        objdump = toolchain.clang().replace("clang", "llvm-objdump")
        text = subprocess.run(
            [objdump, "-d", f"--mattr=+{',+'.join(toolchain.XCV.split('_'))}", str(compiled)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for section in text.split("Disassembly of section ")[1:]:
            found = re.findall(r"^\s*([0-9a-f]+): ([0-9a-f]+)\s*(.*)", section, re.MULTILINE)
            at = {int(address, 16): (word, rest) for address, word, rest in found}
            for address, (word, _) in at.items():
                if len(word) != 8 or int(word, 16) & 0x7F7F != 0x472B:
                    continue
                loops += 1
                start, end = address + 4, address + (int(word, 16) >> 20) * 4
                body = [at[place] for place in range(start, end, 4)]
                assert start % 4 == 0, source.name
                assert end >= start + 12, source.name
                assert all(len(code) == 8 for code, _ in body), source.name
                assert not any(re.match(r"(b|j|cv\.b|ret|ecall)", rest) for _, rest in body)
                assert body[-1][1].startswith("cv."), f"{source.name}: {body[-1][1]}"
    assert loops >= 20


def test_the_kernel_of_the_fewest_cycles_is_chosen():
    rng = np.random.default_rng(1)
    tiled = draw_weights(rng, 16, 512, 4, 8)
    assert choose(tiled, rows=64, target="xcv").kernel == "col4x4"
    assert choose(tiled, rows=1, target="xcv").kernel == "col4x1"
    assert choose(draw_weights(rng, 16, 512, 8, 2), rows=64, target="xcv").kernel == "col8x4"
    assert choose(draw_weights(rng, 16, 512, 1, 8), rows=64, target="xcv").kernel == "row1x4"
    assert choose(draw_weights(rng, 16, 512, 1, 16), rows=1, target="xcv-nm").kernel == "rownm16"
    assert choose(draw_weights(rng, 16, 512, 1), rows=64, target="xcv").kernel == "dense4x4"
    blocks = np.repeat(draw_weights(rng, 16, 128, 4, 4), 4, axis=1)
    assert choose(blocks, rows=64, target="xcv").kernel == "block4x4"


def test_patterns_are_described():
    rng = np.random.default_rng(2)
    assert describe(draw_weights(rng, 16, 512, 4, 8), 4) == "1:8 in tiles of 4"
    assert describe(draw_weights(rng, 16, 512, 1, 16), 1) == "1:16"
    blocks = np.repeat(draw_weights(rng, 16, 128, 4, 4), 4, axis=1)
    assert describe(blocks, 4, 4) == "1:4 in tiles of 4 and blocks of 4"
    assert describe(draw_weights(rng, 16, 512, 1), 0) == "dense"
    assert "% of columns" in describe(draw_weights(rng, 16, 512, 4, 0, 0.3), 4)


def test_far_columns_are_reached_by_fillers():
    columns, real = with_fillers(np.array([0, 1, 200, 263]), 63)
    assert columns.tolist() == [0, 1, 64, 127, 190, 200, 263]
    assert real.tolist() == [True, True, False, False, False, True, True]


def test_every_kernel_does_only_its_multiplications():
    rng = np.random.default_rng(3)
    weights = draw_weights(rng, 16, 512, 8, 8)
    macs = {one.kernel: one.macs for one in candidates(weights, target="xcv-nm")}
    assert macs["dense4x4"] == 16 * 512
    for name in ("col4x4", "col8x4", "col4x1", "row1x1", "rownm8", "colnm8"):
        assert macs[name] == 16 * 64, name


@pytest.mark.parametrize(
    ("shape", "what"),
    [((65536, 4), "65536"), ((4, 65536), "65536"), ((0, 4), "0"), ((4, 0), "0")],
)
def test_filters_beyond_the_struct_are_refused(shape: tuple[int, int], what: str):
    with pytest.raises(FilterError, match=f"expected 1 to 65535 .*, got {what}"):
        choose(np.zeros(shape, np.int8), rows=1, target="xcv")


def test_long_filters_of_interleaved_kernels_go_elsewhere():
    weights = np.zeros((4, 65000), np.int8)
    weights[:, 64900:] = 1
    names = {one.kernel for one in candidates(weights, target="xcv")}
    assert "col4x1" in names
    assert "col4x4" not in names


def test_kernels_and_sizes_that_are_not_there_are_refused():
    rng = np.random.default_rng(4)
    weights = draw_weights(rng, 4, 8, 1)
    with pytest.raises(FilterError, match="as kernel, got 'best'"):
        choose(weights, rows=1, target="xcv", kernel="best")
    requantization = draw_requantization(rng, 4)
    with pytest.raises(NmpackError, match="as input_width of a convolution, got 70000"):
        lower_conv2d(weights, Geometry(1, 1, 70000, 8, 1, 70000), requantization, target="xcv")
    with pytest.raises(NmpackError, match="expected weights of 9 columns"):
        lower_conv2d(weights, Geometry(1, 1, 2, 9, 1, 2), requantization, target="xcv")


def test_what_one_rounding_instruction_cannot_do_takes_the_portable_kernel():
    rng = np.random.default_rng(5)
    weights = draw_weights(rng, 4, 8, 1)
    r = draw_requantization(rng, 4)
    assert r.rounding == "TWICE"
    window = Geometry(1, 1, 8, 8, 1, 8)
    assert lower_conv2d(weights, window, r, target="xcv").filter.kernel != "portable"
    r.shift[2] = -1
    assert lower_conv2d(weights, window, r, target="xcv").filter.kernel == "portable"
    r.shift[2] = 1
    r.bias[0] = 1 << 30
    assert lower_conv2d(weights, window, r, target="xcv").filter.kernel == "portable"
