# SPDX-License-Identifier: BSD-3-Clause
"""The network that the riscv64 container runs: made, run and compared with on this machine.

network.py make FOLDER             writes model.tflite, image.npy and host.npz, the outputs of the
                                   stock interpreter of this machine
network.py compare FOLDER FILE     compares FILE there with them, and says what ran by the report
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from nmpack.errors import NmpackError

SIZE = 224
TOLERANCE = 1e-4


def make(folder: Path) -> None:
    """Prune ResNet-18 with random weights to 25 % in tiles of 32, convert it, and run it."""
    import torch

    import nmpack.torch
    from nmpack.convert import torch_to_tflite
    from nmpack.models import build
    from nmpack.runtime.interpreter import Engine
    from nmpack.runtime.runner import run, save_outputs
    from nmpack.sparsity.pattern import NMPattern

    torch.manual_seed(1)
    model = build("resnet18")
    nmpack.torch.prune_(model, NMPattern.from_density(0.25, tile=32))
    path = torch_to_tflite(model, folder / "model.tflite", (SIZE, SIZE, 3))
    image = np.random.default_rng(1).normal(size=(1, SIZE, SIZE, 3)).astype(np.float32)
    np.save(folder / "image.npy", image)
    result = run(path, image, engine=Engine("stock"))
    save_outputs(str(folder / "host.npz"), result.outputs)


def compare(folder: Path, name: str) -> None:
    """Print how far apart the outputs are, and which operators ran; too far is a MismatchError."""
    from nmpack.runtime.runner import load_inputs, require_close

    expected, got = (load_inputs(folder / file) for file in ("host.npz", name))
    assert isinstance(expected, dict)
    assert isinstance(got, dict)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    layers = [row for partition in report["partitions"] for row in partition["layers"]]
    sparse = sum(row["operator"] == "nm" for row in layers)
    gap = require_close(expected, got, TOLERANCE, name)
    print(f"  {report['riscv_vector']}")
    parts = len(report["partitions"])
    print(f"  {sparse} of {len(layers)} layers on N:M operators, {parts} partition(s)")
    top = "same" if gap.top1 == 1.0 else "another"
    print(
        f"  agrees with this machine: {gap.relative:.3g} of the largest output apart, {top} top-1"
    )


def main() -> int:
    """Make or compare."""
    match sys.argv[1:]:
        case ["make", folder]:
            make(Path(folder))
        case ["compare", folder, name]:
            try:
                compare(Path(folder), name)
            except (NmpackError, OSError, ValueError) as error:
                print(f"network.py: {error}", file=sys.stderr)
                return 1
        case _:
            print("network.py: expected make FOLDER or compare FOLDER FILE", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
