# SPDX-License-Identifier: BSD-3-Clause
"""Run a model once under QEMU with the counting plugin, and add up what it executed."""

from __future__ import annotations

import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nmpack.errors import MissingError
from nmpack.locations import LIBRARY, ROOT, named
from nmpack.runtime.qemu import cpu, execute, find_target, nmpack_run
from nmpack.rvv.account import Operator, Prices, Totals, account, sum_of
from nmpack.rvv.plugin import find_plugin, half_options, plugin_options, read_counts
from nmpack.rvv.variants import Variant, prune_file, quantize_file
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.model import LayerInfo, Subgraph
from nmpack.tflite.operator_codes import (
    BATCH_MATMUL,
    CALLING,
    CONV_2D,
    DEPTHWISE_CONV_2D,
    FULLY_CONNECTED,
    TRANSPOSE_CONV,
)

_WEIGHTED = (CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, TRANSPOSE_CONV, BATCH_MATMUL)
_KERNELS = re.compile(r"xnn_([a-z]+\d+)_\w*(?:gemm|conv|spmm)\w*_ukernel")


@dataclass(frozen=True, slots=True)
class Row:
    """One operator of the model, or the rest.

    Attributes:
        name: of a layer, its output tensor; else the function that does most of it.
        convolution: whether it is one; a fully connected layer has a shape and is none.
        element_type: of the kernels that multiplied by weights, as ``f32``, ``f16`` or ``qs8``;
            empty where none did.
        shape: OHWI of its weights, empty otherwise; ``stride`` and ``size`` (of the output image)
            are (height, width). The size of a fully connected layer is its output's, but for the
            last axis.
        kernel: the function that takes most of it.
        totals, functions: what it executed, in all and by function.
    """

    name: str
    convolution: bool
    element_type: str
    shape: tuple[int, ...]
    stride: tuple[int, int]
    size: tuple[int, ...]
    kernel: str
    totals: Totals
    functions: dict[str, Totals]


@dataclass(frozen=True, slots=True)
class Result:
    """One variant of a model: its operators in order, and what ran outside of them last."""

    variant: Variant
    rows: tuple[Row, ...]
    note: str

    @property
    def element_types(self) -> tuple[str, ...]:
        """What it multiplied in, most often one type."""
        return tuple(sorted({row.element_type for row in self.rows} - {""}))

    @property
    def label(self) -> str:
        """Name and element types, for tables."""
        return ", ".join(filter(None, (self.variant.name, "+".join(self.element_types))))

    @property
    def totals(self) -> Totals:
        """Everything, from calling the interpreter until it returned."""
        return sum_of(row.totals for row in self.rows)

    @property
    def functions(self) -> dict[str, Totals]:
        """Everything by function."""
        found: defaultdict[str, Totals] = defaultdict(Totals)
        for row in self.rows:
            for name, totals in row.functions.items():
                found[name] += totals
        return dict(found)


def find_upstream() -> Path:
    """Return the delegate with the unpatched XNNPACK for riscv64.

    Raises:
        MissingError: it is not built; the message says how to.
    """
    folder = named("NMPACK_RISCV64_UNPATCHED") or ROOT / "build/riscv64-unpatched"
    path = folder / "delegate" / LIBRARY
    if not path.is_file():
        raise MissingError(
            f"{path} is not built: meson setup build/riscv64-unpatched --cross-file "
            "scripts/cross/riscv64-linux-clang.ini --native-file scripts/native/clang.ini "
            "-Dxnnpack_tree=third_party/xnnpack -Dtests=false && "
            f"ninja -C build/riscv64-unpatched delegate/{LIBRARY}; "
            "or leave upstream out with --no-upstream"
        )
    return path


