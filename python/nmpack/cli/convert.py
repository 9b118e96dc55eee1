# SPDX-License-Identifier: BSD-3-Clause
"""``nmpack convert``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from nmpack import convert as conversion
from nmpack.cli.common import Subparsers, add_source, add_verb, open_source, positive
from nmpack.cli.progress import console, progress
from nmpack.errors import NmpackError
from nmpack.progress import Progress
from nmpack.quantize import IO, SAMPLES, Int8
from nmpack.quantize.samples import FASHION
from nmpack.sources import Source
from nmpack.tflite.storage import STORAGES


def add(verbs: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        verbs,
        "convert",
        "Write a portable .tflite file with channels last: PyTorch models through litert-torch,\n"
        "Keras models through TensorFlow's converter. The file is written whole or not at all.",
        """
        nmpack convert r50.pt -o r50.tflite
        nmpack convert resnet18 --checkpoint resnet18-f37072fd.pth -o r18.tflite
        nmpack convert r50.pt --storage sparse -o r50.tflite    # a third of the size at 75 %
        nmpack convert r50.pt --int8 --calibrate images.npy -o r50-int8.tflite
        nmpack convert keras:ResNet50 -o keras-r50.tflite
        nmpack convert weights.pth --arch resnet34 --input-shape 160,160,3 -o r34.tflite
        nmpack convert any-size.keras --input-shape 320,320,3 -o fixed.tflite
        """,
        execute,
    )
    add_source(parser)
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the .tflite file")
    parser.add_argument(
        "--input-shape",
        metavar="H,W,C",
        help="input size of a PyTorch model (default: the zoo's), or of a Keras model for images "
        "of any size",
    )
    parser.add_argument(
        "--batch", type=positive, default=1, metavar="N", help="fixed batch size (default 1)"
    )

    parser.add_argument(
        "--storage",
        choices=STORAGES,
        default="dense",
        help="how pruned filters are stored: dense (default), or in TFLite's sparse encoding, "
        "smaller and read by interpreters that know DENSIFY",
    )
    _add_int8(parser)


def _add_int8(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--int8",
        action="store_true",
        help="quantize: int8 weights, a scale for each output channel, and activations",
    )
    parser.add_argument(
        "--calibrate",
        metavar="DATA",
        help=f"what --int8 takes the ranges of activations from: {FASHION}, a .npy or .npz file of "
        "inputs as the model takes them, [N,H,W,C] for images, or a folder of such files",
    )
    parser.add_argument(
        "--samples",
        type=positive,
        metavar="N",
        help=f"inputs to calibrate on, the first ones (default {SAMPLES})",
    )
    parser.add_argument(
        "--io",
        choices=IO,
        help="inputs and outputs of an int8 model: float32 (default), quantized at the borders, "
        "or int8",
    )


def execute(arguments: argparse.Namespace) -> None:
    """Convert."""
    shape = _shape(arguments.input_shape) if arguments.input_shape else None
    if Path(arguments.output).suffix != ".tflite":
        raise NmpackError(f"expected an output file ending in .tflite, got {arguments.output}")
    with progress(f"converting {arguments.model}") as (shown, task):

        def tell(done: int, total: int) -> None:
            shown.update(task, description=f"calibrated {done} of {total}")

        int8 = _int8(arguments, tell)
        source = open_source(arguments)
        if source.framework == "torch":
            conversion.torch_to_tflite(
                source.model,
                arguments.output,
                shape or _zoo_shape(source.input_shape),
                batch=arguments.batch,
                storage=arguments.storage,
                int8=int8,
            )
        else:
            conversion.keras_to_tflite(
                source.model,
                arguments.output,
                batch=arguments.batch,
                storage=arguments.storage,
                samples=_keras_sample(source, shape, arguments.batch),
                int8=int8,
            )
    size = Path(arguments.output).stat().st_size / 1e6
    console().print(f"wrote {arguments.output} ({size:.1f} MB)")


def _int8(arguments: argparse.Namespace, progress: Progress) -> Int8 | None:
    """Return how to quantize, None without ``--int8``."""
    wanted = ("calibrate", "samples", "io")
    given = {name: getattr(arguments, name) for name in wanted if getattr(arguments, name)}
    if not arguments.int8:
        if given:
            raise NmpackError(f"--{next(iter(given))} belongs to --int8, which is not given")
        return None
    if "calibrate" not in given:
        raise NmpackError(
            f"--int8 needs --calibrate DATA: {FASHION}, a .npy or .npz file, or a folder of them"
        )
    return Int8(progress=progress, **given)


def _shape(text: str) -> tuple[int, int, int]:
    parts = text.replace("x", ",").split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        raise NmpackError(f"--input-shape takes H,W,C such as 224,224,3, got {text!r}")
    return int(parts[0]), int(parts[1]), int(parts[2])


def _zoo_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    height, width, channels = shape
    return height, width, channels


def _keras_sample(source: Source, shape: tuple[int, int, int] | None, batch: int) -> Any:
    """Return an image of ``shape`` for a model that takes images of any size, None without one."""
    if shape is None:
        return None
    own = source.input_shape
    fits = len(own) == 3 and all(size in (0, given) for size, given in zip(own, shape, strict=True))
    if 0 not in own or not fits:
        size = " x ".join(str(size or "any") for size in own)
        takes = f"one of {size}" if own else "other inputs than one image"
        raise NmpackError(
            f"--input-shape sizes the images of a PyTorch model, or of a Keras model for images of "
            f"any size: this Keras model takes {takes}"
        )
    return np.zeros((batch, *shape), np.float32)
