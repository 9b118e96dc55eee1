#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""How kernels for filters run on eight cores that share banked memory, measured on the RTL.

    .venv/bin/python experiments/mcu_cluster.py [--kernel NAME …] [--cores 8] [--banks 16]

Every core multiplies the same filter with eight pixels of its own, in its own memory: the work of
one core, that many times. Printed are the cycles of one core alone, those of all together with the
cycles in which a core waited for a bank, and how much of the speed is left. Instructions come at
once, and there is no memory behind the banks.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

import mcu_kernel_programs as kernel_programs
import numpy as np
import numpy.typing as npt

from nmpack.errors import NmpackError
from nmpack.mcu import filters, rtl, toolchain
from nmpack.mcu.filters import PackedFilter
from nmpack.mcu.step import Int8

#: Kernel, and M where it keeps one of M columns; those with ``nm`` use the gather instruction.
KERNELS = {
    **dict.fromkeys(("dense4x4", "dense4x2", "dense1x2"), 1),
    **dict.fromkeys(("row1x1", "row1x4", "col4x4", "col8x4", "block4x4"), 8),
    **{f"{kind}{m}": m for kind in ("rownm", "colnm") for m in (4, 8, 16)},
}
CHANNELS, COLUMNS, PIXELS = 16, 1152, 8
_MAIN = """
#include "nm_mcu.h"
#include "nm_platform.h"
@constants@
static const struct nm_filter_s8 filter = {weights, @index@, bias, multiplier, shift, @channels@,
                                           @columns@, @kept@, 3, -128, 127, 0};
// Apart by a word more than a power of two, so that cores begin at different banks.
static int8_t pixels[CORES][@bytes@ + 4] __attribute__((aligned(64)));
static int8_t output[CORES][@channels@ * @pixels@ + 4] __attribute__((aligned(64)));
static uint32_t scratch[CORES][@scratch@ + 1];
int main(void) {
  const uint32_t hart = nm_hart();
  for (int i = 0; i < @bytes@; i++) {
    pixels[hart][i] = (int8_t) (i * i * 5 >> 3);
  }
  for (uint32_t round = 1; round <= 2; round++) {
    nm_barrier(CORES);
    if (hart == 0) {
      nm_region_begin();
    }
    @function@(&filter, pixels[hart], @stride@, @pixels@, output[hart], @channels@, scratch[hart]);
    nm_barrier(CORES);
    if (hart == 0) {
      nm_region_end(round);
    }
  }
  uint32_t sum = 0;
  for (int i = 0; i < @channels@ * @pixels@; i++) {
    sum = sum * 31 + (uint8_t) output[hart][i];
    if (output[hart][i] != output[0][i]) {
      nm_exit(1);
    }
  }
  nm_barrier(CORES);
  if (hart == 0) {
    nm_put_hex(sum);
  }
  return 0;
}
"""


def weights(m: int, tile: int, block: int) -> Int8:
    """Return weights (CHANNELS, COLUMNS) that keep one of ``m`` columns or blocks, by tiles."""
    generator = np.random.default_rng(5)
    values = generator.integers(1, 128, (CHANNELS, COLUMNS)).astype(np.int8)
    tiles, units = CHANNELS // max(tile, 1), COLUMNS // block
    kept = np.zeros((tiles, units // m, m), bool)
    np.put_along_axis(kept, generator.integers(0, m, (tiles, units // m, 1)), True, axis=2)
    wide = kept.reshape(tiles, units).repeat(max(tile, 1), axis=0).repeat(block, axis=1)
    return np.where(wide, values, 0).astype(np.int8)


def program(packed: PackedFilter, folder: Path, cores: int) -> Path:
    """Return a program in which each of ``cores`` cores calls the kernel, in regions 1 and 2."""
    lines = [
        _array("int32_t", "bias", np.arange(CHANNELS) * 37 - 300),
        _array("uint32_t", "multiplier", np.full(CHANNELS, 3 << 30)),
        _array("int8_t", "shift", np.full(CHANNELS, 8)),
    ]
    for constant in packed.constants:
        ctype = f"{constant.values.dtype}_t"
        lines.append(_array(ctype, constant.name, constant.values))
    stride = -(-packed.columns * (4 if packed.layout == "interleaved" else 1) // 4) * 4
    words = {
        "constants": "".join(lines),
        "index": "index" if len(packed.constants) > 1 else "0",
        "channels": packed.channels,
        "columns": packed.columns,
        "kept": packed.kept,
        "pixels": PIXELS,
        "bytes": stride * PIXELS,
        "scratch": packed.scratch_bytes // 4,
        "function": packed.function,
        "stride": stride,
    }
    text = re.sub(r"@(\w+)@", lambda match: str(words[match[1]]), _MAIN)
    (folder / "main.c").write_text(text, encoding="utf-8")
    return toolchain.build(
        [folder / "main.c", *kernel_programs.source_files(packed.sources, "xcv-nm")],
        folder / f"program{cores}",
        target="xcv-nm",
        include=[kernel_programs.KERNELS],
        defines={"CORES": cores},
        warnings=(),
    )


def _array(ctype: str, name: str, values: npt.NDArray[np.generic]) -> str:
    words = ",".join(str(value) for value in values.tolist())
    return f"static const {ctype} {name}[] __attribute__((aligned(4))) = {{{words}}};\n"


def main() -> int:
    """Measure kernels and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kernel", action="append", choices=sorted(KERNELS))
    parser.add_argument("--cores", type=int, default=8)
    parser.add_argument("--banks", type=int, default=16)
    arguments = parser.parse_args()
    print(f"{'kernel':10}{'1 core':>9}{f'{arguments.cores} cores':>9}{'waits':>9}{'kept':>8}")
    try:
        for kernel in arguments.kernel or KERNELS:
            known = filters.KERNELS[kernel]
            drawn = weights(KERNELS[kernel], known.tile, known.block)
            (packed,) = filters.candidates(drawn, target="xcv-nm", names=[kernel])
            with tempfile.TemporaryDirectory() as name:
                reports = [
                    rtl.run(
                        program(packed, Path(name), cores),
                        extended=True,
                        cores=cores,
                        banks=arguments.banks,
                    )
                    for cores in (1, arguments.cores)
                ]
            alone, together = reports
            if (alone.exit_code, together.exit_code) != (0, 0) or alone.output != together.output:
                raise NmpackError(f"{kernel}: expected all cores to compute the same, got others")
            # The second call: the first found the cores out of step.
            one, all_of_them = alone.cycles(2), together.cycles(2)
            print(
                f"{kernel:10}{one:>9,}{all_of_them:>9,}{together.regions[1].conflicts:>9,}"
                f"{one / all_of_them:>8.1%}",
                flush=True,
            )
    except NmpackError as error:
        print(f"mcu_cluster.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
