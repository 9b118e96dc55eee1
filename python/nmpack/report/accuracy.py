# SPDX-License-Identifier: BSD-3-Clause
"""Accuracy, from the JSON that ``nmpack finetune`` or ``nmpack search`` wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmpack.checks import FormatError, load_object
from nmpack.errors import NmpackError


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Shares from 0 to 1 of images that a model gets right.

    Attributes:
        source: name of the file.
        dense: before pruning.
        pruned, tuned: after the first mask, and after fine-tuning; None where a search wrote it.
        plans: of a search the best ones: cost as a share of the dense model's, and accuracy.
    """

    source: str
    dense: float
    pruned: float | None = None
    tuned: float | None = None
    plans: tuple[tuple[float, float], ...] = ()


def read_accuracy(path: str | Path) -> Accuracy:
    """Read ``result.json`` of a fine-tuning, or what ``nmpack search --json`` wrote.

    Raises:
        NmpackError: it is neither.
    """
    path = Path(path)
    try:
        content = load_object(path)
    except OSError as error:
        raise NmpackError(f"{path}: cannot be read: {error.strerror or error}") from error
    except FormatError as error:
        raise NmpackError(f"{path}: not JSON of ours: {error}") from error
    if content.get("schema") != 1 or "dense" not in content:
        raise NmpackError(
            f"{path}: expected what 'nmpack finetune' or 'nmpack search --json' wrote, "
            f"got {content!r:.80}"
        )
    dense = _share(path, content, "dense")
    if "plans" not in content:
        return Accuracy(
            path.name, dense, _share(path, content, "pruned"), _share(path, content, "tuned")
        )
    plans = content["plans"]
    if not isinstance(plans, list) or not all(isinstance(plan, dict) for plan in plans):
        raise NmpackError(f"{path}: expected a list of plans, got {plans!r:.80}")
    front = [plan for plan in plans if plan.get("front") is True]
    return Accuracy(
        path.name,
        dense,
        plans=tuple(
            (_share(path, plan, "share"), _share(path, plan, "accuracy")) for plan in front
        ),
    )


def _share(path: Path, item: dict[str, Any], key: str) -> float:
    value: Any = item.get(key)
    if type(value) not in (int, float) or not 0.0 <= value <= 1.0:
        raise NmpackError(f"{path}: expected a share from 0 to 1 as {key!r}, got {value!r:.80}")
    return float(value)
