# SPDX-License-Identifier: BSD-3-Clause
"""TOML files as a person wrote them: what is wrong with one is one sentence."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from .console import ToolError


def read_toml(path: Path, name: object, purpose: str) -> dict[str, Any]:
    """Its tables; raises ToolError, which calls the file ``name`` and says what it is for."""
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        fits = _fits(data)
    except FileNotFoundError:
        raise ToolError(f"{name} is missing: {purpose}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ToolError(f"{name} is not valid TOML: {error}") from None
    except RecursionError:
        raise ToolError(
            f"{name}: expected a few levels of tables and lists, got too many"
        ) from None
    except ValueError:  # Python reads some thousand digits of a decimal number, and no more
        fits = False
    if not fits:
        raise ToolError(f"{name}: expected whole numbers of 64 bits, got a longer one")
    return data


def _fits(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_fits, value.values()))
    if isinstance(value, list):
        return all(map(_fits, value))
    return not isinstance(value, int) or -(2**63) <= value < 2**63
