# SPDX-License-Identifier: BSD-3-Clause
"""kernels/kernels.toml: its tables of costs, and the struct in C that they fill."""

from __future__ import annotations

from pathlib import Path

import pytest
from nmpack_tools.console import ToolError
from nmpack_tools.kernelcosts import Costs
from nmpack_tools.kernelfiles import TABLES, kernels, texts
from nmpack_tools.kernelspec import load_spec
from nmpack_tools.kerneltypes import F32, TYPES, ElementType
from patching import SPEC, change

ROOT = Path(__file__).resolve().parents[2]


def test_costs_that_are_not_said_are_those_of_scalar(overlay: Path) -> None:
    members = load_spec(overlay).types[F32].costs["rvv"].members
    assert members["addition"] == 20
    assert members["nmconv_percent"] == [118, 120]
    text = texts(load_spec(overlay))[TABLES]
    table = text[text.index("// By a model.\n// Of what?\n") : text.index("#endif")]
    assert ".addition = 20.0f,\n  .nmconv_percent = {118.0f, 120.0f},\n" in table
    assert "nmspmm_rvv" not in text


def test_a_table_states_what_kernels_of_scalar_cost_there(overlay: Path) -> None:
    assert "f32_nmconv_rvv" in texts(load_spec(overlay))[TABLES]
    say_scalar_costs(overlay)
    spec = load_spec(overlay)
    assert spec.types[F32].costs["rvv"].members["nmconv_percent"] == [440]
    assert {str(kernel.template) for kernel in kernels(spec)} == {
        f"src/{family}/scalar.c.in" for family in ("f32-nmconv", "f32-nmspmm", "x32-packim2col")
    }
    made = texts(spec)[TABLES]
    assert ".nmconv_percent = {440.0f},\n" in made
    assert "f32_nmconv_rvv" not in made


def say_scalar_costs(overlay: Path) -> None:
    change(overlay, "[{ 7x4v = 118 }, { 14x2v = 120 }]", "[{ 1x4 = 440 }]")
    change(overlay, "[costs.rvv]", '[costs.rvv]\nof_scalar = ["nmconv_percent"]')
    change(overlay, "scalable = true", "scalable = false")


def test_a_new_cost_takes_the_struct_and_a_number(overlay: Path) -> None:
    change(overlay, "  float addition;", "  float addition;\n  float luck;", "include/xnnpack-nm.h")
    change(overlay, "addition = 20", "addition = 20\nluck = 0.1")
    assert texts(load_spec(overlay))[TABLES].count(".luck = 0.1f,\n") == 2


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: str(kind.name))
def test_kernels_of_scalar_cost_more_beside_dense_vectors(kind: ElementType) -> None:
    """The unit of scalar's own table is a scalar dense kernel; all others have vectors."""
    tables = load_spec(ROOT / "kernels").types[kind].costs
    assert len(tables) > 1
    for name, own in (("nmconv_percent", "nmconv"), ("nmspmm_percent", "nmspmm")):
        usual = cheapest(tables["scalar"], name)
        for isa, costs in tables.items():
            of = costs if costs.like == "scalar" else tables[costs.like]
            if isa != "scalar" and not getattr(of, own):
                cost = cheapest(costs, name)
                assert cost >= 2 * usual, f"{kind.costs}.{isa} has {name} of scalar's table"


def cheapest(costs: Costs, name: str) -> float:
    """Of some kernels, beside a weight of the dense one, in percent."""
    found = costs.members[name]
    assert isinstance(found, list)
    numbers = [n for item in found for n in (item.values() if isinstance(item, dict) else [item])]
    dense, percent = costs.members["dense_weight"], costs.members["gemm_percent"]
    assert isinstance(dense, float)
    assert isinstance(percent, float)
    return min(numbers) / (dense * percent / 100)


LIKE = """\
[costs.first]
addition = 3
pack_percent = [7]
measured = ["Here."]

[costs.second]
like = "first"
addition = 4
measured = ["There."]

[costs.scalar]"""


