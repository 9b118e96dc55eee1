# SPDX-License-Identifier: BSD-3-Clause
"""Details of tensors, as interpreters return them, in values of JSON."""

from __future__ import annotations

from typing import Any

import numpy as np


def plain(details: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: _plain(value) for key, value in item.items()} for item in details]


def _plain(item: Any) -> Any:
    if isinstance(item, dict):
        return {key: _plain(inner) for key, inner in item.items()}
    if isinstance(item, type):
        return np.dtype(item).name
    if isinstance(item, tuple):
        return [_plain(inner) for inner in item]
    return item.tolist() if isinstance(item, np.ndarray) else item
