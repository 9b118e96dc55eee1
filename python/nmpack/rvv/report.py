# SPDX-License-Identifier: BSD-3-Clause
"""The report: networks, their variants, and what each executed; as values for JSON."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmpack.errors import NmpackError
from nmpack.locations import PACKAGE, cache_folder
from nmpack.rvv.account import Totals, sum_of
from nmpack.rvv.mca import CPU, VLEN, Pricer, find_tools
from nmpack.rvv.measure import Result, Row, find_upstream, measure
from nmpack.rvv.variants import Variant
from nmpack.tflite.names import short_names

OTHER = "other operators"


@dataclass(frozen=True, slots=True)
class Network:
    """One model and what its variants executed."""

    name: str
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was measured; ``model`` says whose cycles are modelled, None if nobody's."""

    vlen: int
    model: str | None
    networks: tuple[Network, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; ``schema`` is 1."""
        return {
            "schema": 1,
            "vlen": self.vlen,
            "model": self.model,
            "networks": [
                {
                    "name": network.name,
                    "variants": [_variant(result) for result in network.results],
                }
                for network in self.networks
            ],
        }


def _variant(result: Result) -> dict[str, Any]:
    pattern = result.variant.pattern
    return {
        "name": result.variant.name,
        "element_types": list(result.element_types),
        "upstream": result.variant.upstream,
        "density": pattern.density if pattern else None,
        "tile": pattern.tile if pattern else None,
        "note": result.note,
        "totals": result.totals.to_dict(),
        "functions": {name: totals.to_dict() for name, totals in result.functions.items()},
        "operators": [
            {
                "name": row.name,
                "convolution": row.convolution,
                "element_type": row.element_type,
                "weights": row.shape,
                "stride": row.stride,
                "output": row.size,
                "kernel": row.kernel,
                "totals": row.totals.to_dict(),
                "functions": {name: totals.to_dict() for name, totals in row.functions.items()},
            }
            for row in result.rows
        ],
    }


def build(
    models: Sequence[tuple[str, str | Path]],
    variants: Sequence[Variant],
    *,
    vlen: int = VLEN,
    options: Mapping[str, str] | None = None,
    int8: bool = False,
    timeout: float = 1800.0,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Measure each variant of each model.

    Args:
        models: names and paths of ``.tflite`` files.
        variants: of :mod:`nmpack.rvv.variants`.
        vlen: vector length in bits; cycles are modelled at that of the modelled core only.
        options, int8: as for :func:`nmpack.rvv.measure.measure`.
        timeout: seconds for one run.
        progress: is told what runs.

    Raises:
        MissingError: a build, the sysroot, QEMU or LLVM is absent.
        NmpackError: see :func:`nmpack.rvv.measure.measure`.
    """
    if any(variant.upstream for variant in variants):
        find_upstream()
    prices, model = None, None
    if vlen == VLEN:
        pricer = Pricer(find_tools())
        prices, model = pricer.prices, f"{CPU}, LLVM {pricer.tools.version}"
    networks = []
    for name, path in models:
        results = []
        for variant in variants:
            progress(f"{name}, {variant.name}")
            results.append(
                measure(
                    path, variant, vlen=vlen, prices=prices, options=options, int8=int8,
                    timeout=timeout,
                )
            )  # fmt: skip
        networks.append(Network(name, tuple(results)))
    return Report(vlen, model, tuple(networks))


def zoo_model(name: str, size: int | None) -> tuple[str, Path]:
    """Return a name and the path of a zoo network as a ``.tflite`` file, made when it is missing.

    Args:
        name: of :data:`nmpack.models.ZOO`.
        size: height and width of the input image; None takes the network's own.

    Raises:
        NmpackError: there is no such network, or it cannot be converted.
    """
    import nmpack.convert as conversion
    from nmpack.models import ZOO

    if name not in ZOO:
        raise NmpackError(f"expected a network of {', '.join(ZOO)}, got {name!r}")
    height, width, channels = ZOO[name].input_shape
    shape = (size or height, size or width, channels)
    # What its weights and its graph depend on.
    sources = sorted([*PACKAGE.glob("models/*.py"), Path(conversion.__file__)])
    content = b"".join(path.read_bytes() for path in sources) + _converters().encode()
    key = hashlib.sha256(content).hexdigest()[:16]
    path = cache_folder() / "models" / f"{name}-{shape[0]}-{key}.tflite"
    if not path.is_file():
        from nmpack.sources import load_source

        source = load_source(name)
        conversion.torch_to_tflite(source.model, path, shape)
    return (name if size is None else f"{name}@{size}"), path


def _converters() -> str:
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for package in ("torch", "litert-torch"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    return ", ".join(found)


def by_layer(result: Result) -> dict[str, Totals]:
    """Return the sums by distinct layer, in order, then of all that is none."""
    groups: dict[str, list[Totals]] = {}
    counts: dict[str, int] = {}
    for row in result.rows:
        label = shape_label(row) if row.shape else OTHER
        groups.setdefault(label, []).append(row.totals)
        counts[label] = counts.get(label, 0) + 1
    groups[OTHER] = groups.pop(OTHER, [])
    return {
        label if label == OTHER else f"{label} (n={counts[label]})": sum_of(totals)
        for label, totals in groups.items()
    }


def shape_label(row: Row) -> str:
    """Say what a layer is: kernel, stride, channels, output image, or rows and channels."""
    rows, height, width, columns = row.shape
    if not row.convolution:
        return f"{columns}-{rows} @{math.prod(row.size)} row{'s' * (math.prod(row.size) != 1)}"
    stride = f" /{row.stride[0]}" if max(row.stride) > 1 else ""
    size = "x".join(map(str, row.size))
    return f"{height}x{width}{stride} {columns}-{rows} @{size}"


def rows_by_name(result: Result) -> dict[str, tuple[str, Totals]]:
    """Return kernel and sums of each convolution by short name, of all else, and of everything."""
    convolutions = [row for row in result.rows if row.convolution]
    names = short_names([row.name for row in convolutions])
    found = {name: (row.kernel, row.totals) for name, row in zip(names, convolutions, strict=True)}
    others = [row for row in result.rows if not row.convolution]
    hottest = max(others, key=lambda row: row.totals.instructions).kernel
    found[OTHER] = (hottest, sum_of(row.totals for row in others))
    largest = max(result.rows, key=lambda row: row.totals.instructions).kernel
    return found | {"total": (largest, result.totals)}
