# SPDX-License-Identifier: BSD-3-Clause
"""Arguments and helpers that several subcommands share."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from nmpack.cli.progress import console
from nmpack.errors import ModelError, NmpackError, PatternError
from nmpack.plans import load_plan
from nmpack.runtime.child import Signature
from nmpack.runtime.interpreter import DEFAULT_INTERPRETER, INTERPRETERS
from nmpack.runtime.sizes import Shapes, assumed_sizes, stored
from nmpack.sources import Source, load_source
from nmpack.sparsity.selection import Patterns
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.names import printable

Subparsers = Any


def add_verb(
    verbs: Subparsers,
    name: str,
    about: str,
    examples: str,
    execute: Callable[[argparse.Namespace], None],
) -> argparse.ArgumentParser:
    """Add a subcommand whose help ends in examples."""
    lines = textwrap.indent(textwrap.dedent(examples).strip(), "  ")
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        description=about,
        epilog=f"examples:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(execute=execute)
    return parser


def add_source(parser: argparse.ArgumentParser, *, keras: bool = True) -> None:
    """Add the arguments of :func:`open_source`; ``keras``: whether the verb takes such models."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a zoo name (see 'nmpack models'), keras:NAME of keras.applications, a .pt/.pth "
        "checkpoint, or a .keras/.h5 file"
        if keras
        else "a zoo name (see 'nmpack models') or a .pt/.pth checkpoint",
    )
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="weights for a zoo name, torchvision's fit"
    )
    parser.add_argument("--arch", metavar="NAME", help="zoo name that a bare checkpoint belongs to")
    parser.add_argument("--classes", type=positive, metavar="N", help="outputs of a fresh model")
    parser.add_argument("--seed", type=int, default=0, help="seed of random weights (default 0)")


def open_source(arguments: argparse.Namespace) -> Source:
    """Open the model that the arguments of :func:`add_source` name."""
    return load_source(
        arguments.model,
        arch=arguments.arch,
        checkpoint=arguments.checkpoint,
        num_classes=arguments.classes,
        seed=arguments.seed,
    )


def add_plan(patterns: Any) -> None:
    """Add the argument of :func:`read_plan` to the group of those that say what to keep."""
    patterns.add_argument(
        "--plan", metavar="FILE", help="a pattern for each layer, as nmpack tune --density writes"
    )


def read_plan(arguments: argparse.Namespace) -> Patterns:
    """Return the patterns of ``--plan``, by globs that match one layer each.

    Raises:
        PatternError: ``--tile`` or ``--block`` is given beside it.
        ModelError: the file cannot be read, or is no plan.
    """
    if any(getattr(arguments, name, None) is not None for name in ("tile", "block")):
        raise PatternError("a plan has a tile and a block for each layer: leave the options out")
    return load_plan(arguments.plan).mapping


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say how a model is executed."""
    parser.add_argument(
        "--interpreter",
        choices=INTERPRETERS,
        default=DEFAULT_INTERPRETER,
        help=f"whose interpreter runs the model (default: the first that is installed of "
        f"{', '.join(INTERPRETERS)})",
    )
    parser.add_argument(
        "--threads", type=positive, default=1, metavar="N", help="threads, 1 to 256 (default 1)"
    )
    parser.add_argument(
        "--delegate", metavar="FILE", help="the delegate to load instead of the one built here"
    )
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="delegate option, such as nm=off, nm=force or verbose=1; repeatable",
    )


def add_shape(parser: argparse.ArgumentParser) -> None:
    """Add the argument of :func:`shapes`."""
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        type=_shape,
        metavar="[NAME=]SIZES",
        help="shape of an input whose sizes the file leaves open, as 1x224x224x3, or "
        "image=1x224x224x3 where there are several; repeatable",
    )


def _shape(text: str) -> tuple[str | None, tuple[int, ...]]:
    """Read ``1x224x224x3``, or the same with a name: ``image=1x224x224x3``."""
    name, equals, sizes = text.rpartition("=")
    words = sizes.split("x")
    if not all(re.fullmatch(r"-?[0-9]{1,19}", word) for word in words):
        raise argparse.ArgumentTypeError(f"expected a shape as 1x224x224x3, got {sizes!r:.80}")
    return name if equals else None, tuple(map(int, words))


def shapes(given: Sequence[tuple[str | None, tuple[int, ...]]]) -> Shapes | None:
    """Return what ``--shape`` says: None, a shape alone, or shapes by name.

    Raises:
        NmpackError: an input has two, or one of several has no name.
    """
    if not given:
        return None
    found: dict[str, tuple[int, ...]] = {}
    for name, sizes in given:
        if name is None and len(given) == 1:
            return sizes
        if name is None:
            raise NmpackError(
                f"--shape: expected NAME=SIZES where there are several, got "
                f"{'x'.join(map(str, sizes))} alone"
            )
        if name in found:
            raise NmpackError(f"--shape of {name} is given twice")
        found[name] = sizes
    return found


def tell_sizes(*models: Sequence[Signature]) -> None:
    """Print what open sizes were taken as where ``--shape`` said nothing of them.

    Args:
        models: the inputs of each; what holds of several is said once.
    """
    _tell(models, "; --shape takes another")


def tell_stored_sizes(*models: str) -> None:
    """Print the same of ``.tflite`` files that are run as they are stored."""
    found = []
    for model in models:
        with suppress(ModelError):
            found.append(stored(TFLiteFile(model).primary))
    _tell(found, "")


def _tell(models: Iterable[Sequence[Signature]], more: str) -> None:
    sentences = (sentence for inputs in models for sentence in assumed_sizes(inputs))
    for sentence in dict.fromkeys(sentences):
        console().print(printable(sentence + more))


def require_target(arguments: argparse.Namespace, **targets: str) -> None:
    """Check that options are given for their targets alone.

    Args:
        arguments: their defaults are None or False.
        targets: by the options' names, the ``--target`` that each is for.

    Raises:
        NmpackError: one is given for another.
    """
    for option, target in targets.items():
        given = getattr(arguments, option)
        if given is not None and given is not False and arguments.target != target:
            raise NmpackError(
                f"--{option} is for --target {target}, got --target {arguments.target:.80}"
            )


def options(pairs: Sequence[str]) -> dict[str, str]:
    """Split ``KEY=VALUE`` pairs.

    Raises:
        NmpackError: one has no ``=`` or no key, or a key is repeated.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise NmpackError(f"--option takes KEY=VALUE, got {pair!r}")
        if key in found:
            raise NmpackError(f"--option {key} is given twice")
        found[key] = value
    return found


def whole(text: str) -> int:
    """Read a whole number of at least 0."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {text!r}")
    return int(text)


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    value = int(text) if text.isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return value
