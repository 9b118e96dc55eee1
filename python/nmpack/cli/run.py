# SPDX-License-Identifier: BSD-3-Clause
"""``nmpack run``."""

from __future__ import annotations

import argparse

import numpy as np

from nmpack.cli.common import (
    Subparsers,
    add_engine,
    add_shape,
    add_verb,
    options,
    require_target,
    shapes,
    tell_sizes,
)
from nmpack.cli.progress import console, progress
from nmpack.errors import NmpackError
from nmpack.runtime.emulated import run_samples_emulated
from nmpack.runtime.inputs import Inputs
from nmpack.runtime.interpreter import Engine, nmpack_engine
from nmpack.runtime.qemu import ARM_PROCESSORS, VLENS, cpu, find_target
from nmpack.runtime.runner import Result, load_inputs, require_stock, run, save_outputs
from nmpack.runtime.sizes import Shapes
from nmpack.terminal import Table

_VLEN, _CPU = 256, "max"


def add(verbs: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        verbs,
        "run",
        "Run a .tflite model through the delegate, in a process of its own. Inputs may hold many\n"
        "samples along the first axis. Where the file leaves sizes open, they are those of the\n"
        "inputs, or what --shape says. --compare runs the stock interpreter as well and fails\n"
        "when the outputs disagree.\n\n"
        "--target runs nmpack-run for another processor under QEMU. ./scripts/setup.sh builds it\n"
        "for riscv64, ./scripts/test_aarch64.sh for aarch64.",
        """
        nmpack run r50.tflite --compare
        nmpack run r50.tflite --input images.npy --output logits.npz --threads 2
        nmpack run r50.tflite --interpreter tflite-runtime --option nm=force --option verbose=1
        nmpack run segment.tflite --shape 1x480x640x3 --compare
        nmpack run r50.tflite --target riscv64 --vlen 256 --compare
        nmpack run r50.tflite --target aarch64 --cpu cortex-a76 --compare
        """,
        execute,
    )
    parser.add_argument("model", metavar="MODEL.tflite")
    parser.add_argument(
        "--input", default="random:0", metavar="FILE", help=".npy, .npz or random:SEED (default)"
    )
    parser.add_argument("--output", metavar="FILE", help="write the outputs as .npy or .npz")
    add_shape(parser)
    add_engine(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--no-delegate", action="store_true", help="the interpreter alone, as it is installed"
    )
    how.add_argument(
        "--alone", action="store_true", help="our delegate without the interpreter's built-in one"
    )
    parser.add_argument(
        "--compare", action="store_true", help="compare with the stock interpreter on this machine"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-4,
        metavar="X",
        help="largest difference over the largest output that still agrees (default 1e-4)",
    )
    parser.add_argument("--target", choices=("host", "riscv64", "aarch64"), default="host")
    parser.add_argument(
        "--vlen",
        type=int,
        choices=(0, *VLENS),
        help=f"riscv64 vector bits (default {_VLEN}), 0 for none",
    )
    parser.add_argument(
        "--cpu",
        choices=ARM_PROCESSORS,
        help=f"aarch64 processor (default {_CPU}, all that QEMU has)",
    )
    parser.add_argument(
        "--timeout", type=float, default=600.0, metavar="S", help="seconds (default 600)"
    )


def execute(arguments: argparse.Namespace) -> None:
    """Run, save, compare."""
    require_target(arguments, vlen="riscv64", cpu="aarch64", delegate="host", alone="host")
    if arguments.no_delegate and (arguments.option or arguments.delegate):
        raise NmpackError("--no-delegate takes neither --delegate nor --option")
    inputs, sizes = load_inputs(arguments.input), shapes(arguments.shape)
    with progress(f"running {arguments.model} on {arguments.target}"):
        result = _run(arguments, inputs, sizes)
    if arguments.output:
        save_outputs(arguments.output, result.outputs)
    table = Table("output", "shape", "type", "smallest", "largest", "first row's top",
                  header_style="bold")  # fmt: skip
    for name, array in result.outputs.items():
        top = str(int(np.argmax(array[0]))) if array.ndim == 2 and array.size else ""
        shape = "x".join(map(str, array.shape))
        ends = (array.min(), array.max()) if array.size else ()
        low, high = [f"{float(end):.6g}" for end in ends] or ["none", "none"]
        table.add_row(name, shape, array.dtype.name, low, high, top)
    if arguments.target == "host":
        each = 1e3 * result.seconds / result.samples
        table.caption = f"{result.samples} sample(s), {each:.3f} ms each (use bench to measure)"
    console().print(table)
    tell_sizes(result.inputs)
    if arguments.compare:
        _compare(arguments, inputs, sizes, result)


def _run(arguments: argparse.Namespace, inputs: Inputs, sizes: Shapes | None) -> Result:
    if arguments.target == "host":
        return run(
            arguments.model,
            inputs,
            engine=_engine(arguments),
            shapes=sizes,
            timeout=arguments.timeout,
        )
    if arguments.target == "riscv64":
        processor = cpu(_VLEN if arguments.vlen is None else arguments.vlen)
    else:
        processor = arguments.cpu or _CPU
    return run_samples_emulated(
        find_target(arguments.target),
        processor,
        arguments.model,
        inputs,
        interpreter=arguments.interpreter,
        options=options(arguments.option),
        delegate=not arguments.no_delegate,
        threads=arguments.threads,
        shapes=sizes,
        timeout=arguments.timeout,
    )


def _engine(arguments: argparse.Namespace) -> Engine:
    if arguments.no_delegate:
        return Engine("built-in", arguments.interpreter, threads=arguments.threads)
    return nmpack_engine(
        interpreter=arguments.interpreter,
        library=arguments.delegate,
        options=options(arguments.option),
        threads=arguments.threads,
        alone=arguments.alone,
    )


def _compare(
    arguments: argparse.Namespace, inputs: Inputs, sizes: Shapes | None, result: Result
) -> None:
    with progress("running the stock interpreter"):
        gap = require_stock(
            arguments.model,
            inputs,
            result.outputs,
            stock=Engine("built-in", arguments.interpreter, threads=arguments.threads),
            tolerance=arguments.tolerance,
            where=arguments.target,
            shapes=sizes,
            timeout=arguments.timeout,
        )
    top1 = "" if gap.top1 is None else f", same top-1 in {100.0 * gap.top1:.2f}% of the rows"
    console().print(
        f"agrees with the stock {arguments.interpreter}: largest difference {gap.largest:.3g}, "
        f"{gap.relative:.3g} of the largest output{top1}"
    )
