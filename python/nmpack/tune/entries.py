# SPDX-License-Identifier: BSD-3-Clause
"""One record as JSON: what a trial was of, and the trial. Lines of others are checked strictly."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from nmpack import __version__
from nmpack.checks import FormatError, number, require_keys, text, whole
from nmpack.errors import NmpackError
from nmpack.measure.stats import Summary
from nmpack.tune.protocol import (
    Definition,
    Machine,
    candidate_name,
    read_definition,
    read_machine,
)
from nmpack.tune.rounds import STAGES, Trial
from nmpack.tune.shapes import LARGEST, Layer, Setting

UNITS = ("ns", "instructions", "x60-cycles")
_SESSION = re.compile(r"[0-9a-f]{32}")
_QUARTILES = ("least", "q1", "median", "q3", "largest")


@dataclass(frozen=True, slots=True)
class Subject:
    """What a trial is of: a layer on a machine, and what the program made of it."""

    machine: Machine
    layer: Layer
    setting: Setting
    definition: Definition

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "machine": self.machine.to_dict(),
            "layer": layer_key(self.layer, self.setting),
            "definition": self.definition.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Origin:
    """Who made a trial: the release of nmpack, and a note on the host, at most 200 characters."""

    release: str = __version__
    note: str = ""


def layer_key(layer: Layer, setting: Setting) -> dict[str, Any]:
    """Return a layer and how it is timed, as plain values."""
    return layer.to_dict() | setting.to_dict()


def canonical(value: Mapping[str, Any]) -> str:
    """Return JSON that is the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def read_subject(value: object) -> Subject:
    """Check a subject.

    Raises:
        FormatError: it is not one.
    """
    parts = _object(value, "a subject")
    require_keys(parts, ("machine", "layer", "definition"))
    machine = read_machine(_object(parts["machine"], "a machine"))
    layer, setting = _read_layer(_object(parts["layer"], "a layer"))
    definition = read_definition(_object(parts["definition"], "a definition"))
    return Subject(machine, layer, setting, definition)


def trial_to_dict(trial: Trial, origin: Origin) -> dict[str, Any]:
    """Return a trial and its origin as plain values, the summary's among them."""
    values = asdict(trial) | asdict(trial.summary) | asdict(origin)
    del values["summary"]
    return values


def read_trial(value: object) -> tuple[Trial, Origin]:
    """Check a trial.

    Raises:
        FormatError: it is not one.
    """
    row = _object(value, "a trial")
    names = [item.name for kind in (Trial, Summary, Origin) for item in fields(kind)]
    require_keys(row, set(names) - {"summary"})
    for key, known in (("stage", STAGES), ("unit", UNITS)):
        if row[key] not in known:
            raise FormatError(f"{key!r} is to be one of {', '.join(known)}")
    if not _SESSION.fullmatch(text(row, "session")):
        raise FormatError("'session' is to be 32 hex digits")
    quartiles = [number(row[key], repr(key)) for key in _QUARTILES]
    if quartiles != sorted(quartiles):
        raise FormatError("least, quartiles and largest are not in order")
    least, q1, median, q3, largest = quartiles
    trial = Trial(
        row["session"],
        whole(row, "number", 0, LARGEST),
        row["stage"],
        whole(row, "round", 0, LARGEST),
        candidate_name(row, "candidate"),
        row["unit"],
        Summary(whole(row, "n", 1, LARGEST), median, q1, q3, least, largest),
        number(row["at"], "'at'"),
    )
    return trial, Origin(text(row, "release"), text(row, "note", empty=True))


def _read_layer(row: dict[str, Any]) -> tuple[Layer, Setting]:
    require_keys(row, {item.name for kind in (Layer, Setting) for item in fields(kind)})
    setting = Setting(whole(row, "threads", 1, 65536), whole(row, "evict"), whole(row, "seed"))
    shape = {item.name: row[item.name] for item in fields(Layer)}
    shape["density"] = number(shape["density"], "'density'")
    try:
        return Layer(**shape), setting
    except NmpackError as error:
        raise FormatError(str(error)) from error


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FormatError(f"{what} is to be an object")
    return value
