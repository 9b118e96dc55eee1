# SPDX-License-Identifier: BSD-3-Clause
"""What a training is at a step: written whole, and read back only into the same training."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nmpack.errors import MismatchError
from nmpack.files import written_whole


def key_of(model: nn.Module, facts: dict[str, Any]) -> str:
    """Return a digest of the weights that a training starts from and of all that decides it."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        # Flat first: channels last, a 1x1 filter counts as contiguous and cannot be seen as bytes.
        digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
                      if value.ndim else str(value.item()).encode())  # fmt: skip
    return digest.hexdigest()


def save(path: Path, key: str, content: dict[str, Any]) -> None:
    """Write ``content`` for the training ``key``, whole or not at all."""
    with written_whole(path) as temporary:
        torch.save({"schema": 1, "key": key, **content}, temporary)


def load(path: Path, key: str) -> dict[str, Any] | None:
    """Return what :func:`save` wrote, on the CPU; None when there is nothing yet.

    Raises:
        MismatchError: the file is of another training, or damaged.
    """
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        found = content["key"]
    except Exception as error:
        raise MismatchError(f"{path}: not a checkpoint of a training: {error!r:.200}") from error
    if found != key:
        raise MismatchError(
            f"{path}: belongs to a training with another recipe, data or start; "
            "resume with those, or give another folder"
        )
    return content


class Average:
    """Moving average of everything in a state dict that is a float; the rest is the latest."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Start at the weights of ``model``."""
        self.decay = decay
        self.values = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def update(self, model: nn.Module) -> None:
        """Move towards the weights of ``model``."""
        with torch.no_grad():
            for name, value in model.state_dict().items():
                mean = self.values[name]
                if value.is_floating_point():
                    mean.lerp_(value, 1.0 - self.decay)
                else:
                    mean.copy_(value)
