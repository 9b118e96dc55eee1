# SPDX-License-Identifier: BSD-3-Clause
"""``nmpack run``."""

from __future__ import annotations

import argparse

import numpy as np

from nmpack.cli.common import Subparsers, add_engine, add_verb, options
from nmpack.cli.progress import console, progress
from nmpack.errors import NmpackError
from nmpack.runtime.interpreter import Engine, nmpack_engine
from nmpack.runtime.qemu import VLENS
from nmpack.runtime.riscv64 import run_samples_riscv64
from nmpack.runtime.runner import Inputs, Result, load_inputs, require_stock, run, save_outputs
from nmpack.terminal import Table


def add(verbs: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        verbs,
        "run",
        "Run a .tflite model through the delegate, in a process of its own. Inputs may hold many\n"
        "samples along the first axis. --compare runs the stock interpreter as well and fails\n"
        "when the outputs disagree.",
        """
        nmpack run r50.tflite --compare
        nmpack run r50.tflite --input images.npy --output logits.npz --threads 2
        nmpack run r50.tflite --interpreter tflite-runtime --option nm=force --option verbose=1
        nmpack run r50.tflite --target riscv64 --vlen 256 --compare
        """,
        execute,
    )
    parser.add_argument("model", metavar="MODEL.tflite")
    parser.add_argument(
        "--input", default="random:0", metavar="FILE", help=".npy, .npz or random:SEED (default)"
    )
    parser.add_argument("--output", metavar="FILE", help="write the outputs as .npy or .npz")
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
    parser.add_argument("--target", choices=("host", "riscv64"), default="host")
    parser.add_argument(
        "--vlen",
        type=int,
        default=256,
        choices=(0, *VLENS),
        help="riscv64 vector bits (default 256), 0 for none",
    )
    parser.add_argument(
        "--timeout", type=float, default=600.0, metavar="S", help="seconds (default 600)"
    )


def execute(arguments: argparse.Namespace) -> None:
    """Run, save, compare."""
    inputs = load_inputs(arguments.input)
    with progress(f"running {arguments.model} on {arguments.target}"):
        result = _run(arguments, inputs)
    if arguments.output:
        save_outputs(arguments.output, result.outputs)
    table = Table("output", "shape", "type", "smallest", "largest", "first row's top",
                  header_style="bold")  # fmt: skip
    for name, array in result.outputs.items():
        top = str(int(np.argmax(array[0]))) if array.ndim == 2 and array.size else ""
        shape = "x".join(map(str, array.shape))
        low, high = (f"{float(f(array)):.6g}" for f in (np.min, np.max))
        table.add_row(name, shape, array.dtype.name, low, high, top)
    if arguments.target == "host":
        each = 1e3 * result.seconds / result.samples
        table.caption = f"{result.samples} sample(s), {each:.3f} ms each (use bench to measure)"
    console().print(table)
    if arguments.compare:
        _compare(arguments, inputs, result)


def _run(arguments: argparse.Namespace, inputs: Inputs) -> Result:
    if arguments.target == "host":
        engine = _engine(arguments)
        return run(arguments.model, inputs, engine=engine, timeout=arguments.timeout)
    return run_samples_riscv64(
        arguments.model,
        inputs,
        interpreter=arguments.interpreter,
        vlen=arguments.vlen,
        options=options(arguments.option),
        delegate=not arguments.no_delegate,
        threads=arguments.threads,
        timeout=arguments.timeout,
    )


def _engine(arguments: argparse.Namespace) -> Engine:
    given = options(arguments.option)
    if arguments.no_delegate:
        if given or arguments.delegate:
            raise NmpackError("--no-delegate takes neither --delegate nor --option")
        return Engine("built-in", arguments.interpreter, threads=arguments.threads)
    return nmpack_engine(
        interpreter=arguments.interpreter,
        library=arguments.delegate,
        options=given,
        threads=arguments.threads,
        alone=arguments.alone,
    )


def _compare(arguments: argparse.Namespace, inputs: Inputs, result: Result) -> None:
    with progress("running the stock interpreter"):
        gap = require_stock(
            arguments.model,
            inputs,
            result.outputs,
            stock=Engine("built-in", arguments.interpreter, threads=arguments.threads),
            tolerance=arguments.tolerance,
            where=arguments.target,
            timeout=arguments.timeout,
        )
    top1 = "" if gap.top1 is None else f", same top-1 in {100.0 * gap.top1:.2f}% of the rows"
    console().print(
        f"agrees with the stock {arguments.interpreter}: largest difference {gap.largest:.3g}, "
        f"{gap.relative:.3g} of the largest output{top1}"
    )
