# SPDX-License-Identifier: BSD-3-Clause
"""Cycles of whole networks on CV32E40P: dense, sparse, and with the gather instruction.

Each network is compiled with the kernels that are compared, built, and run on one input whose
answer must be that of TFLite's reference kernels, bit for bit. ``rtl`` counts on the core's RTL,
0.7 million cycles a second; ``spike`` models its pipeline (docs/mcu.md says how close).

    experiments/mcu_cycles.py dense.tflite pruned.tflite --simulators spike,rtl --json cycles.json

The first file is what the others are compared with: its kernels are the dense ones. ``--zoo NAME``
makes such files of a network of the zoo with random weights, pruned to ``--patterns``: cycles
depend on where the zeros are, not on the weights.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nmpack.errors import NmpackError
from nmpack.files import write_json
from nmpack.mcu.compiler import Program, compile_model
from nmpack.mcu.emit import golden_of
from nmpack.mcu.golden import Golden
from nmpack.mcu.simulate import SIMULATORS, simulate

#: What the first file is compiled with: the baselines, own best and published.
BASELINES = (("xcv", "dense4x4"), ("xcv", "dense1x2"), ("rv32imc", None))
SPARSE = (("xcv", None), ("xcv-nm", None), ("rv32imc", None))
#: Made small enough to calibrate on, and no more: cycles do not depend on the ranges.
_SAMPLES = 4


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL.tflite")
    parser.add_argument("--zoo", metavar="NAME", help="a network of the zoo instead of files")
    parser.add_argument(
        "--patterns", default="1:8x4,1:16x4", metavar="N:MxT,...", help="of --zoo's pruned files"
    )
    parser.add_argument("--simulators", default="spike", metavar="S,S", help="spike, rtl or both")
    parser.add_argument("--targets", metavar="T,T", help="only these: xcv, xcv-nm, rv32imc")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every layer there")
    arguments = parser.parse_args(argv)
    simulators = arguments.simulators.split(",")
    for name in simulators:
        if name not in SIMULATORS:
            parser.error(f"expected simulators out of {', '.join(SIMULATORS)}, got {name}")
    if bool(arguments.models) == bool(arguments.zoo):
        parser.error("expected files, or --zoo NAME")
    targets = arguments.targets.split(",") if arguments.targets else None
    with tempfile.TemporaryDirectory(prefix="nmpack-mcu-") as temporary:
        models = arguments.models or list(
            made(arguments.zoo, arguments.patterns.split(","), Path(temporary))
        )
        rows = [
            row
            for place, model in enumerate(models)
            for row in measured(model, place == 0, simulators, targets)
        ]
    print(table(rows))
    if arguments.json:
        write_json(arguments.json, {"schema": 1, "rows": rows})
    return 0


def measured(
    model: Path, dense: bool, simulators: Sequence[str], targets: Sequence[str] | None
) -> Iterator[dict[str, Any]]:
    """Yield a row for each target, kernel and simulator."""
    golden: Golden | None = None
    for target, kernel in BASELINES if dense else SPARSE:
        if targets is not None and target not in targets:
            continue
        program = compile_model(model, target=target, kernel=kernel)
        golden = golden or golden_of(program, 1)
        for simulator in simulators:
            found = simulate(program, simulator=simulator, golden=golden, timeout=7200.0)
            row = {
                "model": model.stem,
                "dense": dense,
                "target": target,
                "kernels": kernel or "chosen",
                "simulator": simulator,
                "cycles": found.cycles,
                "instructions": found.instructions,
                "predicted": sum(step.cycles.get(target, 0) for step in program.steps),
                "macs": sum(step.macs for step in program.steps),
                "dense_macs": sum(step.dense_macs for step in program.steps),
                "flash": program.weight_bytes,
                "arena": program.plan.arena_bytes,
                "layers": layers(program, found.layers),
            }
            print(
                f"{model.stem} {target} {row['kernels']} {simulator}: {found.cycles:,} cycles",
                file=sys.stderr,
                flush=True,
            )
            yield row


def layers(program: Program, cycles: Sequence[int]) -> list[dict[str, Any]]:
    """Return what each step is and took."""
    return [
        {"kind": step.kind, "kernel": step.kernel, "pattern": step.pattern, "cycles": count}
        for step, count in zip(program.steps, cycles, strict=True)
    ]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows beside the first file's on the same simulator."""
    lines = [
        "| network | built for | kernels | counted on | cycles | over own dense | over dense 1x2 "
        "| cycles a dense multiply-add | flash | arena | predicted |",
        "| --- | --- | --- | --- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for row in rows:
        ratios = []
        for target, kernel in BASELINES[:2]:
            base = [
                other["cycles"]
                for other in rows
                if other["dense"]
                and other["simulator"] == row["simulator"]
                and (other["target"], other["kernels"])
                == ((target, kernel) if row["target"] != "rv32imc" else ("rv32imc", "chosen"))
            ]
            ratios.append(f"{base[0] / row['cycles']:.2f}x" if base else "")
        if row["target"] == "rv32imc":
            ratios[1] = ""
        lines.append(
            f"| {row['model']} | {row['target']} | {row['kernels']} | {row['simulator']} "
            f"| {row['cycles']:,} | {' | '.join(ratios)} "
            f"| {row['cycles'] / max(row['dense_macs'], 1):.3f} | {row['flash']:,} "
            f"| {row['arena']:,} | {row['predicted'] / row['cycles']:.3f} |"
        )
    return "\n".join(lines)


def made(name: str, patterns: Sequence[str], folder: Path) -> Iterator[Path]:
    """Write int8 files of a network of the zoo: dense, then pruned to each pattern."""
    import torch

    import nmpack.torch
    from nmpack import NMPattern
    from nmpack.convert import torch_to_tflite
    from nmpack.models import ZOO, build
    from nmpack.quantize import Int8

    shape = ZOO[name].input_shape
    samples = np.random.default_rng(0).standard_normal((_SAMPLES, *shape)).astype(np.float32)
    for pattern in (None, *patterns):
        torch.manual_seed(0)
        model = build(name)
        if pattern is not None:
            kept, _, tile = pattern.partition("x")
            nmpack.torch.prune_(model, NMPattern.parse(kept, tile=int(tile or 4)))
            nmpack.torch.finalize_(model)
        said = "dense" if pattern is None else pattern.replace(":", "-").replace("x", "-t")
        path = folder / f"{name}-{said}.tflite"
        torch_to_tflite(model, path, shape, int8=Int8(samples, io="int8"))
        yield path


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NmpackError as error:
        print(f"mcu_cycles: error: {error}", file=sys.stderr)
        sys.exit(1)
