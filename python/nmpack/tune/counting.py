# SPDX-License-Identifier: BSD-3-Clause
"""Count what candidates execute, under QEMU with the project's plugin; nothing there is time.

The whole plan of a layer is sent at once, and read from the plugin's account when the program has
ended. At VLEN 256 LLVM's model of the SpacemiT X60 prices what was counted
(:mod:`nmpack.rvv`).
"""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nmpack.checks import FormatError, parse_object
from nmpack.measure.stats import Summary, summarise
from nmpack.refusals import one_line
from nmpack.rvv.account import Operator, Prices, account
from nmpack.rvv.mca import VLEN, Pricer, find_tools
from nmpack.rvv.plugin import find_plugin, plugin_options, read_counts
from nmpack.rvv.profile import Profile, Segment
from nmpack.tflite.names import printable
from nmpack.tune import rounds
from nmpack.tune.protocol import (
    AnswerError,
    Candidate,
    Definition,
    RefusedError,
    layer_command,
    read_definition,
    read_times,
    run_command,
)
from nmpack.tune.rounds import RACE, Decision, Trial
from nmpack.tune.shapes import Layer, Setting

INSTRUCTIONS, CYCLES = "instructions", "x60-cycles"
_SECONDS = 3600.0


class Counter:
    """Counts what the program executes.

    Attributes:
        unit: what decides: cycles where they are modelled, else instructions.
    """

    def __init__(
        self, program: Path, emulator: Path, environment: Mapping[str, str], vlen: int
    ) -> None:
        """Find the plugin, and at VLEN 256 LLVM; ``environment`` is all of the emulator's.

        Raises:
            MissingError: the plugin, or LLVM 22, is absent.
        """
        self._program, self._emulator, self._environment = program.resolve(), emulator, environment
        self._plugin = find_plugin(program)
        self._prices: Prices | None = Pricer(find_tools()).prices if vlen == VLEN else None
        self.unit = INSTRUCTIONS if self._prices is None else CYCLES
        self._session, self._number = secrets.token_hex(16), 0

    def count(self, layer: Layer, setting: Setting, definition: Definition) -> list[Trial]:
        """Run each candidate of a layer; returns a trial of each unit for each of them.

        Raises:
            RefusedError: the program refuses the layer or a candidate, crashes, or takes too long.
            AnswerError: it does something else than was asked.
        """
        names = [item.name for item in definition.candidates]
        plan = [layer_command("layer", layer, setting)]
        plan += [run_command("layer", name, 1) for name in names]
        with tempfile.TemporaryDirectory(prefix="nmpack-") as folder:
            said = self._run(Path(folder), [*plan, "quit"])
            self._check(said, definition)
            operators = account(one_region(read_counts(Path(folder))), self._prices)[1:]
        trials = []
        for name, operator in zip(names, first_runs(operators, len(names)), strict=True):
            totals = operator.totals
            trials.append(self._trial(name, INSTRUCTIONS, float(totals.instructions)))
            if totals.cycles is not None:
                trials.append(self._trial(name, CYCLES, totals.cycles))
        return trials

    def _trial(self, name: str, unit: str, value: float) -> Trial:
        self._number += 1
        return Trial(
            self._session, self._number - 1, RACE, 0, name, unit, summarise([value]), time.time()
        )

    def _run(self, folder: Path, plan: Sequence[str]) -> list[str]:
        (folder / "measure").symlink_to(self._program)
        options = plugin_options(folder, self._plugin, self._program)
        try:
            done = subprocess.run(
                [str(self._emulator), *options, "./measure"],
                input="".join(f"{line}\n" for line in plan).encode("ascii"),
                cwd=folder,
                env=self._environment,
                capture_output=True,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RefusedError(f"QEMU: a layer took more than {_SECONDS:g} s") from error
        if done.returncode != 0:
            said = one_line(os.fsdecode(done.stderr[-1000:]).strip() or "no message")
            raise RefusedError(f"QEMU: nmpack-measure ended with status {done.returncode}: {said}")
        return done.stdout.decode("utf-8", "replace").splitlines()

    def _check(self, lines: Sequence[str], definition: Definition) -> None:
        """Check that every command of the plan was carried out."""
        try:
            first, *rest = [parse_object(line) for line in lines]
            for answer in (first, *rest):
                if "error" in answer:
                    said = printable(one_line(str(answer["error"])))
                    raise RefusedError(f"QEMU: nmpack-measure refuses: {said}")
                if answer.pop("layer", None) != "layer":
                    raise FormatError("it is about another layer")
            if read_definition(first) != definition or len(rest) != len(definition.candidates):
                raise FormatError("the layer is another one than before")
            for answer, item in zip(rest, definition.candidates, strict=True):
                read_times(answer, item.name, 1)
        except (FormatError, ValueError) as error:
            raise AnswerError(f"QEMU: nmpack-measure's answer is unusable: {error}") from error


def one_region(profile: Profile) -> Profile:
    """Return a profile as if it were of one region: what was marked is joined, in order."""
    operators = [item.runs for item in profile.segments if item.ordinal > 0]
    segments = [Segment(0, number, runs) for number, runs in enumerate([{}, *operators])]
    return replace(profile, segments=tuple(segments))


def first_runs(operators: Sequence[Operator], runs: int) -> list[Operator]:
    """Return for each of the plan's runs the operator that it executed first.

    A run of one is executed once, or twice where the unmeasured run is counted as well.

    Raises:
        AnswerError: there are more or fewer operators.
    """
    each, rest = divmod(len(operators), runs)
    if rest or each not in (1, 2):
        raise AnswerError(
            f"QEMU: expected {runs} or {2 * runs} operators to be counted, got {len(operators)}"
        )
    return list(operators[::each])


def decide_counted(definition: Definition, trials: Sequence[Trial]) -> Decision:
    """Say which candidates execute least, from trials of one unit; counts have no spread."""
    found = rounds.levels([rounds.Round({t.candidate: t.summary.median}, True) for t in trials])
    defaults, choices, gains = {}, {}, {}
    for layout, items in rounds.by_layout(definition).items():
        default = defaults[layout] = choices[layout] = rounds.default_of(items)
        timed = [item for item in items if item.name in found]
        if default in timed:
            choices[layout] = _least(found, timed, default)
        gains[layout] = _gain(found, default.name, choices[layout].name)
    default = rounds.default_of(defaults.values())
    known = [item for item in choices.values() if item.name in found]
    choice = _least(found, known, default)
    gain = _gain(found, default.name, choice.name)
    done = all(item.name in found for item in definition.candidates)
    return Decision(found, defaults, choices, gains, default, choice, gain, done)


def _least(
    found: dict[str, Summary], candidates: Sequence[Candidate], default: Candidate
) -> Candidate:
    """Return what executes least; of equal ones the default."""
    return min(
        candidates, key=lambda item: (found[item.name].median, item is not default), default=default
    )


def _gain(found: dict[str, Summary], default: str, choice: str) -> Summary | None:
    if default == choice or default not in found or choice not in found:
        return None
    return summarise([found[default].median / found[choice].median])
