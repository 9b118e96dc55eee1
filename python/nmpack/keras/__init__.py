# SPDX-License-Identifier: BSD-3-Clause
"""Column-wise N:M pruning of Keras 3 models: a constraint on the kernel holds the mask.

>>> import keras, nmpack.keras
>>> from nmpack import NMPattern
>>> model = keras.applications.ResNet50(weights=None)
>>> report = nmpack.keras.prune_(model, NMPattern.from_sparsity(0.75, tile=32))
>>> # ... model.fit as usual: every optimizer step ends by applying the mask ...
>>> model = nmpack.keras.finalize_(model)

:class:`Pruner` is the callback that moves masks along a schedule. The backends are tensorflow and
torch. The constraint lives on the variable, not in the layer's config: a saved model stays an
ordinary one. To go on fine-tuning after loading it, call :func:`prune_` again with the same
pattern, which finds the same mask, or :meth:`Pruner.load`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nmpack.keras.evidence import collect, reestimate_batch_norm_
from nmpack.keras.fake_quantization import fake_quantize_, remove_fake_quantization_
from nmpack.keras.holding import HoldMask, finalize_
from nmpack.keras.layers import weights
from nmpack.keras.permutation import permute_
from nmpack.keras.pruning import inspect, prune_

if TYPE_CHECKING:
    from nmpack.keras.pruner import Pruner

__all__ = [
    "HoldMask",
    "Pruner",
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


def __getattr__(name: str) -> Any:
    """Import the callback, whose base class is Keras's, when it is asked for."""
    if name == "Pruner":
        from nmpack.keras.pruner import Pruner

        return Pruner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the callback too."""
    return sorted({*globals(), *__all__})
