# SPDX-License-Identifier: BSD-3-Clause
"""Column-wise N:M pruning of PyTorch models, as ordinary parametrizations.

>>> import torch, nmpack.torch
>>> from nmpack import NMPattern
>>> from nmpack.models import resnet18
>>> model = resnet18()
>>> report = nmpack.torch.prune_(model, NMPattern.from_sparsity(0.75, tile=32))
>>> # ... fine-tune as usual: the mask is held ...
>>> model = nmpack.torch.finalize_(model)

:func:`permute_` orders channels before pruning, :class:`Pruner` moves masks along a schedule,
:func:`adopt_` takes over those of torch's own tools, :func:`collect` looks at data for the scores
that need it, :func:`reestimate_batch_norm_` mends what one-shot pruning shifts, and
:func:`fake_quantize_` trains with the rounding of int8 in sight.
"""

from __future__ import annotations

from nmpack.torch.batchnorm import reestimate_batch_norm_
from nmpack.torch.evidence import collect
from nmpack.torch.fake_quantization import fake_quantize_, remove_fake_quantization_
from nmpack.torch.holding import HoldMask, adopt_, finalize_
from nmpack.torch.layers import weights
from nmpack.torch.permutation import permute_
from nmpack.torch.pruner import Pruner
from nmpack.torch.pruning import inspect, prune_

__all__ = [
    "HoldMask",
    "Pruner",
    "adopt_",
    "collect",
    "fake_quantize_",
    "finalize_",
    "inspect",
    "permute_",
    "prune_",
    "reestimate_batch_norm_",
    "remove_fake_quantization_",
    "weights",
]