def say_like(overlay: Path) -> None:
    change(overlay, 'scalar = { flags = "0" }', 'scalar = { flags = "0" }\n' + "".join(
        f'{name} = {{ flags = "0" }}\n' for name in ("first", "second")
    ))  # fmt: skip
    change(overlay, "[costs.scalar]", LIKE)


def test_a_table_is_like_another_and_has_its_costs(overlay: Path) -> None:
    say_like(overlay)
    tables = load_spec(overlay).types[F32].costs
    assert tables["second"].members == tables["first"].members | {"addition": 4.0}
    assert tables["first"].members == tables["scalar"].members | {
        "addition": 3.0, "pack_percent": [7.0],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('like = "first"', 'like = "third"', "second.like: expected a table that is like no other"),
        ('like = "first"', 'like = "second"', "second.like: expected a table that is like no othe"),
        ('like = "first"', "like = 3", "costs.second.like: expected a line of text, got 3"),
        (
            'like = "first"', 'like = "first"\nnmconv_percent = [{ 1x4 = 1 }]',
            "second.like: expected it where no micro-kernels are stated, got 'first'",
        ),
    ],
)  # fmt: skip
def test_a_table_is_like_what_it_cannot_be(overlay: Path, old: str, new: str, said: str) -> None:
    say_like(overlay)
    change(overlay, old, new)
    with pytest.raises(ToolError) as caught:
        load_spec(overlay)
    assert said in str(caught.value)


def test_scalar_has_every_cost(overlay: Path) -> None:
    text = SPEC[: SPEC.index("[costs.scalar]")] + SPEC[SPEC.index("[costs.rvv]") :]
    (overlay / "kernels.toml").write_text(text)
    with pytest.raises(ToolError, match="a table scalar, which others fall back on, got"):
        load_spec(overlay)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("struct xnn_nm_costs {", "struct costs {", "got members none"),
        ("  float nmconv_percent[XNN_MAX_NMCONV_KERNELS];\n", "", "got members addition, nmspmm_"),
        ("#define XNN_MAX_NMSPMM_ROWS 8", "", "expected a #define of XNN_MAX_NMSPMM_ROWS"),
        ("_ROWS 8", f"_ROWS {'8' * 10}", "expected a #define of XNN_MAX_NMSPMM_ROWS as 1 to 9"),
        ("float addition;", "float addition, luck;", "to be a member as 'float name;' or 'float n"),
        ("float addition;", "uint32_t addition;", "got 'uint32_t addition;'"),
        ("float addition;", "float addition[4];", "got 'float addition[4];'"),
        ("float addition;", "float addition; float luck;", "got 'float addition; float luck;'"),
        ("float addition;", "#if 0\n  float addition;\n#endif", "got '#if 0'"),
    ],
)
def test_the_header_is_not_as_expected(overlay: Path, old: str, new: str, said: str) -> None:
    change(overlay, old, new, "include/xnnpack-nm.h")
    with pytest.raises(ToolError, match=r"kernels/include/xnnpack-nm\.h: expected") as caught:
        load_spec(overlay)
    assert said in str(caught.value)


def test_comments_in_the_struct_are_no_members(overlay: Path) -> None:
    before = load_spec(overlay)
    comments = "/* float a;\n  float b; */ float addition;  // float c;\n  // float d;\n\n"
    change(overlay, "float addition;", comments, "include/xnnpack-nm.h")
    assert load_spec(overlay) == before


@pytest.mark.parametrize("name", ["include/xnnpack-nm.h", "src/xnnpack/nmconv.h"])
def test_a_header_is_missing_or_not_text(overlay: Path, name: str) -> None:
    (overlay / name).write_bytes(b"// \xff\n")
    with pytest.raises(ToolError, match=rf"kernels/{name}: expected text in UTF-8, got 'utf-8'"):
        load_spec(overlay)
    (overlay / name).write_text("\n")
    with pytest.raises(ToolError, match=rf"kernels/{name}: expected a "):
        load_spec(overlay)
    (overlay / name).unlink()
    with pytest.raises(ToolError, match=rf"kernels/{name} is missing"):
        load_spec(overlay)
