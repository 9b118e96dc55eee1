# SPDX-License-Identifier: BSD-3-Clause
"""The ``nmpack`` command: one subcommand for each verb; a bare call prints the map."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence

from nmpack.cli import (
    bench,
    bench_layers,
    checkpoint,
    convert,
    finetune,
    inspect,
    mcu,
    models,
    profile,
    prune,
    report,
    run,
    rvv_report,
    search,
    tune,
)
from nmpack.cli.distinct import require_distinct
from nmpack.cli.version import version_text
from nmpack.errors import NmpackError

_MAP = """\
nmpack: prune networks column-wise and run them faster on CPUs

from a model to a fast one:
  models      list the networks that need no file
  search      find out how much to prune where: the front of accuracy and cost
  prune       zero the weights that a pattern drops (PyTorch or Keras)    -> .pt, .keras
  finetune    prune, train with the masks held, bake them in; resumes     -> .pt
  convert     write a portable TFLite file, channels last; also in int8   -> .tflite
  checkpoint  train in less memory: the activations to keep, predicted and measured peak
using a .tflite file:
  run         run it through the delegate; compare with the stock interpreter; riscv64 under QEMU
  inspect     explain each layer: density, pattern, operator chosen, and why
  bench       time the delegate against the interpreter's built-in XNNPACK
  profile     time each operator of the delegate, and say which kernel it is and what of the peak
  report      one HTML page: each layer's times and bound, a roofline, what was chosen and why
  bench-layers  look for layers that the delegate slows down: drawn ones, each timed
  tune        time what each layer may run on, here or on a board; a table for the delegate
              with --density before pruning: the tile that each layer is to be pruned to
  rvv-report  count what it executes on RISC-V with vectors; model its cycles
  mcu         write an int8 file as plain C for microcontrollers, zeros left out      -> DIR

a first round:
  nmpack prune resnet50 --sparsity 0.75 --tile 32 -o r50.pt
  nmpack convert r50.pt -o r50.tflite
  nmpack inspect r50.tflite
  nmpack bench r50.tflite

'nmpack VERB --help' teaches a verb; --verbose before it shows the trace of an error.
'nmpack --version --verbose' says what is installed, and what it runs on.
"""


def command_line() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    parser = argparse.ArgumentParser(
        prog="nmpack", usage="nmpack [--verbose] VERB ...", add_help=False
    )
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", prog="nmpack")
    verb_modules = (
        models, search, prune, finetune, checkpoint, convert, run, inspect, bench, profile,
        report, bench_layers, tune, rvv_report, mcu,
    )  # fmt: skip
    for module in verb_modules:
        module.add(verbs)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (0, 1 for an error, 130 when interrupted)."""
    parser = command_line()
    arguments = parser.parse_args(argv)
    if arguments.version:
        print(version_text(verbose=arguments.verbose))
        return 0
    if arguments.verb is None:
        print(_MAP, end="")
        return 0
    if arguments.verbose:
        os.environ["NMPACK_VERBOSE"] = "1"
    try:
        require_distinct(arguments)
        arguments.execute(arguments)
    except NmpackError as error:
        if arguments.verbose:
            traceback.print_exc()
        print(f"nmpack {arguments.verb}: error: {error}", file=sys.stderr)
        return 1
    except MemoryError as error:
        if arguments.verbose:
            traceback.print_exc()
        print(f"nmpack {arguments.verb}: error: no memory left: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of our output went away, as head does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        # What is looked at on the way to a file, in a folder that may not be read or is too deep.
        if error.filename is None:
            raise
        if arguments.verbose:
            traceback.print_exc()
        print(
            f"nmpack {arguments.verb}: error: {error.filename}: {error.strerror}", file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        print(f"\nnmpack {arguments.verb}: interrupted", file=sys.stderr)
        return 130
    return 0
