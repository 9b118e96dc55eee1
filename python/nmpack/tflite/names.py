# SPDX-License-Identifier: BSD-3-Clause
"""Readable layer names from the tensor names that converters make up."""

from __future__ import annotations

import re
from collections.abc import Sequence

# The kind ends at its first underscore: a regular expression with a choice there takes hours for a
# hostile name.
_MODULE = re.compile(r"(?:[A-Za-z_]\w*\.)+[A-Za-z][^\W_]*_(?P<name>\w+)\Z")
_KERAS_OPS = ("convolution", "Conv2D", "depthwise", "BiasAdd", "Relu", "Relu6")


def short_names(names: Sequence[str]) -> list[str]:
    """Return one readable, distinct name for each tensor name, at most 60 characters.

    litert-torch joins fused layers with ``;`` and spells every module's class; TensorFlow's
    converter joins with ``;`` as well. The convolution's own path is picked out of that.
    """
    found: list[str] = []
    seen: set[str] = set()
    counts: dict[str, int] = {}
    shorts = [printable(_short(name)[-60:]) or "unnamed" for name in names]
    if len(shorts) > 1 and all(short.endswith("_1") for short in shorts):
        # The converter's own scope number, on every layer alike.
        shorts = [short.removesuffix("_1") for short in shorts]
    for short in shorts:
        unique, count = short, counts.get(short, 1)
        while unique in seen:
            count += 1
            unique = f"{short}#{count}"
        counts[short] = count
        seen.add(unique)
        found.append(unique)
    return found


def printable(text: str) -> str:
    """Replace what would move a terminal's cursor or change its colours: names are a file's."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _short(name: str) -> str:
    parts = [part for part in re.split(r";+", name) if "/" in part or "." in part]
    if not parts:
        return name
    convolutions = [part for part in parts if "conv" in part.rsplit("/", 1)[-1].lower()]
    path = (convolutions or parts)[-1].split("/")
    if any(_MODULE.match(step) for step in path):
        steps = [match["name"] for step in path if (match := _MODULE.match(step))]
        # The first steps are the converter's wrapper and the model itself.
        kept = [step for step in steps if not step.endswith("wrapped")]
        return ".".join(kept) or path[-1]
    while len(path) > 1 and path[-1].rstrip("_0123456789") in _KERAS_OPS:
        path.pop()
    return path[-1]
