# SPDX-License-Identifier: BSD-3-Clause
"""The zoo's networks, pruned, give in every layout what the interpreter's own kernels give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import parity
import pytest
import torch

import nmpack.torch
from nmpack.convert import torch_to_tflite
from nmpack.models import build
from nmpack.sparsity.pattern import NMPattern

pytestmark = [pytest.mark.delegate, pytest.mark.torch]

SIZE = 64
#: Outputs of the classifier, which is a layer, too; no convolution of a ResNet has as many.
CLASSES = 10
#: Residual blocks of each ResNet, and its convolutions.
RESNETS = {
    "resnet18": (8, 20),
    "resnet34": (16, 36),
    "resnet50": (16, 53),
    "resnet101": (33, 104),
    "resnet152": (50, 155),
}
QUICK = ("resnet18", "mobilenet_v2")
SLOW = (*RESNETS, "densenet121", "mobilenet_v2")


def _convert(name: str, tile: int, batch: int, folder: Path) -> bytes:
    """Return a network with random weights, 75 % of them zero."""
    torch.manual_seed(parity.SEED)
    model = build(name, num_classes=CLASSES).eval()
    if name == "vgg16":
        # Pruning takes about two thirds of the energy of random filters, and no shortcut renews it.
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, torch.nn.Conv2d):
                    module.weight.mul_(1.8)
    nmpack.torch.prune_(model, NMPattern.from_sparsity(0.75, tile=tile))
    path = torch_to_tflite(model, folder / "model.tflite", (SIZE, SIZE, 3), batch=batch)
    return path.read_bytes()


def _check_resnet(name: str, layout: str, partitions: list[dict[str, Any]]) -> None:
    """One partition; in CNHW all convolutions with all additions: only the ends are converted."""
    (partition,) = partitions
    convolutions = [
        layer for layer in partition["layers"] if layer["group_output_channels"] != CLASSES
    ]
    assert partition["layout_conversions"] <= (0 if layout == "nhwc" else 2)
    blocks, count = RESNETS[name]
    assert len(convolutions) == count
    if layout == "cnhw":
        assert [c["layout"] for c in convolutions] == ["CNHW"] * count
        assert sum(c["fused_addition"] for c in convolutions) == blocks


# The first batch size is the model's own, for which layouts are chosen; then it is resized.
@pytest.mark.parametrize(
    ("name", "tile", "batches"),
    [
        *((name, 8, (1, 2)) for name in QUICK),
        *(
            pytest.param(name, tile, batches, marks=pytest.mark.slow)
            for name in SLOW
            for tile, batches in ((8, (1, 2, 4)), (32, (4, 1, 2)))
        ),
        # Its classifier takes one batch size only.
        *(
            pytest.param("vgg16", tile, batches, marks=pytest.mark.slow)
            for tile, batches in ((8, (1, 1)), (8, (2, 2)), (32, (4, 4)))
        ),
    ],
)
def test_outputs_are_the_same_in_every_layout(
    name: str, tile: int, batches: tuple[int, ...], tmp_path: Path
) -> None:
    model = _convert(name, tile, batches[0], tmp_path)
    rng = np.random.default_rng([parity.SEED, tile])
    images = [rng.standard_normal((batch, SIZE, SIZE, 3), np.float32) for batch in batches]
    reference = parity.Session(model, plain=True)
    expected = []
    for image in images:
        reference.resize(image.shape)
        expected.append(reference.run([image]))
    largest = max(float(np.abs(outputs[0]).max()) for outputs in expected)
    # Another image, another output: else the comparison would say little.
    first, second = (outputs[0][0] for outputs in expected[:2])
    assert np.abs(first - second).max() > 0.01 * largest, f"{first}, then {second}"
    for layout in parity.LAYOUTS:
        for threads in (1, 2):
            session = parity.Session(
                model, nm="auto", layout=layout, threads=threads, report=tmp_path / "report.json"
            )
            partitions = session.partitions()
            if name in RESNETS:
                _check_resnet(name, layout, partitions)
            layouts = {c["layout"] for part in partitions for c in part["layers"]}
            assert layout == "auto" or layout.upper() in layouts
            assert layout != "nhwc" or layouts == {"NHWC"}
            for image, outputs in zip(images, expected, strict=True):
                session.resize(image.shape)
                # Sums in another order: what rounding adds grows with the depth of the network.
                worse = parity.difference(session.run([image]), outputs, 1e-5 * largest)
                assert not worse, f"{worse}: {layout}, {threads} threads, {image.shape}"
