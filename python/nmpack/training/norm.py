# SPDX-License-Identifier: BSD-3-Clause
"""Batch norm over all processes, on CPU as well (torch's own is for GPUs)."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.nn.functional import all_reduce


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose batch is the union of all processes' batches, which are of equal size."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise ``[B, C, H, W]``; in training with the statistics of every process."""
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(x)
        count = x.numel() // x.shape[1] * dist.get_world_size()
        mean = _sum(x.sum((0, 2, 3))) / count
        centred = x - mean[:, None, None]
        variance = _sum(centred.square().sum((0, 2, 3))) / count
        if self.track_running_stats:
            with torch.no_grad():
                self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
                rate = self.momentum or 1.0 / float(self.num_batches_tracked)  # type: ignore[arg-type]
                self.running_mean.lerp_(mean, rate)  # type: ignore[union-attr]
                unbiased = variance * (count / max(count - 1, 1))
                self.running_var.lerp_(unbiased, rate)  # type: ignore[union-attr]
        result = centred * torch.rsqrt(variance + self.eps)[:, None, None]
        if self.affine:
            result = result * self.weight[:, None, None] + self.bias[:, None, None]
        return result


def synchronise_(model: nn.Module) -> int:
    """Turn each ``BatchNorm2d`` of ``model`` into a synchronised one; returns how many."""
    found = [module for module in model.modules() if type(module) is nn.BatchNorm2d]
    for module in found:
        module.__class__ = SyncedBatchNorm2d
    return len(found)


def desynchronise_(model: nn.Module) -> None:
    """Undo :func:`synchronise_`."""
    ordinary: Any = nn.BatchNorm2d
    for module in model.modules():
        if isinstance(module, SyncedBatchNorm2d):
            module.__class__ = ordinary


def _sum(value: torch.Tensor) -> torch.Tensor:
    # Its backward sums the gradients of all processes.
    reduce: Any = all_reduce
    result: torch.Tensor = reduce(value)
    return result
