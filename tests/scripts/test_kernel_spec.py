# SPDX-License-Identifier: BSD-3-Clause
"""kernels/kernels.toml: what is made from it, and how its mistakes are said."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from nmpack_tools.console import ToolError
from nmpack_tools.kernelfiles import TABLES, kernels, texts
from nmpack_tools.kernelspec import load_spec
from nmpack_tools.kerneltypes import F32, QS8
from patching import change

ROOT = Path(__file__).resolve().parents[2]


def rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(("#", "XNN_UKERNEL"))]


# What is made


def test_an_entry_is_all_that_a_kernel_takes(overlay: Path) -> None:
    change(overlay, "4x8 = 110.5", "4x8 = 110.5, 7x8 = 99")
    spec = load_spec(overlay)
    new = [kernel for kernel in kernels(spec) if "_7x8__" in kernel.name]
    assert [str(kernel.path) for kernel in new] == [
        "src/f32-nmspmm/gen/f32-nmspmm-7x8-minmax-scalar.c",
        "src/f32-nmspmm/gen/f32-nmspmm-7x8-minmax-scalar-dense.c",
    ]
    assert new[1].defines == {"MR": 7, "NR": 8, "DATATYPE": "F32", "DENSE": 1}
    made = texts(spec)
    for kernel in new:
        listed = made[PurePosixPath("src/f32-nmspmm/f32-nmspmm-minmax.h")]
        assert f"XNN_UKERNEL(0, {kernel.name}, 7, 8, 1, " in listed
        assert f"[6] = (xnn_nmspmm_ukernel_fn) {kernel.name},\n" in made[TABLES]
    assert "{[0] = 150.0f, [3] = 110.5f, [6] = 99.0f}" in made[TABLES]
    assert ".mr = 7,\n    .nr = 8,\n    .granularity = 8,\n" in made[TABLES]


def test_lists_say_where_kernels_are_compiled(overlay: Path) -> None:
    scale = "xnn_init_hardware_config()->vlenb / sizeof(float)"
    made = texts(load_spec(overlay))
    assert rows(made[PurePosixPath("src/f32-nmconv/f32-nmconv-minmax.h")]) == [
        "#if XNN_ARCH_RISCV",
        "XNN_UKERNEL(xnn_arch_riscv_vector, xnn_f32_nmconv_minmax_ukernel_7x4v__rvv, 7, 4, "
        f"{scale})",
        "XNN_UKERNEL(xnn_arch_riscv_vector, xnn_f32_nmconv_minmax_ukernel_14x2v__rvv, 14, 2, "
        f"{scale})",
        "#endif  // XNN_ARCH_RISCV",
        "XNN_UKERNEL(0, xnn_f32_nmconv_minmax_ukernel_1x4__scalar, 1, 4, 1)",
    ]
    assert rows(made[PurePosixPath("src/x32-packim2col/x32-packim2col.h")]) == [
        "XNN_UKERNEL(0, xnn_x32_packim2col_ukernel__scalar, COPY)",
        "XNN_UKERNEL(0, xnn_f32_maxpool_cnhw_ukernel__scalar, MAX)",
        "XNN_UKERNEL(0, xnn_f32_avgpool_cnhw_ukernel__scalar, ADD)",
    ]


QUANTIZED = """
[x8-packim2col]
scalar = { strip = "64" }

[qs8-qc8w-nmconv]
scalar = { columns = 2, weight_bytes = 2, image_bytes = 2, input_offset = 64 }

[qs8-qc8w-nmspmm]
scalar = { pack = "scalar", columns = 4, weight_bytes = 2, input_offset = 128 }

