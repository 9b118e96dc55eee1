# SPDX-License-Identifier: BSD-3-Clause
"""What nmpack-measure says: a command is a line, its answer one JSON object on one line.

Answers are untrusted: the program may run on another machine. Whatever it writes ends in a value
of this module or in one error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nmpack.checks import FormatError, items, number, require_keys, text, whole
from nmpack.errors import NmpackError
from nmpack.tune.shapes import Layer, Setting

PROTOCOL = 2
LAYOUTS = ("nhwc", "cnhw")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_HASH = re.compile(r"[0-9a-f]{16}")
_MOST_CANDIDATES = 256


class AnswerError(NmpackError):
    """The program answers in another way than was agreed: it cannot be worked with."""


class RefusedError(NmpackError):
    """The program refused one command, and goes on."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the program runs, and what it was built from.

    Attributes:
        protocol, architecture, cpu: as it says; the architecture is ``uname -m``'s.
        isa: of the float32 kernels that run, then what others are chosen by: ``avx512f.skx.vnni``.
        vlen: bits of a vector, 0 where its length is fixed.
        caches: bytes of the first, second, … cache of a core.
        cores: that it may use.
        kernels: hash of the kernels' sources.
        compiler: name and version.
        types: element types that it knows.
    """

    protocol: int
    architecture: str
    cpu: str
    isa: str
    vlen: int
    caches: tuple[int, ...]
    cores: int
    kernels: str
    compiler: str
    types: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self) | {"caches": list(self.caches), "types": list(self.types)}

    @property
    def float_isa(self) -> str:
        """The instruction set of the float32 kernels, as ``kernels.toml`` names its costs."""
        return self.isa.partition(".")[0]

    @property
    def hardware(self) -> tuple[object, ...]:
        """What makes times comparable, whatever was built."""
        return self.architecture, self.cpu, self.isa, self.vlen, self.caches

    @property
    def build(self) -> tuple[object, ...]:
        """What makes times comparable on one machine."""
        return self.protocol, self.kernels, self.compiler


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way to run a layer; ``predicted`` is its time by the default costs, in their unit."""

    name: str
    layout: str
    predicted: float


@dataclass(frozen=True, slots=True)
class Definition:
    """A layer as the program made it.

    Attributes:
        macs, kept_macs: multiply-adds, of the unpruned layer and those left.
        densities: of the elements, of the columns in tiles of 8, and of 32 output channels.
        candidates: ways to run it, at least one.
    """

    macs: int
    kept_macs: int
    densities: tuple[float, float, float]
    candidates: tuple[Candidate, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as an answer has them."""
        return asdict(self) | {
            "densities": list(self.densities),
            "candidates": [asdict(item) for item in self.candidates],
        }


def layer_command(name: str, layer: Layer, setting: Setting) -> str:
    """Return the command that defines a layer."""
    values = layer.to_dict() | {"seed": setting.seed, "threads": setting.threads}
    return f"layer {name} " + " ".join(f"{key}={value}" for key, value in values.items())


def run_command(name: str, candidate: str, count: int, evict: int = 0) -> str:
    """Return the command that runs a candidate."""
    return f"run {name} {candidate} {count}" + (f" evict={evict}" if evict else "")


def read_machine(answer: Mapping[str, Any]) -> Machine:
    """Check the answer to ``machine``.

    Raises:
        FormatError: it is not one.
    """
    require_keys(answer, Machine.__dataclass_fields__)
    protocol = whole(answer, "protocol")
    kernels = text(answer, "kernels")
    if not _HASH.fullmatch(kernels):
        raise FormatError(f"'kernels' is to be 16 hex digits, got {kernels!r}")
    caches = items(answer, "caches", 8)
    return Machine(
        protocol,
        _word(answer, "architecture"),
        text(answer, "cpu").strip() or "unknown",
        _word(answer, "isa"),
        whole(answer, "vlen", 0, 65536),
        tuple(whole({"caches": size}, "caches") for size in caches),
        whole(answer, "cores", 1, 65536),
        kernels,
        text(answer, "compiler"),
        tuple(_word({"types": item}, "types") for item in items(answer, "types", 16)),
    )


def read_definition(answer: Mapping[str, Any]) -> Definition:
    """Check the answer to ``layer``, without its name.

    Raises:
        FormatError: it is not one.
    """
    require_keys(answer, Definition.__dataclass_fields__)
    densities = tuple(number(x, "a density") for x in items(answer, "densities", 3))
    if len(densities) != 3 or max(densities) > 1.0:
        raise FormatError(f"expected three densities up to 1, got {densities}")
    found = tuple(_candidate(item) for item in items(answer, "candidates", _MOST_CANDIDATES))
    if not found:
        raise FormatError("it has no candidate")
    if len({item.name for item in found}) != len(found):
        raise FormatError("two candidates have one name")
    macs = whole(answer, "macs", 1)
    return Definition(macs, whole(answer, "kept_macs", 0, macs), densities, found)


def read_times(answer: Mapping[str, Any], candidate: str, count: int) -> list[float]:
    """Check the answer to ``run``, without the layer's name; returns nanoseconds.

    Raises:
        FormatError: it is not one.
    """
    require_keys(answer, ("candidate", "ns"))
    if answer["candidate"] != candidate:
        raise FormatError(f"it is about another candidate than {candidate}")
    found = items(answer, "ns", count)
    if len(found) != count:
        raise FormatError(f"expected {count} times, got {len(found)}")
    return [number(item, "a time") for item in found]


def candidate_name(value: Mapping[str, Any], key: str) -> str:
    """Take out the name of a candidate."""
    found = text(value, key)
    if not _NAME.fullmatch(found):
        raise FormatError(f"{key!r} is to be a candidate's name, got {found!r}")
    return found


def _candidate(value: object) -> Candidate:
    if not isinstance(value, dict):
        raise FormatError("a candidate is to be an object")
    require_keys(value, Candidate.__dataclass_fields__)
    if value["layout"] not in LAYOUTS:
        raise FormatError(f"a layout is to be {' or '.join(LAYOUTS)}")
    name = candidate_name(value, "name")
    return Candidate(name, value["layout"], number(value["predicted"], "a prediction"))


def _word(value: Mapping[str, Any], key: str) -> str:
    found = text(value, key)
    if " " in found:
        raise FormatError(f"{key!r} is to be one word, got {found!r}")
    return found
