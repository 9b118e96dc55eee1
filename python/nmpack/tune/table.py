# SPDX-License-Identifier: BSD-3-Clause
"""The compact tuning table that the delegate reads: lines of words, a few KB.

It holds what was measured of the layers of a model on one machine. The last line counts those
before it, so that a table that was cut off is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from nmpack.element_types import F32, NAMES
from nmpack.errors import NmpackError
from nmpack.files import written_whole
from nmpack.tflite.names import printable
from nmpack.tune.shapes import Layer

MOST_BYTES = 1 << 20
_FIRST = "nmpack-tuning 2"
# All that it holds is of f32.
_UNTYPED = "nmpack-tuning 1"
_SIZES = 14
_WHOLE = re.compile(r"0|[1-9][0-9]{0,9}")
_REAL = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?(e[+-]?[0-9]{1,2})?")
_PATTERNS = {
    "isa": re.compile(r"[a-z0-9_.-]{1,64}"),
    "kernels": re.compile(r"[0-9a-f]{16}"),
    "cost": re.compile(r"[a-z][a-z0-9_]{0,63}"),
    "candidate": re.compile(r"[a-z0-9][a-z0-9_-]{0,30}"),
}
_LARGEST_COST = 1e9
_LONGEST_TIME = 1e15
T = TypeVar("T")


class TableError(NmpackError, ValueError):
    """A tuning table cannot be used; the message names the line and the rule."""


@dataclass(frozen=True, slots=True)
class TableLayer:
    """What was measured of one layer.

    Attributes:
        sizes: batch, input height and width, output height and width, groups, input and output
            channels of a group, kernel, stride and dilation (height, width each).
        densities: of the elements, of the columns in tiles of 8, and of 32 output channels.
        times: nanoseconds by candidate, at least one.
        dtype: name of its element type, of :mod:`nmpack.element_types`.
    """

    sizes: tuple[int, ...]
    densities: tuple[float, float, float]
    times: Mapping[str, float]
    dtype: str = F32.name


@dataclass(frozen=True, slots=True)
class TableCost:
    """A cost of an element type: its name, index where it is an array (else None), and values."""

    name: str
    index: int | None
    values: tuple[float, ...]
    dtype: str = F32.name


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        isa, vlen, kernels, cpu: of the machine and the build; ``cpu`` may be ``any``.
        threads: that the layers were timed with.
        unit_ps: picoseconds of one unit of the default costs.
        layers: in any order.
        costs: that are not the default ones.
    """

    isa: str
    vlen: int
    kernels: str
    cpu: str
    threads: int
    unit_ps: float
    layers: tuple[TableLayer, ...]
    costs: tuple[TableCost, ...] = ()


def table_sizes(layer: Layer) -> tuple[int, ...]:
    """Return a layer's sizes as a table has them."""
    return (
        layer.batch, layer.input_height, layer.input_width, layer.output_height,
        layer.output_width, layer.groups, layer.group_input_channels, layer.group_output_channels,
        layer.kernel_height, layer.kernel_width, layer.stride_height, layer.stride_width,
        layer.dilation_height, layer.dilation_width,
    )  # fmt: skip


def write_table(table: Table) -> bytes:
    """Return the text of a table.

    Raises:
        TableError: it cannot be stated: too many layers, or a name that is none.
    """
    lines = [
        _FIRST,
        f"isa {table.isa}",
        f"vlen {table.vlen}",
        f"kernels {table.kernels}",
        f"cpu {table.cpu.encode('ascii', 'replace').decode('ascii')}",
        f"threads {table.threads}",
        f"unit_ps {table.unit_ps:.6g}",
    ]
    for cost in table.costs:
        index = () if cost.index is None else (str(cost.index),)
        numbers = (f"{value:.9g}" for value in cost.values)
        lines.append(" ".join(("cost", cost.dtype, cost.name, *index, *numbers)))
    for layer in table.layers:
        words = [layer.dtype, *(str(size) for size in layer.sizes)]
        words += [f"{density:.4f}" for density in layer.densities]
        words += [f"{name}={ns:.1f}" for name, ns in layer.times.items()]
        lines.append("layer " + " ".join(words))
    content = "".join(f"{line}\n" for line in [*lines, f"end {len(lines)}"]).encode("ascii")
    read_table(content, "the table")
    return content


def save_table(path: str | Path, table: Table) -> None:
    """Write a table to a file, whole or not at all."""
    content = write_table(table)
    with written_whole(path) as temporary:
        temporary.write_bytes(content)


