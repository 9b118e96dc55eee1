# SPDX-License-Identifier: BSD-3-Clause
"""Reading code and profiles: instruction words, ELF symbols, the plugin's file."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from rvv_samples import code

from nmpack.errors import NmpackError
from nmpack.runtime.elf import read_functions
from nmpack.rvv import isa
from nmpack.rvv.profile import ProfileError, read_profile


def _word(text: str) -> tuple[int, int]:
    data = bytes.fromhex(text)
    return int.from_bytes(data, "little"), len(data)


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("d772250d", "vector config"),  # vsetvli
        ("5770f2cd", "vector config"),  # vsetivli
        ("5770b580", "vector config"),  # vsetvl
        ("07e40502", "vector load"),  # vle32.v
        ("07e48562", "vector load"),  # vl4re32.v
        ("07e4c50a", "vector load, strided"),  # vlse32.v
        ("07e44506", "vector load, indexed"),  # vluxei32.v
        ("27e40502", "vector store"),  # vse32.v
        ("27e4c50a", "vector store, strided"),  # vsse32.v
        ("27e4450e", "vector store, indexed"),  # vsoxei32.v
        ("575445b2", "vector fma"),  # vfmacc.vf
        ("5714c2b2", "vector fma"),  # vfmacc.vv
        ("576445b6", "vector fma"),  # vmacc.vx
        ("575445f2", "vector fma"),  # vfwmacc.vf
        ("576445f6", "vector fma"),  # vwmacc.vx
        ("57244696", "vector other"),  # vmul.vv
        ("57144602", "vector other"),  # vfadd.vv
        ("57544592", "vector other"),  # vfmul.vf
        ("5734005e", "vector other"),  # vmv.v.i
        ("07a54500", "float load"),  # flw
        ("8825", "float load"),  # c.fld
        ("2225", "float load"),  # c.fldsp
        ("27a2a500", "float store"),  # fsw
        ("88a5", "float store"),  # c.fsd
        ("43f5c568", "float other"),  # fmadd.s
        ("53f5c500", "float other"),  # fadd.s
        ("8865", "load"),  # c.ld
        ("2265", "load"),  # c.ldsp
        ("2245", "load"),  # c.lwsp
        ("88e5", "store"),  # c.sd
        ("2ae4", "store"),  # c.sdsp
        ("e314b5fe", "branch"),  # bne
        ("ef001000", "branch"),  # jal
        ("cdb7", "branch"),  # c.j
        ("7dd5", "branch"),  # c.beqz
        ("8280", "branch"),  # c.jr
        ("0295", "branch"),  # c.jalr
        ("2e85", "scalar"),  # c.mv
        ("2e95", "scalar"),  # c.add
        ("0290", "scalar"),  # c.ebreak
        ("0505", "scalar"),  # c.addi
        ("0808", "scalar"),  # c.addi4spn
        ("3385c500", "scalar"),  # add
        ("73000000", "scalar"),  # ecall
    ],
)
def test_classes(word: str, kind: str) -> None:
    assert kind in isa.CLASSES
    assert isa.class_of(*_word(word)) == kind


@pytest.mark.parametrize(
    ("word", "distance"),
    [
        ("e314b5fe", -24), ("6344b502", 40), ("ef001000", 2048), ("01b0", -2048),
        ("cdb7", -30), ("7dd5", -18), ("1ded", 62), ("8280", None), ("0505", None),
    ],
)  # fmt: skip
def test_where_branches_go(word: str, distance: int | None) -> None:
    goal = isa.target(isa.Instruction(0x10000, *_word(word)))
    assert goal == (None if distance is None else 0x10000 + distance)


def test_vector_types() -> None:
    assert isa.type_set(*_word("d772250d")) == (32, "m4")
    assert isa.type_set(*_word("5770f2cd")) == (64, "mf2")
    assert isa.type_set(*_word("5770b580")) is None
    assert isa.sets_type(*_word("5770b580"))
    assert not isa.sets_type(*_word("575445b2"))


def test_calls_and_conditions() -> None:
    assert [isa.is_call(*_word(word)) for word in ("ef001000", "0295", "8280", "cdb7")] == [
        True, True, False, False,
    ]  # fmt: skip
    assert [isa.is_conditional(*_word(word)) for word in ("e314b5fe", "7dd5", "cdb7")] == [
        True, True, False,
    ]  # fmt: skip


def test_a_cut_off_instruction_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"at 0x6 is cut off"):
        list(isa.split(0, code("vle32.v v8, (a1)", "nop", "vfmacc.vf v8, fa0, v4")[:-1]))


PROFILE = """nmpack-rvvprof 1
segment 0 0
module 3 /lib/a b.so
block 7 3 4096 07e405020505
run 7 10 320 0 2 1
segment 0 1
block 8 -1 64 8280
run 7 1 32 0 0 0
run 8 2 0 0 0 0
end 2 1
"""


def _read(folder: Path, text: str) -> object:
    path = folder / "profile.txt"
    path.write_text(text)
    return read_profile(path)


def test_a_profile_is_read(tmp_path: Path) -> None:
    path = tmp_path / "profile.txt"
    path.write_text(PROFILE)
    profile = read_profile(path)
    assert profile.modules == {-1: "", 3: "/lib/a b.so"}
    assert [item.address for item in profile.blocks[7].instructions] == [4096, 4100]
    first, second = profile.segments
    assert (first.ordinal, first.runs[7].executions, first.runs[7].l1_misses) == (0, 10, 2)
    assert second.runs[8].executions == 2


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (PROFILE, "", "got an empty file"),
        ("rvvprof 1", "rvvprof 2", "expected a profile that starts 'nmpack-rvvprof 1'"),
        ("end 2 1\n", "", "is cut off after 9 lines"),
        ("end 2 1", "end 3 1", "should have 3 segments, 2 are there"),
        ("end 2 1", "end 2 4", "exact for one thread only, 4 ran"),
        ("run 7 10 320 0 2 1", "run 7 10 320", "unusable line 'run 7 10 320'"),
        ("run 7 10 320 0 2 1", "run 9 10 320 0 2 1", "unusable line 'run 9"),
        ("run 7 1 32", "run 7 -1 32", "unusable line 'run 7 -1"),
        ("run 7 1 32", "run 7 x 32", "is damaged"),
        ("block 7 3", "block 7 4", "module 4, which is not named"),
        ("07e405020505", "07e4", "cut off"),
        ("07e405020505", "07e4050", "is damaged"),
        ("segment 0 0\n", "", "is damaged"),
        ("segment 0 1", "hello 0 1", "unknown line 'hello 0 1'"),
    ],
)
def test_a_broken_profile_is_one_sentence(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in PROFILE
    with pytest.raises(ProfileError) as caught:
        _read(tmp_path, PROFILE.replace(old, new, 1))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_missing_profile_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="cannot be read"):
        read_profile(tmp_path / "none")


def elf(path: Path) -> Path:
    """An ELF file with f at 0x2010 (6 bytes) and g at 0x2020 (no size), mapped from 0x100 on."""
    names = b"\0f\0g\0h\0"
    symbols = b"".join(
        struct.pack("<IBBHQQ", *row)
        for row in ((0, 0, 0, 0, 0, 0), (1, 2, 0, 1, 0x2010, 6), (3, 2, 0, 1, 0x2020, 0),
                    (5, 2, 0, 0, 0x2030, 8))  # h is undefined
    )  # fmt: skip
    strings, table, sections = 0x200, 0x210, 0x300
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 3, 243, 1)
    header += struct.pack("<QQQIHHHHHH", 0, 64, sections, 0, 64, 56, 1, 64, 3, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0x100, 0x2000, 0x2000, 0x100, 0x100, 0x1000)
    rows = bytes(64)
    rows += struct.pack("<IIQQQQIIQQ", 0, 2, 0, 0, table, len(symbols), 2, 0, 8, 24)
    rows += struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, strings, len(names), 0, 0, 1, 0)
    data = bytearray(sections + len(rows))
    for at, part in ((0, header), (64, load), (strings, names), (table, symbols), (sections, rows)):
        data[at : at + len(part)] = part
    path.write_bytes(data)
    return path


def test_functions_are_found_by_file_offset(tmp_path: Path) -> None:
    functions = read_functions(elf(tmp_path / "x.so"))
    assert functions.names == ("f", "g")
    assert functions.offset("f") == 0x110
    assert [functions.at(offset) for offset in (0x10F, 0x110, 0x115, 0x116, 0x121)] == [
        None, "f", "f", None, "g",
    ]  # fmt: skip
    with pytest.raises(KeyError):
        functions.offset("h")


def test_other_files_are_no_elf(tmp_path: Path) -> None:
    path = tmp_path / "x.so"
    path.write_bytes(b"\x7fELF\x01\x01")
    with pytest.raises(NmpackError, match="expected a 64-bit little-endian ELF file"):
        read_functions(path)
    whole = elf(path).read_bytes()
    for size in (40, 0x220, 0x350):
        path.write_bytes(whole[:size])
        with pytest.raises(NmpackError, match="damaged"):
            read_functions(path)
    with pytest.raises(NmpackError, match="cannot be read"):
        read_functions(tmp_path)
