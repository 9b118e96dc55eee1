# SPDX-License-Identifier: BSD-3-Clause
"""Read what the QEMU plugin ``tools/qemu/rvvprof.c`` writes; the format is described there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from nmpack.errors import NmpackError
from nmpack.rvv.isa import Instruction, split

_FIRST_LINE = "nmpack-rvvprof 1"


class ProfileError(NmpackError):
    """A profile cannot be used."""


class Run(NamedTuple):
    """What one block did in one segment; bytes and cache lines."""

    executions: int
    loaded: int
    stored: int
    l1_misses: int
    l2_misses: int


@dataclass(frozen=True, slots=True)
class Block:
    """A straight run of instructions; ``offset`` counts from the start of the module's file."""

    module: int
    offset: int
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """What ran from one boundary to the next: ``ordinal`` 0 is before the first."""

    region: int
    ordinal: int
    runs: dict[int, Run]


@dataclass(frozen=True, slots=True)
class Profile:
    """Module paths by number (-1: code that is in no file), blocks by number, segments in order."""

    modules: dict[int, str]
    blocks: dict[int, Block]
    segments: tuple[Segment, ...]


def read_profile(path: str | Path) -> Profile:
    """Read a profile.

    Raises:
        ProfileError: it cannot be read, is cut off or damaged, or of a program with threads.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: the profile cannot be read: {error}") from error
    if not lines or lines[0] != _FIRST_LINE:
        got = repr(lines[0][:40]) if lines else "an empty file"
        raise ProfileError(f"{path}: expected a profile that starts '{_FIRST_LINE}', got {got}")
    if not lines[-1].startswith("end "):
        raise ProfileError(f"{path}: the profile is cut off after {len(lines)} lines")
    try:
        return _parse(iter(lines[1:]))
    except (ValueError, KeyError, IndexError) as error:
        raise ProfileError(f"{path}: the profile is damaged: {error}") from error


def _parse(lines: Iterator[str]) -> Profile:
    profile = Profile({-1: ""}, {}, ())
    segments: list[Segment] = []
    for line in lines:
        kind, _, rest = line.partition(" ")
        words = rest.split()
        if kind == "run":
            block, *counts = map(int, words)
            if block not in profile.blocks or len(counts) != 5 or min(counts) < 0:
                raise ValueError(f"unusable line '{line[:60]}'")
            segments[-1].runs[block] = Run(*counts)
        elif kind == "block":
            number, module, offset = map(int, words[:3])
            if module not in profile.modules:
                raise ValueError(f"block {number} is of module {module}, which is not named")
            code = tuple(split(offset, bytes.fromhex(words[3])))
            profile.blocks[number] = Block(module, offset, code)
        elif kind == "module":
            number_text, _, path = rest.partition(" ")
            profile.modules[int(number_text)] = path
        elif kind == "segment":
            region, ordinal = map(int, words)
            segments.append(Segment(region, ordinal, {}))
        elif kind == "end":
            count, threads = map(int, words)
            if count != len(segments):
                raise ValueError(f"it should have {count} segments, {len(segments)} are there")
            if threads != 1:
                raise ValueError(f"counts are exact for one thread only, {threads} ran")
        else:
            raise ValueError(f"unknown line '{line[:60]}'")
    return Profile(profile.modules, profile.blocks, tuple(segments))
