# SPDX-License-Identifier: BSD-3-Clause
"""What a layer is predicted to cost, as a sum of costs times how often each is paid.

The rule is that of kernels/src/operators/nm-analysis.c and nm-costs.c. There the columns that rows
keep together are counted in the filter; here they are what chance makes of a pattern's density,
which differs by little.
"""

from __future__ import annotations

import functools
import math
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nmpack.element_types import F32, QS8
from nmpack.errors import NmpackError
from nmpack.rvv.mca import VLEN
from nmpack.tune.shapes import Layer

KERNELS = Path(__file__).resolve().parents[1] / "kernels/kernels.toml"


@dataclass(frozen=True, slots=True)
class Dense:
    """XNNPACK's dense micro-kernels.

    Attributes:
        wide: columns, and heights; ``narrow`` those for no more output channels than its columns.
        depth: input channels that are multiplied together.
    """

    wide: tuple[int, tuple[int, ...]]
    narrow: tuple[int, tuple[int, ...]] = (0, ())
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Kind:
    """What kernels.toml and XNNPACK have of an element type.

    Attributes:
        costs, kernels, nhwc_kernels: sections of kernels.toml.
        dense: by the instruction set that records name. RVV's are of the vector length that its
            costs were modelled for.
        tables: of instruction sets that have another's costs.
    """

    costs: str
    kernels: str
    nhwc_kernels: str
    dense: Mapping[str, Dense]
    tables: Mapping[str, str] = field(default_factory=dict)