def measure(
    model: str | Path,
    variant: Variant,
    *,
    vlen: int,
    prices: Prices | None,
    options: Mapping[str, str] | None = None,
    int8: bool = False,
    timeout: float = 1800.0,
) -> Result:
    """Run one inference of ``variant`` of ``model`` with zeros as input: of its first subgraph.

    Args:
        model: path of a ``.tflite`` file.
        variant: who runs it, and how it is pruned first.
        vlen: vector length in bits.
        prices: of :class:`nmpack.rvv.mca.Pricer`, None to model no cycles.
        options: of our delegate, over those of ``variant``; upstream's gets none. With
            ``precision=f16`` the emulated core has half precision in vectors.
        int8: quantize a copy, pruned or not; ``model`` is of float32.
        timeout: seconds.

    Raises:
        MissingError: a build, the sysroot or QEMU is absent.
        InterpreterError: the program refuses, crashes or takes too long.
    """
    target = find_target()
    plugin = find_plugin(target.program)
    library = (find_upstream() if variant.upstream else target.library).resolve()
    with tempfile.TemporaryDirectory(prefix="nmpack-") as name:
        folder = Path(name)
        (folder / "run").symlink_to(target.program.resolve())
        (folder / "delegate.so").symlink_to(library)
        file = TFLiteFile(_copy(Path(model).resolve(), folder / "model.tflite", variant, int8))
        given = {"nm": variant.nm, "layout": variant.layout} | dict(options or {})
        given = {} if variant.upstream else given
        half = given.get("precision") == "f16"
        program = [
            str(target.emulator), *plugin_options(folder, plugin, library),
            *(half_options(folder, target.program) if half else ()),
            "-L", str(target.sysroot), "./run",
        ]  # fmt: skip
        command = nmpack_run(program, "model.tflite", "./delegate.so", given)
        # Nor has the stack another environment.
        execute(command, {"QEMU_CPU": cpu(vlen, half=half), "LC_ALL": "C"}, timeout, folder)
        operators = account(read_counts(folder), prices)
        return _result(variant, operators, file.primary)


def _copy(model: Path, copy: Path, variant: Variant, int8: bool) -> Path:
    if variant.pattern is not None:
        prune_file(model, copy, variant.pattern)
    if int8:
        quantize_file(model if variant.pattern is None else copy, copy)
    elif variant.pattern is None:
        copy.symlink_to(model)
    return copy


def _result(variant: Variant, operators: Sequence[Operator], graph: Subgraph) -> Result:
    weighted = [item for item in operators[1:] if _element_type(item)]
    nodes = [node for node, item in enumerate(graph.operators) if item.code in _WEIGHTED]
    layers = {item.node: item for item in graph.layers}
    note, of_kind = "", {}
    if any(item.code in CALLING for item in graph.operators):
        note = "the model runs other subgraphs in loops or branches: rows are named by kernel"
    elif len(nodes) == len(weighted):
        for item, node in zip(weighted, nodes, strict=True):
            if node in layers:
                of_kind[item.ordinal] = layers[node]
    else:
        note = (
            f"{len(weighted)} operators multiply by weights, the model has {len(nodes)}: "
            "rows are named by kernel"
        )
    rows = []
    for item in operators[1:]:
        info = of_kind.get(item.ordinal)
        rows.append(
            Row(
                info.name if info else item.kernel,
                info is not None and not info.linear,
                _element_type(item),
                info.shape if info else (),
                info.stride if info else (0, 0),
                _size(info) if info else (),
                item.kernel,
                item.totals,
                item.functions,
            )
        )
    first = operators[0]
    rows.append(
        Row("outside", False, "", (), (0, 0), (), first.kernel, first.totals, first.functions)
    )
    notes = [note] if note else []
    if variant.nm == "force" and not any(map(_is_ours, operators)):
        notes.append(f"no N:M kernel ran: there is none of its type for {variant.layout} images")
    if variant.upstream and weighted and all("__scalar" in item.kernel for item in weighted):
        notes.append("upstream multiplies without vectors here, which makes it a weak baseline")
    return Result(variant, tuple(rows), "; ".join(notes))


def _size(info: LayerInfo) -> tuple[int, ...]:
    return info.output.shape[:-1] if info.linear else info.output.shape[1:3]


def _is_ours(operator: Operator) -> bool:
    return any("_nmconv_" in name or "_nmspmm_" in name for name in operator.functions)


def _element_type(operator: Operator) -> str:
    """Return the type of the kernels that multiply by weights, empty where none does."""
    found: Counter[str] = Counter()
    for name, totals in operator.functions.items():
        kernel = _KERNELS.match(name)
        if kernel and totals.classes["vector fma"] + totals.classes["float other"] > 0:
            found[kernel[1]] += totals.instructions
    return max(found, key=lambda kind: found[kind], default="")
