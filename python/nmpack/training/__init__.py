# SPDX-License-Identifier: BSD-3-Clause
"""Fine-tune pruned networks: a recipe, a folder that it resumes from, one process or many.

>>> from nmpack.training import Recipe, fine_tune, fashion
>>> recipe = Recipe(pattern="25%", tile=32, epochs=4)
>>> result = fine_tune(model, fashion("train"), fashion("test"), recipe, "run")  # doctest: +SKIP

Runs on Hugging Face Accelerate: CPU, a GPU where there is one, ``torchrun`` for several processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nmpack.training.recipe import Recipe

if TYPE_CHECKING:
    from nmpack.training.data import ImageFolder, TensorImages, fashion, open_data
    from nmpack.training.loop import Outcome, accuracy, fine_tune

__all__ = [
    "ImageFolder",
    "Outcome",
    "Recipe",
    "TensorImages",
    "accuracy",
    "fashion",
    "fine_tune",
    "open_data",
]


def __getattr__(name: str) -> Any:
    """Import torch when something that needs it is asked for."""
    if name in __all__:
        from nmpack.training import data, loop

        return getattr(loop if name in ("Outcome", "accuracy", "fine_tune") else data, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