KINDS = {
    F32.name: Kind(
        "costs",
        "f32-nmspmm",
        "f32-nmconv",
        {
            "fma3": Dense((16, (1, 5)), (8, (1, 4, 5, 6, 7, 8))),
            "avx512f": Dense((32, (1, 7))),
            "rvv": Dense((32, (1, 7))),
        },
    ),
    QS8.name: Kind(
        "qs8-costs",
        "qs8-qc8w-nmspmm",
        "qs8-qc8w-nmconv",
        {
            "fma3": Dense((8, (1, 3)), depth=8),
            "avx512f": Dense((16, (1, 7)), depth=8),
            "rvv": Dense((4, (1, 3))),
        },
        {"fma3": "avx2", "avx512f": "avx512vnni"},
    ),
}
_VECTOR = {"rvv": VLEN // 32}

#: Costs by member of struct xnn_nm_costs; of arrays by ``member kernel``, as ``nmconv_percent
#: 6x16`` and ``pack_percent 24``.
Costs = dict[str, float]


def read_costs(isa: str, path: Path = KERNELS, dtype: str = F32.name) -> Costs:
    """Read a table of kernels.toml, with what it takes from the one for plain C.

    Raises:
        NmpackError: of this instruction set's dense operator nothing is known here.
    """
    kind = KINDS[dtype]
    if isa not in kind.dense:
        raise NmpackError(f"costs are fitted for {', '.join(kind.dense)}, got records of {isa}")
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    table_name = kind.tables.get(isa, isa)
    table = {"nmconv_percent": []} | content[kind.costs]["scalar"] | content[kind.costs][table_name]
    costs = {name: float(value) for name, value in table.items() if not isinstance(value, list)}
    for name in ("nmconv_percent", "nmspmm_percent"):
        for slot in table[name]:
            costs |= {f"{name} {_pixels_of(isa, key)}": float(x) for key, x in slot.items()}
    widths = [_pixels_of(isa, next(iter(slot))) for slot in table["nmspmm_percent"]]
    for name in ("pack_percent", "strided_pack_percent"):
        costs |= {
            f"{name} {width.partition('x')[2]}": x
            for width, x in zip(widths, table[name], strict=True)
        }
    if granularity := content[kind.kernels][table_name].get("granularity"):
        costs["granularity"] = float(granularity)
    # What is not said is 1: columns that are multiplied together, and bytes that an element has.
    nhwc = content.get(kind.nhwc_kernels, {}).get(table_name, {})
    size = 4.0 if dtype == F32.name else 1.0
    return costs | {
        "run": float(nhwc.get("columns", 1)),
        "image": float(nhwc.get("image_bytes", 1)),
        "size": size,
        # The dense micro-kernel whose weight is the unit, in weights of a column.
        "unit_weights": float(kind.dense[isa].wide[0] * kind.dense[isa].wide[1][-1]),
        "nhwc_size": size * nhwc.get("weight_bytes", 1),
        "cnhw_run": float(content[kind.kernels][table_name].get("columns", 1)),
        "cnhw_size": size * content[kind.kernels][table_name].get("weight_bytes", 1),
    }


def _pixels_of(isa: str, kernel: str) -> str:
    """Return a kernel's name with its columns in place of vectors."""
    rows, _, columns = kernel.partition("x")
    if not columns.endswith("v"):
        return kernel
    return f"{rows}x{int(columns[:-1]) * _VECTOR[isa]}"


def kernel_name(isa: str, kernel: str) -> str:
    """Return the name that kernels.toml has for a kernel of so many rows and columns."""
    rows, _, columns = kernel.partition("x")
    return f"{rows}x{int(columns) // _VECTOR[isa]}v" if isa in _VECTOR else kernel


def terms(isa: str, layer: Layer, candidate: str, costs: Costs) -> Costs:
    """Return how often each cost is paid in one run of a layer on a candidate.

    ``costs`` say how rows are cut into blocks, and what a tile or a block costs in columns.
    """
    kind, _, kernel = candidate.partition("-")
    if kind == "dense":
        return _dense(isa, layer, costs)
    rows, columns = map(int, kernel.split("x"))
    if kind == "nhwc":
        return _nhwc(layer, kernel, rows, columns, costs)
    return _cnhw(layer, rows, columns, costs)


def predict(found: Mapping[str, float], costs: Costs) -> float:
    """Return the time of one run in the costs' unit."""
    return sum(count * costs[name] for name, count in found.items())


def _dense(isa: str, layer: Layer, costs: Costs) -> Costs:
    kernels = KINDS[layer.dtype].dense[isa]
    is_narrow = layer.group_output_channels <= kernels.narrow[0]
    nr, heights = kernels.narrow if is_narrow else kernels.wide
    pointwise = _pointwise(layer)
    pixels = _image_pixels(layer) * (layer.batch if pointwise else 1)
    mr = _height(pixels, heights, nr)
    tiles = layer.groups * -(-layer.group_output_channels // nr)
    taps = 1 if pointwise else layer.kernel_height * layer.kernel_width
    depth = max(kernels.depth, int(costs["dense_run"]))
    deep = taps * _up(layer.group_input_channels, depth)
    columns = tiles * (deep + costs["tile_columns"]) * _up(pixels, mr) / mr
    percent = costs["gemm_percent" if pointwise else "igemm_percent"]
    columns *= _pixels(layer) / pixels * percent / 100.0
    return {
        "dense_column": columns,
        "dense_weight": columns * mr * nr,
        "dense_output": tiles * _up(pixels, mr) * (_pixels(layer) / pixels) * nr,
        "weight_byte": layer.groups * layer.group_output_channels * _columns(layer) * costs["size"],
    }


def _height(pixels: int, heights: Sequence[int], nr: int) -> int:
    """Return XNNPACK's choice of how many pixels a dense micro-kernel computes."""
    if pixels in heights:
        return pixels
    return min(reversed(heights), key=lambda mr: -(-pixels // mr) * (3 * (mr + nr) + mr * nr))


def _nhwc(layer: Layer, kernel: str, mr: int, nr: int, costs: Costs) -> Costs:
    union = _union(layer)
    tiles, columns, run = 0, 0.0, int(costs["run"])
    for first in range(0, layer.group_output_channels, nr):
        end = min(first + nr, layer.group_output_channels)
        columns += _run_columns(layer, union[_touched(layer, first, end)], run)
        tiles += 1
    blocks = layer.batch * _up(_image_pixels(layer), mr)
    found = {
        f"nmconv_percent {kernel}": layer.groups * blocks * nr
        * (columns + tiles * costs["tile_columns"]) / 100.0,
        "nmconv_call": layer.groups * blocks * tiles / mr,
        "nhwc_operator": 1.0,
        "weight_byte": layer.groups * nr * columns * costs["nhwc_size"],
    }  # fmt: skip
    if _padded(layer) or costs["image"] > 1:
        height = (layer.output_height - 1) * layer.stride_height
        height += (layer.kernel_height - 1) * layer.dilation_height + 1
        width = (layer.output_width - 1) * layer.stride_width
        width += (layer.kernel_width - 1) * layer.dilation_width + 1
        channels = layer.groups * layer.group_input_channels
        found |= {"padding": 1.0, "padded_element": layer.batch * height * width * channels}
    return found


def _cnhw(layer: Layer, most_rows: int, width: int, costs: Costs) -> Costs:
    granularity = int(costs.get("granularity", width))
    pixels = _pixels(layer)
    strips = max(_up(pixels, granularity), width)
    union = _union(layer)
    found: defaultdict[str, float] = defaultdict(float)
    for rows, columns in _blocks(layer, most_rows, width, union, costs):
        found[f"nmspmm_percent {rows}x{width}"] += (
            rows * (columns + costs["block_columns"]) * strips / 100.0
        )
        found["nmspmm_call"] += strips / width
        run = costs["cnhw_run"]
        found["weight_byte"] += rows * math.ceil(columns / run) * run * costs["cnhw_size"]
    if not _pointwise(layer):
        packed = union[_touched(layer, 0, layer.group_output_channels)]
        name = "pack_percent" if layer.stride_width == 1 else "strided_pack_percent"
        found[f"{name} {width}"] = packed * strips / 100.0
        found["packed_tap"] = _taps(layer, packed) * strips / granularity
    result = {name: layer.groups * count for name, count in found.items()}
    return result | {"cnhw_operator": 1.0}


def _blocks(
    layer: Layer, most_rows: int, width: int, union: Sequence[float], costs: Costs
) -> list[tuple[int, float]]:
    """Cut a group's rows into the blocks that cost least: rows and columns of each."""
    percents = {
        rows: 0.01 * costs[f"nmspmm_percent {rows}x{width}"] * rows
        for rows in range(1, most_rows + 1)
        if f"nmspmm_percent {rows}x{width}" in costs
    }
    call = costs["nmspmm_call"] / width
    least, last = [0.0], [0]
    for end in range(1, layer.group_output_channels + 1):
        choices = [
            (
                least[end - rows] + call
                + (union[_touched(layer, end - rows, end)] + costs["block_columns"])
                * percent,
                rows,
            )
            for rows, percent in percents.items()
            if rows <= end
        ]  # fmt: skip
        cost, rows = min(choices)
        least.append(cost)
        last.append(rows)
    found = []
    end = layer.group_output_channels
    while end:
        found.append((last[end], union[_touched(layer, end - last[end], end)]))
        end -= last[end]
    return found


def _touched(layer: Layer, first: int, end: int) -> int:
    """Return how many of the pattern's tiles hold rows from ``first`` to ``end``."""
    return (end - 1) // layer.tile - first // layer.tile + 1


def _union(layer: Layer) -> list[float]:
    """Return how many columns 0, 1, … tiles keep together, as chance makes it."""
    taps = layer.kernel_height * layer.kernel_width
    runs = taps * -(-layer.group_input_channels // layer.block)
    share = max(1, int(runs * layer.density + 0.5)) / runs
    tiles = -(-layer.group_output_channels // layer.tile)
    return [_columns(layer) * (1.0 - (1.0 - share) ** count) for count in range(tiles + 1)]


def _run_columns(layer: Layer, kept: float, run: int) -> float:
    """Return how many columns the runs have that so many kept columns are in, as chance makes it.

    A run begins with a kept column, and ends with its stretch: what is together in memory.
    """
    if run == 1:
        return kept
    together = layer.groups == 1 and layer.dilation_width == 1
    stretch = layer.group_input_channels * (layer.kernel_width if together else 1)
    # Pruned together, and so kept together.
    unit = math.gcd(layer.block, run)
    share = kept / _columns(layer)
    runs = _count_runs(-(-stretch // unit), run // unit, share)
    return run * runs * (_columns(layer) / stretch)


@functools.cache
def _count_runs(size: int, run: int, share: float) -> float:
    """Return how many runs a stretch of so many units has, a share of which is kept by chance."""
    counts = [0.0]
    for n in range(1, size + 1):
        counts.append((1.0 - share) * counts[-1] + share * (1.0 + counts[max(n - run, 0)]))
    return counts[-1]


def _taps(layer: Layer, packed: float) -> float:
    """Return of how many taps of the kernel a column is kept, as chance makes it."""
    left = 1.0 - packed / _columns(layer)
    taps = layer.kernel_height * layer.kernel_width
    return taps * (1.0 - left**layer.group_input_channels)


def _columns(layer: Layer) -> int:
    return layer.kernel_height * layer.kernel_width * layer.group_input_channels


def _image_pixels(layer: Layer) -> int:
    return layer.output_height * layer.output_width


def _pixels(layer: Layer) -> int:
    return layer.batch * _image_pixels(layer)


def _padded(layer: Layer) -> bool:
    return any((layer.padding_top, layer.padding_right, layer.padding_bottom, layer.padding_left))


def _pointwise(layer: Layer) -> bool:
    kernel = (layer.kernel_height, layer.kernel_width, layer.stride_height, layer.stride_width)
    return kernel == (1, 1, 1, 1) and not _padded(layer)


def _up(count: int, step: int) -> int:
    return -(-count // step) * step
