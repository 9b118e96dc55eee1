# SPDX-License-Identifier: BSD-3-Clause
"""Run a model once under QEMU with the counting plugin, and add up what it executed."""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nmpack.element_types import type_of
from nmpack.errors import MissingError
from nmpack.locations import LIBRARY, ROOT, named
from nmpack.runtime.qemu import cpu, execute, find_target, nmpack_run
from nmpack.rvv.account import Operator, Prices, Totals, account, sum_of
from nmpack.rvv.plugin import find_plugin, plugin_options, read_counts
from nmpack.rvv.variants import Variant, prune_file
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.model import ConvolutionInfo, Subgraph
from nmpack.tflite.operator_codes import (
    BATCH_MATMUL,
    CALLING,
    CONV_2D,
    DEPTHWISE_CONV_2D,
    FULLY_CONNECTED,
    TRANSPOSE_CONV,
)

_WEIGHTED = (CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, TRANSPOSE_CONV, BATCH_MATMUL)
_KERNELS = re.compile(r"(gemm|conv|spmm)\w*_ukernel")


@dataclass(frozen=True, slots=True)
class Row:
    """One operator of the model, or the rest.

    Attributes:
        name: of a convolution, its output tensor; else the function that does most of it.
        convolution: whether it is one.
        element_type: of a convolution's images, as ``f32`` or ``qs8``; empty otherwise.
        shape: OHWI of its weights, empty otherwise; ``stride`` and ``size`` (of the output image)
            are (height, width).
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
    timeout: float = 1800.0,
) -> Result:
    """Run one inference of ``variant`` of ``model`` with zeros as input: of its first subgraph.

    Args:
        model: path of a ``.tflite`` file.
        variant: who runs it, and how it is pruned first.
        vlen: vector length in bits.
        prices: of :class:`nmpack.rvv.mca.Pricer`, None to model no cycles.
        options: of our delegate, over those of ``variant``; upstream's gets none.
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
        if variant.pattern is None:
            (folder / "model.tflite").symlink_to(Path(model).resolve())
        else:
            prune_file(model, folder / "model.tflite", variant.pattern)
        file = TFLiteFile(folder / "model.tflite")
        program = [
            str(target.emulator), *plugin_options(folder, plugin, library),
            "-L", str(target.sysroot), "./run",
        ]  # fmt: skip
        given = {"nm": variant.nm, "layout": variant.layout} | dict(options or {})
        command = nmpack_run(
            program, "model.tflite", "./delegate.so", {} if variant.upstream else given
        )
        # Nor has the stack another environment.
        execute(command, {"QEMU_CPU": cpu(vlen), "LC_ALL": "C"}, timeout, folder)
        operators = account(read_counts(folder), prices)
        return _result(variant, operators, file.primary)


def _result(variant: Variant, operators: Sequence[Operator], graph: Subgraph) -> Result:
    weighted = [item for item in operators[1:] if _multiplies(item)]
    codes = [item.code for item in graph.operators if item.code in _WEIGHTED]
    convolutions = iter(graph.convolutions)
    note, of_kind = "", {}
    if any(item.code in CALLING for item in graph.operators):
        note = "the model runs other subgraphs in loops or branches: rows are named by kernel"
    elif len(codes) == len(weighted):
        for item, code in zip(weighted, codes, strict=True):
            if code in (CONV_2D, DEPTHWISE_CONV_2D):
                of_kind[item.ordinal] = next(convolutions)
    else:
        note = (
            f"{len(weighted)} operators multiply by weights, the model has {len(codes)}: "
            "rows are named by kernel"
        )
    rows = []
    for item in operators[1:]:
        info = of_kind.get(item.ordinal)
        rows.append(
            Row(
                info.name if info else item.kernel,
                info is not None,
                _element_type(graph, info) if info else "",
                info.shape if info else (),
                info.stride if info else (0, 0),
                info.output.shape[1:3] if info else (),
                item.kernel,
                item.totals,
                item.functions,
            )
        )
    first = operators[0]
    rows.append(
        Row("outside", False, "", (), (0, 0), (), first.kernel, first.totals, first.functions)
    )
    if variant.nm == "force" and not any(map(_is_ours, operators)):
        note = f"{note}; " if note else ""
        note += f"no kernel of ours ran: there is none of its type for {variant.layout} images"
    return Result(variant, tuple(rows), note)


def _element_type(graph: Subgraph, item: ConvolutionInfo) -> str:
    dtype = graph.tensors[graph.operators[item.node].inputs[0]].dtype
    kind = type_of(dtype)
    return dtype if kind is None else kind.name


def _is_ours(operator: Operator) -> bool:
    return any("_nmconv_" in name or "_nmspmm_" in name for name in operator.functions)


def _multiplies(operator: Operator) -> bool:
    return any(
        _KERNELS.search(name) and totals.classes["vector fma"] + totals.classes["float other"] > 0
        for name, totals in operator.functions.items()
    )
