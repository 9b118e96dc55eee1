# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures: small models as .tflite files, and the built delegate."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from nmpack.errors import MissingError
from nmpack.runtime.interpreter import find_delegate
from nmpack.sparsity.pattern import NMPattern

# Threads that wait actively starve each other where the cores are shared, as on CI.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Nor is the time of an example a property of the code.
settings.register_profile("nmpack", deadline=None, print_blob=True)
settings.load_profile("nmpack")


@pytest.fixture(scope="session")
def delegate() -> Path:
    """The host build of the delegate; its absence is a failure, not a skip."""
    try:
        return find_delegate()
    except MissingError as error:
        pytest.fail(f"this test needs the built delegate: {error}", pytrace=False)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function from ``dense``, ``pruned`` (75 %, tile 32) or ``nm`` (2:4, tile 8) to a
    converted small ResNet with random weights and batch-norm statistics, made once a session."""
    folder = tmp_path_factory.mktemp("models")

    def get(kind: str) -> Path:
        import torch

        import nmpack.torch
        from nmpack.convert import torch_to_tflite
        from nmpack.models import fashion_resnet

        path = folder / f"{kind}.tflite"
        if path.exists():
            return path
        torch.manual_seed(1)
        model = fashion_resnet()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
                torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
        if kind == "pruned":
            nmpack.torch.prune_(model, NMPattern.from_sparsity(0.75, tile=32))
        elif kind == "nm":
            nmpack.torch.prune_(model, NMPattern(2, 4, tile=8))
        else:
            assert kind == "dense"
        return torch_to_tflite(model, path, (28, 28, 1))

    return get


@pytest.fixture(scope="session")
def nmpack_command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs the ``nmpack`` command line in a process of its own."""

    def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "nmpack", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
            cwd=Path(__file__).resolve().parents[2] / "python",
        )

    return call
