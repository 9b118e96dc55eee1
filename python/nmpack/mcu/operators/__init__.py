# SPDX-License-Identifier: BSD-3-Clause
"""What each operator of TFLite becomes.

A module of this package exports ``LOWERINGS``: for each operator that it knows, a function from the
operator and its :class:`~nmpack.mcu.operators.context.Context` to steps. One that becomes no step
names its output another tensor's memory with ``context.alias``. It may export ``FOLDINGS`` too: a
function that returns the values of the outputs where they are known while C is written (constant
inputs, or shapes alone), else None.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt

from nmpack.mcu.graph import Node
from nmpack.mcu.operators.context import Context
from nmpack.mcu.step import Step

Lowering = Callable[[Node, Context], list[Step]]
Folding = Callable[[Node, Context], Sequence[npt.NDArray[Any]] | None]


def _merged(attribute: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{item.name}")
        own: dict[str, Any] = getattr(module, attribute, {})
        for name in own:
            assert name not in found, f"{name} is in two modules"
        found.update(own)
    return found


LOWERINGS: dict[str, Lowering] = _merged("LOWERINGS")
FOLDINGS: dict[str, Folding] = _merged("FOLDINGS")

__all__ = ["FOLDINGS", "LOWERINGS", "Context", "Folding", "Lowering"]