def load_table(path: str | Path) -> Table:
    """Read a table from a file.

    Raises:
        TableError: it cannot be read, or used.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise TableError(f"{path}: cannot be read: {error.strerror or error}") from error
    return read_table(content, str(path))


def read_table(content: bytes, name: str) -> Table:
    """Read a table; ``name`` is for messages.

    Raises:
        TableError: it is not one.
    """
    try:
        return _Reader(_lines(content)).table()
    except TableError as error:
        raise TableError(f"{name}: not a usable tuning table: {error}") from error


def _lines(content: bytes) -> list[str]:
    if len(content) > MOST_BYTES:
        raise TableError(f"expected at most {MOST_BYTES} bytes")
    if not content.isascii():
        raise TableError("expected ASCII")
    lines = content.decode("ascii").split("\n")
    if lines[0] not in (_FIRST, _UNTYPED):
        raise TableError(f"expected the first line '{_FIRST}', got '{printable(lines[0][:40])}'")
    if lines[-1] or len(lines) < 3 or lines[-2] != f"end {len(lines) - 2}":
        raise TableError(f"expected the last line 'end {max(len(lines) - 2, 1)}'; is it cut off?")
    return lines[:-2]


class _Reader:
    """Takes the lines apart, in their order."""

    def __init__(self, lines: list[str]) -> None:
        self._lines, self._at = lines, 1
        # What stands in front of a row of an older table, in effect.
        self._type = f"{F32.name} " if lines[0] == _UNTYPED else ""

    def table(self) -> Table:
        """Read all of it."""
        isa = self._one("isa", lambda text: _match("isa", text))
        vlen = self._one("vlen", lambda text: _whole(text, 0, 65536))
        kernels = self._one("kernels", lambda text: _match("kernels", text))
        cpu = self._one("cpu", _rest)
        threads = self._one("threads", lambda text: _whole(text, 1, 65536))
        unit_ps = self._one("unit_ps", lambda text: _positive(text, _LARGEST_COST))
        costs = tuple(self._all("cost", lambda text: _cost(self._type + text)))
        layers = tuple(self._all("layer", lambda text: _layer(self._type + text)))
        if self._at < len(self._lines):
            raise self._error("expected a cost, a layer or the end")
        if len({(item.dtype, item.sizes, item.densities) for item in layers}) < len(layers):
            raise TableError("two of its layers are the same")
        return Table(isa, vlen, kernels, cpu, threads, unit_ps, layers, costs)

    def _one(self, word: str, read: Callable[[str], T]) -> T:
        found = next(self._all(word, read, 1), None)
        if found is None:
            raise self._error(f"expected '{word}' and its value")
        return found

    def _all(self, word: str, read: Callable[[str], T], most: int = MOST_BYTES) -> Iterator[T]:
        while most > 0 and self._at < len(self._lines):
            key, space, rest = self._lines[self._at].partition(" ")
            if key != word or not space:
                return
            try:
                found = read(rest)
            except TableError as error:
                raise self._error(str(error)) from error
            self._at, most = self._at + 1, most - 1
            yield found

    def _error(self, what: str) -> TableError:
        got = self._lines[self._at] if self._at < len(self._lines) else "the end"
        return TableError(f"line {self._at + 1}: {what}, got '{printable(got[:60])}'")


def _match(kind: str, text: str) -> str:
    if not _PATTERNS[kind].fullmatch(text):
        raise TableError(f"expected a name ({kind})")
    return text


def _rest(text: str) -> str:
    if not 0 < len(text) <= 200 or not text.isprintable() or text != text.strip():
        raise TableError("expected a short text")
    return text


def _whole(text: str, least: int, most: int) -> int:
    if not _WHOLE.fullmatch(text) or not least <= int(text) <= most:
        raise TableError(f"expected a whole number from {least} to {most}")
    return int(text)


def _real(text: str, most: float) -> float:
    if not _REAL.fullmatch(text) or not float(text) <= most:
        raise TableError(f"expected a number from 0 to {most:g}")
    return float(text)


def _positive(text: str, most: float) -> float:
    if not (value := _real(text, most)) > 0.0:
        raise TableError("expected a number above 0")
    return value


def _type(text: str) -> str:
    if text not in NAMES:
        raise TableError(f"expected an element type, one of {', '.join(NAMES)}")
    return text


def _cost(text: str) -> TableCost:
    dtype, _, rest = text.partition(" ")
    name, *words = rest.split(" ")
    _type(dtype)
    _match("cost", name)
    if not words:
        raise TableError("expected a value")
    index = _whole(words.pop(0), 0, 1023) if len(words) > 1 else None
    return TableCost(name, index, tuple(_real(word, _LARGEST_COST) for word in words), dtype)


def _layer(text: str) -> TableLayer:
    dtype, *words = text.split(" ")
    if len(words) < _SIZES + 4:
        raise TableError(f"expected a type, {_SIZES} sizes, 3 densities and times of candidates")
    _type(dtype)
    sizes = tuple(_whole(word, 1, 2**31 - 1) for word in words[:_SIZES])
    by_1, by_8, by_32 = (_real(word, 1.0) for word in words[_SIZES : _SIZES + 3])
    times: dict[str, float] = {}
    for word in words[_SIZES + 3 :]:
        name, equals, value = word.partition("=")
        if not equals or _match("candidate", name) in times:
            raise TableError("expected NAME=NANOSECONDS, each name once")
        times[name] = _positive(value, _LONGEST_TIME)
    return TableLayer(sizes, (by_1, by_8, by_32), times, dtype)
