#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Fit the costs of an instruction set to what drawn layers took, and say what it is worth.

    python experiments/fit_costs.py experiments/records/epyc-zen3-fma3.jsonl.gz
    python experiments/fit_costs.py new.sqlite --draw 150 --budget 12m --samples new.jsonl.gz
    python experiments/fit_costs.py x60.sqlite --draw 90 --target qemu --largest 8000000
    python experiments/fit_costs.py int8.sqlite --draw 60 --type int8 --budget 10m

Each third of the layers is held out once. Of these it says how often the fastest candidate by the
costs takes at most 10 % longer than the fastest that was measured, by the table of kernels.toml and
by the fit, and prints the fit to all as a table to take over. kernels.toml is not changed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path

import cost_samples
from cost_fit import FITTED, Run, Verdict, fit, held_out, runs_of
from cost_terms import KERNELS, KINDS, Costs, kernel_name, read_costs

from nmpack.cli.common import positive
from nmpack.cli.tune import duration
from nmpack.element_types import DTYPES, F32, named
from nmpack.errors import NmpackError
from nmpack.measure.amx import deny_amx
from nmpack.measure.drawn_layers import MOST_MULTIPLY_ADDS, draw_layers
from nmpack.measure.machine import describe_machine
from nmpack.rvv.mca import VLEN
from nmpack.tune.targets import native_target, qemu_target
from nmpack.tune.tuner import TIME

_LEAST_LAYERS = 6


def as_toml(isa: str, costs: Costs, dtype: str = F32.name) -> str:
    """Write the fitted costs as kernels.toml has them, to three digits."""
    kind = KINDS[dtype]
    lines = [f"[{kind.costs}.{kind.tables.get(isa, isa)}]"]
    for member in FITTED:
        rows = {
            name.partition(" ")[2]: value
            for name, value in costs.items()
            if name.split(" ")[0] == member
        }
        if rows:
            lines.append(f"{member} = {_toml_value(isa, member, rows)}")
    return "\n".join(lines)


def _toml_value(isa: str, member: str, rows: Mapping[str, float]) -> str:
    if "" in rows:
        number = round(float(f"{rows['']:.3g}"), 6)
        return f"{number:g}"
    if "pack" in member:
        return f"[{', '.join(f'{value:.0f}' for value in rows.values())}]"
    slots: dict[str, list[str]] = {}
    for kernel, value in rows.items():
        slot = kernel if member == "nmconv_percent" else kernel.partition("x")[2]
        slots.setdefault(slot, []).append(f"{kernel_name(isa, kernel)} = {value:.0f}")
    shown = [f"{{ {', '.join(items)} }}" for items in slots.values()]
    return f"[{', '.join(shown)}]"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure where that is wanted, fit, judge, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("records", type=Path, help="database of nmpack tune, or file of samples")
    parser.add_argument("--draw", type=positive, metavar="N", help="time N drawn layers first")
    parser.add_argument("--seed", type=int, default=7, help="of the layers (default 7)")
    parser.add_argument(
        "--largest", type=positive, default=MOST_MULTIPLY_ADDS, metavar="N",
        help=f"most multiply-adds of a drawn layer (default {MOST_MULTIPLY_ADDS})",
    )  # fmt: skip
    parser.add_argument(
        "--target", choices=("fma3", "native", "qemu"), default="fma3",
        help="where: this processor as one of FMA3 (default), as it is, or an X60, modelled",
    )  # fmt: skip
    parser.add_argument(
        "--type", choices=DTYPES, default=F32.dtype, help=f"of drawn layers (default {F32.dtype})"
    )
    parser.add_argument("--budget", type=duration, default=720.0, metavar="TIME", help="(12m)")
    parser.add_argument("--samples", type=Path, metavar="FILE", help="write what was read there")
    parser.add_argument(
        "--kernels", type=Path, default=KERNELS, metavar="FILE",
        help="kernels.toml of the program that made a database (default: this tree's)",
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    if arguments.draw:
        if arguments.target == "native" and "amx_int8" in describe_machine()["features"]:
            deny_amx()  # cost_terms knows no dense operator that has it
        target = {
            "fma3": lambda: native_target("fma3"),
            "native": native_target,
            "qemu": lambda: qemu_target(VLEN),
        }[arguments.target]()
        drawn = draw_layers(
            arguments.draw, arguments.seed, arguments.largest, named(arguments.type)
        )
        layers = [cost_samples.as_layer(item) for item in drawn]
        cost_samples.measure(arguments.records, target, layers, arguments.budget)
    samples, cut_by = cost_samples.load(arguments.records)
    machines = {(x.subject.machine.hardware, x.subject.machine.build) for x in samples}
    types = {x.subject.layer.dtype for x in samples}
    if len(machines) > 1:
        raise NmpackError(f"expected records of one machine and build, got {len(machines)}")
    if len(types) > 1:
        raise NmpackError(f"expected records of one element type, got {', '.join(sorted(types))}")
    if len(samples) < _LEAST_LAYERS:
        raise NmpackError(f"expected {_LEAST_LAYERS} layers or more, got {len(samples)}")
    machine = samples[0].subject.machine
    (dtype,) = types
    cut_by = cut_by or read_costs(machine.float_isa, arguments.kernels, dtype)
    runs = runs_of(samples, cut_by)
    if arguments.samples:
        cost_samples.save(arguments.samples, samples, cut_by)
    timed = samples[0].unit == TIME
    where = machine.cpu if timed else f"SpacemiT X60 at VLEN {machine.vlen}, modelled"
    print(f"{where} ({machine.isa}), {dtype}, kernels {machine.kernels}, {machine.compiler}")
    _report(machine.float_isa, dtype, runs, "ps" if timed else "thousandths of a cycle")
    return 0


def _report(isa: str, dtype: str, runs: Sequence[Run], unit_name: str) -> None:
    table = read_costs(isa, dtype=dtype)
    heads = [item.name for item in fields(Verdict)]
    print(f"\n{len(runs)} layers, each held out once from a fit to two thirds of the others\n")
    print(f"{'within 10 % of the best':24}" + "".join(f"{head:>8}" for head in heads))
    for name, found in held_out(runs, table).items():
        row = "".join(f"{100 * value:7.1f}%" for value in astuple(found))
        print(f"{name:24}{row}")
    print(
        "\ntable: kernels.toml; raised: N:M operators made dearer, as it has them\n"
        "loss: mean of how much longer the choice takes than the best; worse: choices that take\n"
        "over 1.1 times the dense operator; error: median of predictions, up to twice the best"
    )
    costs, unit = fit(runs, table)
    print(f"\nfitted to all layers; the unit is {1000 * unit:.1f} {unit_name}\n")
    print(as_toml(isa, costs, dtype))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NmpackError as error:
        print(f"fit_costs: error: {error}", file=sys.stderr)
        sys.exit(1)
