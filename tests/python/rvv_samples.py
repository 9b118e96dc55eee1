# SPDX-License-Identifier: BSD-3-Clause
"""Bytes of RISC-V code, and profiles made of them."""

from __future__ import annotations

from nmpack.rvv.isa import split
from nmpack.rvv.profile import Block

# Inner loops of XNNPACK's f32 kernels 7x4v at the pin, as clang 19 compiles them.
IGEMM_LOOP = bytes.fromhex(
    "87a60b00910b07260c00110c87a50c00910c07250d00110d07a00d00910d8720050007e00702110507a10400910457d6"
    "06b2575206b257de05b2575c05b2575a00b257d800b2575401b27114da974df8"
)
GEMM_LOOP = bytes.fromhex(
    "b38ddb00b384dc00b300dd003387df003384de00b303db003385d2008726050007a603008725040007250700"
    "07e0070207a00d0087a0040007a1000057d406b2575206b257de05b2575c05b2575a00b257d800b2575601b2"
    "9106e297e312d6fa"
)

# Name in assembly -> bytes, little-endian hex.
WORDS = {
    "vsetvli t0, a0, e32, m4, ta, ma": "d772250d",
    "vsetivli zero, 4, e64, mf2, ta, ma": "5770f2cd",
    "vsetvl zero, a0, a1": "5770b580",
    "vle32.v v8, (a1)": "07e40502",
    "vfmacc.vf v8, fa0, v4": "575445b2",
    "addi a0, a0, 1": "0505",
    "nop": "0100",
    "ret": "8280",
    "jalr a0": "0295",
    "j -30": "cdb7",
    "beqz a0, -18": "7dd5",
    "bnez a0, 62": "1ded",
    "bne a0, a1, -24": "e314b5fe",
    "blt a0, a1, 40": "6344b502",
    "jal ra, 2048": "ef001000",
}


def code(*names: str) -> bytes:
    """Put instructions of ``WORDS`` together; other names are hex themselves."""
    return b"".join(bytes.fromhex(WORDS.get(name, name)) for name in names)


def block(address: int, *names: str, module: int = 0) -> Block:
    """Return a block of instructions of ``WORDS`` at ``address``."""
    return Block(module, address, tuple(split(address, code(*names))))
