# SPDX-License-Identifier: BSD-3-Clause
"""The C text of a program: its header, its calls, its constants and golden vectors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.errors import ModelError
from nmpack.mcu.arena import Place
from nmpack.mcu.compiler import Program
from nmpack.mcu.emit_build import filled
from nmpack.mcu.golden import Golden
from nmpack.mcu.graph import Tensor
from nmpack.mcu.step import Step

SPDX = "// SPDX-License-Identifier: BSD-3-Clause\n"
_WIDTH = 118
_TYPES = {
    "int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "uint16": "uint16_t",
    "int32": "int32_t", "uint32": "uint32_t", "int64": "int64_t", "uint64": "uint64_t",
    "float32": "float", "bool": "uint8_t",
}  # fmt: skip
_REFERENCE = re.compile(r"\{(\w+)\}")
# What C would take for more than a character in a comment or a string.
_UNSAFE = re.compile(r"[^ !#$%&()+,\-.0-9:;<=>@A-Z\[\]^_`a-z{|}~]")


def header(program: Program) -> str:
    """Return the text of ``NAME.h``."""
    upper, graph, plan = program.name.upper(), program.graph, program.plan
    lines = []
    for side, tensors, offsets, size in (
        ("INPUT", graph.inputs, plan.input_offsets, plan.input_bytes),
        ("OUTPUT", graph.outputs, plan.output_offsets, plan.output_bytes),
    ):
        lines += [f"#define {upper}_{side}S {len(tensors)}", f"#define {upper}_{side}_BYTES {size}"]
        for place, (tensor, offset) in enumerate(zip(tensors, offsets, strict=True)):
            lines += _tensor_macros(f"{upper}_{side}_{place}", tensor, offset)
        lines.append("")
    count = len(program.steps)
    return filled(
        "NAME.h", program, ends="\n".join(lines), layers=count, names=max(count, 1),
        model=_comment(program.model.name),
    )  # fmt: skip


def _tensor_macros(prefix: str, tensor: Tensor, offset: int) -> list[str]:
    shape = "x".join(map(str, tensor.shape)) or "scalar"
    lines = [
        f"// {_comment(tensor.name[:60])}: {tensor.dtype}, {shape}",
        f"#define {prefix}_OFFSET {offset}",
        f"#define {prefix}_SIZE {tensor.nbytes}",
    ]
    if tensor.scale is not None and tensor.zero_point is not None and len(tensor.scale) == 1:
        lines += [
            f"#define {prefix}_SCALE {_float(tensor.scale[0])}",
            f"#define {prefix}_ZERO_POINT ({int(tensor.zero_point[0])})",
        ]
    return lines


def calls(program: Program) -> str:
    """Return the text of ``NAME.c``."""
    graph, plan = program.graph, program.plan
    lines = []
    places = [*plan.tensors.values(), *filter(None, plan.scratch)]
    if any(place.area == "arena" for place in places):
        lines.append("  int8_t *const memory = (int8_t *) arena;")
    if not program.steps:
        lines.append("  (void) hook, (void) context;")
    for index, step in enumerate(program.steps):
        written = step.outputs[-1]
        operands = [f"&{program.name}_{index}"]
        operands += [f"(const void *) {_at(plan.tensors[i])}" for i in step.inputs]
        operands += [f"(void *) {_at(plan.tensors[i])}" for i in step.outputs]
        if (scratch := plan.scratch[index]) is not None:
            operands.append(f"(void *) {_at(scratch)}")
        elif step.takes_scratch:
            operands.append("NULL")
        where, size = _at(plan.tensors[written]), graph.tensors[written].nbytes
        lines += [
            f"  // {index} {_comment(_title(step))}",
            f"  {step.function}({', '.join(operands)});",
            "  if (hook != NULL) {",
            f"    hook(context, {index}, {where}, {size});",
            "  }",
        ]
    text = "\n".join(lines)
    return filled("NAME.c", program, calls=f"{text}\n" if text else "", more=_alignments(program))


def _alignments(program: Program) -> str:
    """Return the checks of inputs and outputs that are not of bytes."""
    text = ""
    for name, tensors in (("input", program.graph.inputs), ("output", program.graph.outputs)):
        most = max(np.dtype(tensor.dtype).itemsize for tensor in tensors)
        if most > 1:
            text += f" (uintptr_t) {name} % {most} != 0 ||"
    return text


def _at(place: Place) -> str:
    base = {"arena": "memory", "input": "input", "output": "output"}[place.area]
    return f"({base} + {place.offset})" if place.offset else base


def _title(step: Step) -> str:
    return " ".join(filter(None, (step.kind, step.layer, step.kernel)))


def weights_header(program: Program) -> str:
    """Return the text of ``NAME_weights.h``."""
    guard = f"{program.name.upper()}_WEIGHTS_H_"
    lines = [SPDX, f"#ifndef {guard}", f"#define {guard}", "", '#include "nm_mcu.h"', ""]
    lines += [
        f"extern const {step.struct} {program.name}_{index};"
        for index, step in enumerate(program.steps)
    ]
    return "\n".join([*lines, "", f"#endif  // {guard}"]) + "\n"


def weights(program: Program) -> Iterator[str]:
    """Yield the text of ``NAME_weights.c`` in pieces."""
    name = program.name
    yield f'{SPDX}\n#include "{name}_weights.h"\n\n#include "{name}.h"\n\n{_ALIGNED}'
    for index, step in enumerate(program.steps):
        yield f"\n// {index} {_comment(_title(step))}\n"
        names = {constant.name: f"{name}_{index}_{constant.name}" for constant in step.constants}
        for constant in step.constants:
            alignment = max(constant.alignment, constant.values.itemsize)
            yield f"NM_ALIGNED({alignment}) static "
            yield from array(names[constant.name], constant.values)
        yield f"const {step.struct} {name}_{index} = {{{_filled(step, names)}}};\n"
    titles = [_title(step)[:100] for step in program.steps] or [""]
    quoted = ",\n  ".join(f'"{_comment(title)}"' for title in titles)
    yield f"\nconst char *const {name}_layer_names[{len(titles)}] = {{\n  {quoted},\n}};\n"


def _filled(step: Step, names: dict[str, str]) -> str:
    """Return the initializer with constants by the names that they have in C."""

    def replaced(match: re.Match[str]) -> str:
        return names.get(match[1], match[0])

    text = _REFERENCE.sub(replaced, step.parameters.strip())
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    return text.strip()


def array(name: str, values: npt.NDArray[Any]) -> Iterator[str]:
    """Yield the definition of a constant array, in pieces.

    Raises:
        ModelError: it is empty, which C has not.
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    if not flat.size:
        raise ModelError(f"expected values in the constant {name}, got none")
    yield f"const {_TYPES[flat.dtype.name]} {name}[{flat.size}] = {{\n"
    digits = max(len(_literal(flat.min())), len(_literal(flat.max()))) + 2
    row = max(_WIDTH // digits, 1)
    for start in range(0, flat.size, 64 * row):
        part = flat[start : start + 64 * row]
        texts = [_float(v) for v in part] if part.dtype.kind == "f" else _numbers(part)
        lines = (", ".join(texts[i : i + row]) for i in range(0, len(texts), row))
        yield "".join(f"  {line},\n" for line in lines)
    yield "};\n"


def _numbers(values: npt.NDArray[Any]) -> list[str]:
    if values.dtype.kind == "b":
        values = values.astype(np.uint8)
    if values.dtype.itemsize < 4:
        return list(map(str, values.tolist()))
    return [_literal(value) for value in values]


def _literal(value: Any) -> str:
    """Return a number of C in its type: the smallest of a type has no literal of its own."""
    kind = np.asarray(value).dtype
    if kind.kind == "f":
        return _float(value)
    number = int(value)
    suffix = {"u4": "u", "u8": "ull", "i8": "ll"}.get(kind.str[1:], "")
    if kind.kind == "i" and kind.itemsize >= 4 and number == np.iinfo(kind).min:
        return f"(-{-(number + 1)}{suffix} - 1)"
    return f"{number}{suffix}"


def _float(value: Any) -> str:
    """Return a float of C that reads as the same number."""
    text = repr(float(np.float32(value)))
    if "inf" in text or "nan" in text:
        raise ModelError(f"expected finite constants, got {text}")
    return f"{text}f"


def golden_text(program: Program, golden: Golden) -> Iterator[str]:
    """Yield the text of ``golden.c`` in pieces."""
    yield (
        f"{SPDX}//\n// What TFLite's reference kernels answer to {len(golden.inputs)} inputs drawn "
        f'from seed {golden.seed}.\n\n#include "golden.h"\n\n'
    )
    for what, rows in (("inputs", golden.inputs), ("outputs", golden.outputs)):
        yield from array(f"{program.name}_golden_{what}", rows.reshape(-1).view(np.int8))
        yield "\n"


def golden_header(program: Program, golden: Golden) -> str:
    """Return the text of ``golden.h``."""
    name, upper, count = program.name, program.name.upper(), len(golden.inputs)
    return (
        f"{SPDX}\n#ifndef {upper}_GOLDEN_H_\n#define {upper}_GOLDEN_H_\n\n#include <stdint.h>\n\n"
        f"#define {upper}_GOLDEN {count}\n\n"
        f"extern const int8_t {name}_golden_inputs[{golden.inputs.size}];\n"
        f"extern const int8_t {name}_golden_outputs[{golden.outputs.size}];\n\n"
        f"#endif  // {upper}_GOLDEN_H_\n"
    )


def _comment(text: str) -> str:
    """Return text that ends no comment or string, whatever a file calls its layers."""
    return _UNSAFE.sub("?", text.replace("/", ".").replace("\\", "."))


_ALIGNED = """\
#if defined(__GNUC__)
#define NM_ALIGNED(bytes) __attribute__((aligned(bytes)))
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define NM_ALIGNED(bytes) _Alignas(bytes)
#else
#define NM_ALIGNED(bytes)
#endif
"""
