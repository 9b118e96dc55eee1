# SPDX-License-Identifier: BSD-3-Clause
"""Batch-norm statistics of a pruned network, estimated anew without training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nmpack.errors import NmpackError
from nmpack.modes import evaluating


def reestimate_batch_norm_(model: nn.Module, batches: Iterable[Any]) -> int:
    """Replace every running mean and variance by the mean over ``batches``, in place.

    Pruning shifts what every layer sees; new statistics alone bring back much of the accuracy that
    one-shot pruning loses. Only batch norm is in training mode meanwhile; parameters do not change.

    Args:
        model: on the device where it shall run.
        batches: inputs, or tuples that start with them; 1000 images are enough.

    Returns:
        The number of batches seen; a model without batch norm sees none.

    Raises:
        NmpackError: there was no batch.
    """
    norms: list[Any] = [item for item in model.modules() if isinstance(item, _BatchNorm)]
    norms = [norm for norm in norms if norm.track_running_stats]
    if not norms:
        return 0
    momenta = [norm.momentum for norm in norms]
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    seen = 0
    try:
        with evaluating(model), torch.no_grad():
            for norm in norms:
                norm.train()
                norm.momentum = None  # the plain mean over all batches
            for batch in batches:
                if not seen:
                    for norm in norms:
                        norm.reset_running_stats()
                model((batch[0] if isinstance(batch, tuple | list) else batch).to(device))
                seen += 1
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    if not seen:
        raise NmpackError("batch norm cannot be re-estimated without a batch: got none")
    return seen