[qs8-costs.scalar]
addition = 7
nmconv_percent = [{ 3x8 = 50 }]
nmspmm_percent = [{ 1x8 = 150 }]
pack_percent = [100]
measured = ["Not measured."]
"""


def test_quantized_kernels_say_how_they_read_weights(overlay: Path) -> None:
    change(overlay, "[costs.scalar]", f"{QUANTIZED}\n[costs.scalar]")
    spec = load_spec(overlay)
    name = "xnn_qs8_qc8w_nmspmm_minmax_fp32_ukernel_1x8c4__scalar"
    kernel = next(kernel for kernel in kernels(spec) if kernel.name == name)
    assert kernel.defines == {"MR": 1, "NR": 8, "DATATYPE": "QS8"}
    made = texts(spec)
    listed = made[PurePosixPath("src/qs8-qc8w-nmspmm/qs8-qc8w-nmspmm-minmax-fp32.h")]
    assert f"XNN_UKERNEL(0, {name}, 1, 8, 1, 4, 1, 128)\n" in listed
    assert ".kr = 4,\n      .log2_size = 1,\n      .input_offset = 128,\n" in made[TABLES]
    assert "struct xnn_nm_costs qs8_nm_costs_scalar = {\n  .addition = 7.0f,\n" in made[TABLES]


def test_quantized_kernels_for_nhwc_images_say_how_they_read_them(overlay: Path) -> None:
    change(overlay, "[costs.scalar]", f"{QUANTIZED}\n[costs.scalar]")
    spec = load_spec(overlay)
    name = "xnn_qs8_qc8w_nmconv_minmax_fp32_ukernel_3x8c2__scalar"
    kernel = next(kernel for kernel in kernels(spec) if kernel.name == name)
    assert str(kernel.path) == "src/qs8-qc8w-nmconv/gen/qs8-qc8w-nmconv-3x8c2-minmax-fp32-scalar.c"
    made = texts(spec)
    listed = made[PurePosixPath("src/qs8-qc8w-nmconv/qs8-qc8w-nmconv-minmax-fp32.h")]
    assert f"XNN_UKERNEL(0, {name}, 3, 8, 1, 2, 1, 1, 64)\n" in listed
    slot = ".log2_image_size = 1,\n    .weights = {\n      .kr = 2,\n      .log2_size = 1,\n"
    assert f"{slot}      .input_offset = 64,\n" in made[TABLES]
    assert "struct xnn_nmconv_config qs8_qc8w_nmconv_scalar[" in made[TABLES]
    assert spec.types[QS8].costs["scalar"].members["nmconv_percent"] == [50]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("columns = 4", "columns = 5", "scalar.columns: expected a number of columns from 1 to 4"),
        ("input_offset = 128", "input_offset = -1", "input_offset: expected a number from 0 to"),
        ("input_offset = 64", "input_offset = 256", "input_offset: expected a number from 0 to"),
        ("weight_bytes = 2, inp", "weight_bytes = 4, inp", "scalar.weight_bytes: expected 1 or 2"),
        ("image_bytes = 2", "image_bytes = 3", "scalar.image_bytes: expected 1 or 2, got 3"),
        (
            "scalar = { columns = 2, weight_bytes = 2, image_bytes = 2, input_offset = 64 }",
            "",
            "qs8-qc8w-nmconv: expected a table scalar, as qs8-costs.scalar has nmconv_percent",
        ),
        ("[qs8-costs.scalar]", "[qs8-costs.rvv]", "qs8-costs: expected a table scalar, which"),
        ("addition = 7", "luck = 7", "qs8-costs.scalar: expected only the keys measur"),
    ],
)
def test_a_mistake_in_a_quantized_table_is_one_sentence(
    overlay: Path, old: str, new: str, said: str
) -> None:
    change(overlay, "[costs.scalar]", f"{QUANTIZED}\n[costs.scalar]")
    change(overlay, old, new)
    with pytest.raises(ToolError) as caught:
        load_spec(overlay)
    assert said in str(caught.value)


HALVES = """
[isa.half]
guard = "XNN_ARCH_RISCV && XNN_ENABLE_HALF"
flags = "xnn_arch_half"
scalable = true

[x16-packim2col]
rvv = { strip = "4v", template = "x32-packim2col/rvv" }
scalar = { strip = "8", template = "x32-packim2col/scalar" }

[f16-nmconv]
half = { template = "f32-nmconv/rvv" }
scalar = { image_bytes = 4, f32_sums = true, template = "f32-nmconv/scalar" }

[f16-nmspmm]
half = { pack = "rvv", template = "f32-nmspmm/rvv" }
scalar = { pack = "scalar", f32_sums = true, template = "f32-nmspmm/scalar" }

[f16-costs.scalar]
addition = 7
nmconv_percent = [{ 2x4 = 110 }]
nmspmm_percent = [{ 1x8 = 150 }]
pack_percent = [100]
measured = ["Not measured."]

[f16-costs.half]
nmconv_percent = [{ 7x4v = 60 }]
nmspmm_percent = [{ 1x4v = 50 }]
measured = ["Not measured."]
"""


def test_kernels_of_f16_share_templates_and_say_what_sums_are(overlay: Path) -> None:
    change(overlay, "[costs.scalar]", f"{HALVES}\n[costs.scalar]")
    spec = load_spec(overlay)
    made = {kernel.name: kernel for kernel in kernels(spec)}
    kernel = made["xnn_f16_f32acc_nmspmm_minmax_ukernel_1x8__scalar_dense"]
    assert kernel.defines == {"MR": 1, "NR": 8, "DATATYPE": "F16", "DENSE": 1}
    assert str(kernel.template) == "src/f32-nmspmm/scalar.c.in"
    assert str(kernel.path) == "src/f16-nmspmm/gen/f16-f32acc-nmspmm-1x8-minmax-scalar-dense.c"
    assert str(made["xnn_f16_maxpool_cnhw_ukernel__rvv"].template) == "src/x32-packim2col/rvv.c.in"
    listed = rows(texts(spec)[PurePosixPath("src/f16-nmspmm/f16-nmspmm-minmax.h")])
    assert (
        "XNN_UKERNEL(xnn_arch_half, xnn_f16_nmspmm_minmax_ukernel_1x4v__half, 1, 4, "
        "xnn_init_hardware_config()->vlenb / sizeof(xnn_float16), false, false)" in listed
    )
    assert f"XNN_UKERNEL(0, {kernel.name}, 1, 8, 1, true, true)" in listed
    assert ".log2_size = 1,\n" in texts(spec)[TABLES]


def test_kernels_of_f16_for_nhwc_images_say_what_they_read(overlay: Path) -> None:
    change(overlay, "[costs.scalar]", f"{HALVES}\n[costs.scalar]")
    spec = load_spec(overlay)
    made = {kernel.name: kernel for kernel in kernels(spec)}
    kernel = made["xnn_f16_f32acc_nmconv_minmax_ukernel_2x4__scalar"]
    assert kernel.defines == {"MR": 2, "NR": 4, "DATATYPE": "F16"}
    assert str(kernel.template) == "src/f32-nmconv/scalar.c.in"
    assert str(kernel.path) == "src/f16-nmconv/gen/f16-f32acc-nmconv-2x4-minmax-scalar.c"
    listed = rows(texts(spec)[PurePosixPath("src/f16-nmconv/f16-nmconv-minmax.h")])
    assert (
        "XNN_UKERNEL(xnn_arch_half, xnn_f16_nmconv_minmax_ukernel_7x4v__half, 7, 4, "
        "xnn_init_hardware_config()->vlenb / sizeof(xnn_float16), 1, false)" in listed
    )
    assert f"XNN_UKERNEL(0, {kernel.name}, 2, 4, 1, 2, true)" in listed
    slot = ".log2_image_size = 2,\n    .weights = {\n      .kr = 1,\n      .log2_size = 1,\n"
    assert slot in texts(spec)[TABLES]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            '"scalar", f32_sums = true',
            '"scalar", f32_sums = 1',
            "f16-nmspmm.scalar.f32_sums: expected true or false",
        ),
        ("image_bytes = 4", "image_bytes = 1", "f16-nmconv.scalar.image_bytes: expected 2 or 4"),
        ("image_bytes = 4", "columns = 2", "f16-nmconv.scalar: expected only the keys image_byt"),
        (
            '"f32-nmspmm/rvv"',
            '"../rvv"',
            "f16-nmspmm.half.template: expected a family and",
        ),
        (
            '"scalar", f32_sums = true',
            '"scalar", columns = 2',
            "f16-nmspmm.scalar: expected only the keys pack, gran",
        ),
        ("XNN_ARCH_RISCV && XNN_E", "XNN_ARCH_RISC && XNN_E", "f16-nmspmm.half.pack: expected an"),
    ],
)
def test_a_mistake_in_a_table_of_f16_is_one_sentence(
    overlay: Path, old: str, new: str, said: str
) -> None:
    change(overlay, "[costs.scalar]", f"{HALVES}\n[costs.scalar]")
    change(overlay, old, new)
    with pytest.raises(ToolError) as caught:
        load_spec(overlay)
    assert said in str(caught.value)


def test_an_element_type_has_all_of_its_tables_or_none(overlay: Path) -> None:
    change(overlay, "[costs.scalar]", '[x8-packim2col]\nscalar = { strip = "8" }\n[costs.scalar]')
    with pytest.raises(ToolError, match="the file: expected a key 'qs8-qc8w-nmconv'"):
        load_spec(overlay)


def test_no_two_kernels_of_the_project_have_one_name_and_each_has_a_template() -> None:
    names = [kernel.name for kernel in kernels(load_spec(ROOT / "kernels"))]
    assert len(set(names)) == len(names) > 0
    for kernel in kernels(load_spec(ROOT / "kernels")):
        assert (ROOT / "kernels" / kernel.template).is_file()


# Mistakes


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[isa]", "[isa", "kernels.toml is not valid TOML: "),
        ("[isa]", "[isas]", "the file: expected a key 'isa', got ['isas', "),
        ("[isa]", "a = 1\n[isa]", "the file: expected only the keys isa, x32-packim2col, "),
        ("[costs.rvv]", "[costs.avx]", "costs.avx: expected an instruction set of [isa] (rvv, "),
        ('flags = "0"', 'flags = ""', "isa.scalar.flags: expected a line of text, got ''"),
        ('flags = "0"', "", "isa.scalar: expected a key 'flags', got []"),
        ('scalar = { flags = "0" }', "scalar = 0", "isa.scalar: expected a table, got 0"),
        ('"64"', '"v4"', "x32-packim2col.scalar.strip: expected a number of elements as '64' or"),
        ('"64"', "64", "vector registers as '4v', got 64"),
        ('pack = "scalar"', 'pack = "rvv"', "f32-nmspmm.scalar.pack: expected a table of [x32-"),
        ('"scalar" }', '"scalar", granularity = 0 }', "expected a number of pixels, at least 1"),
        ("[costs.scalar]", "[costs.scalar]\nadition = 1", "only the keys measured, like, of_scala"),
        ("addition = 20", "addition = true", "costs.scalar.addition: expected a number, got True"),
        (
            "[costs.rvv]",
            "[costs.rvv]\nof_scalar = 1",
            "rvv.of_scalar: expected a list of s",
        ),
        (
            "[costs.rvv]",
            '[costs.rvv]\nof_scalar = ["addition"]',
            "of_scalar: expected a list of",
        ),
        (
            "[costs.rvv]",
            '[costs.rvv]\nof_scalar = ["nmconv_percent"]',
            "nmconv_percent: expected the tiles of scalar, [['1x4']], got [['7x4v'], ['14x2v']]",
        ),
        ("addition = 20", "addition = inf", "expected a number from 0 to 1e+09, got inf"),
        ("addition = 20", "addition = nan", "expected a number from 0 to 1e+09, got nan"),
        ("addition = 20\n", "", "every member of struct xnn_nm_costs, addition too, got ['nmc"),
        ("[100]", "[100, 100]", "costs.scalar.pack_percent: expected 1 entries, as nmspmm_percent"),
        ("[100]", "100", "pack_percent: expected a list of 1 to 2 entries, one a slot, got 100"),
        ("1x4 = 110", "1x = 110", "nmconv_percent: expected a tile as '6x16' or '7x4v', got '1x'"),
        ("1x4 = 110", "0x4 = 110", "expected a tile as '6x16' or '7x4v', got '0x4'"),
        ("1x4 = 110", "1x4 = 110, 2x4 = 1", "one micro-kernel a slot, got ['1x4', '2x4']"),
        ("{ 1x4 = 110 }", "110", "expected a table of micro-kernels as { 6x16 = 100 }, got 110"),
        ("14x2v", "7x4v", "nmconv_percent: expected slots that differ, got ['7x4v', '7x4v']"),
        ("4x8 = ", "4x16 = ", "expected micro-kernels of one width in a slot, got ['1x8', '4x16']"),
        ("1x8 = ", "2x8 = ", "expected micro-kernels of 1 to 8 rows in a slot, 1 among them, got"),
        ("4x8 = ", "9x8 = ", "expected micro-kernels of 1 to 8 rows in a slot, 1 among them, got"),
        ("1x4 = 110", "16x4 = 110 }, { 17x4 = 1", "micro-kernels of 1 to 16 rows in a slot, got"),
        ("1x4 = 110", "99999x4 = 1", "expected a tile as '6x16' or '7x4v', got '99999x4'"),
        ("1x4 = 110", "1x4v = 110", "nmconv_percent: expected a number of elements, since the in"),
        ("4x8 = 110.5", "4x8v = 110.5", "expected micro-kernels of one width in a slot, got ['1x8"),
        ("14x2v", "14x2", "costs.rvv.nmconv_percent: expected vector registers as '4v', since the"),
        ('"64"', '"64v"', "x32-packim2col.scalar.strip: expected a number of elements, since the"),
        ("scalable = true", "scalable = 1", "isa.rvv.scalable: expected true or false, got 1"),
        (
            "scalable = true",
            "scalable = false",
            "elements, since the instruction set is not scalab",
        ),
        ('"scalar" }', '"scalar", granularity = 65536 }', "at least 1 and of 16 bits, got 65536"),
        ("Of what?", r"Of what?\\", "expected a line of text that does not go on in the next as C"),
        ("Of what?", r"Of what?\\ ", "a line of text that does not go on in the next as C reads"),
        ("Of what?", "Of what??/", "costs.rvv.measured: expected a line of text that does not go"),
        ("Of what?", r"Of\rwhat?", "costs.rvv.measured: expected a line of text, got 'Of\\rwhat?'"),
        ('["Not measured."]', '"Nowhere."', "costs.scalar.measured: expected a list of lines of"),
        ('measured = ["Not', 'm = ["Not', "costs.scalar: expected a key 'measured', got ['add"),
        (
            "[costs.rvv]",
            "[costs.rvv]\nnmspmm_percent = [{ 1x2v = 1 }]",
            "f32-nmspmm: expected a table rvv, as costs.rvv has nmspmm_percent, got ['scalar']",
        ),
    ],
)
def test_a_mistake_is_one_sentence(overlay: Path, old: str, new: str, said: str) -> None:
    change(overlay, old, new)
    with pytest.raises(ToolError) as caught:
        load_spec(overlay)
    message = str(caught.value)
    assert message.startswith("kernels/kernels.toml")
    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("9" * 5000, "expected whole numbers of 64 bits, got a longer one"),
        ("0x" + "9" * 5000, "expected whole numbers of 64 bits, got a longer one"),
        ("[" * 5000, "expected a few levels of tables and lists, got too many"),
    ],
    ids=["decimal", "hexadecimal", "levels"],
)
def test_what_python_cannot_read_is_one_sentence(overlay: Path, value: str, said: str) -> None:
    change(overlay, "addition = 20", f"addition = {value}")
    with pytest.raises(ToolError) as caught:
        load_spec(overlay)
    assert str(caught.value) == f"kernels/kernels.toml: {said}"


def test_strips_are_packed_by_what_is_compiled_where_they_are_read(overlay: Path) -> None:
    change(
        overlay, 'scalar = { strip = "64" }', 'rvv = { strip = "4v" }\nscalar = { strip = "64" }'
    )
    change(overlay, 'pack = "scalar" }', 'pack = "scalar" }\nrvv = { pack = "rvv" }')
    assert load_spec(overlay).types[F32].strips["rvv"].pack == "rvv"
    change(overlay, 'rvv = { pack = "rvv" }', 'rvv = { pack = "scalar" }')
    assert load_spec(overlay).types[F32].strips["rvv"].pack == "scalar"
    change(overlay, 'scalar = { pack = "scalar" }', 'scalar = { pack = "rvv" }')
    said = r"f32-nmspmm\.scalar\.pack: expected an instruction set without a guard or with "
    with pytest.raises(ToolError, match=said + "one that scalar's begins with, got 'rvv'"):
        load_spec(overlay)
