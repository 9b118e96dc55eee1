# SPDX-License-Identifier: BSD-3-Clause
"""``nmpack tune MODEL --density``: which pattern each layer is to be pruned to."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from nmpack.cli.common import open_source, positive
from nmpack.cli.progress import console, progress
from nmpack.cli.tables import new_table
from nmpack.errors import NmpackError
from nmpack.plans import load_sensitivity, save_plan
from nmpack.sparsity.pattern import NMPattern
from nmpack.terminal import Table
from nmpack.tflite.names import printable
from nmpack.tune.layers import ModelLayers
from nmpack.tune.planning import (
    TOLERANCE,
    Answer,
    answers_of,
    patterns_of,
    plan_of,
    questions_of,
    to_measure,
)
from nmpack.tune.tuner import TuneReport

_TILES = "8,16,32"
_OPTIONS = (
    "tiles", "blocks", "accuracy_model", "checkpoint", "arch", "classes", "select", "exclude",
)  # fmt: skip


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Add the options of a plan."""
    group = parser.add_argument_group(
        "before pruning",
        "With --density MODEL is one that nmpack prune takes: a zoo name, keras:NAME, .pt, .keras.",
    )
    group.add_argument(
        "--density", type=float, metavar="D",
        help="share of each row to keep: propose a tile for every layer; --output is the plan",
    )  # fmt: skip
    group.add_argument("--tiles", type=_numbers, metavar="T,T", help=f"(default {_TILES})")
    group.add_argument("--blocks", type=_numbers, metavar="B,B", help="(default 1)")
    group.add_argument(
        "--accuracy-model", metavar="FILE",
        help="what patterns harm, of nmpack search --sensitivity: decides among the fastest",
    )  # fmt: skip
    group.add_argument("--checkpoint", metavar="FILE", help="as for prune")
    group.add_argument("--arch", metavar="NAME", help="as for prune")
    group.add_argument("--classes", type=positive, metavar="N", help="as for prune")
    group.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    group.add_argument("--select", action="append", metavar="GLOB", help="as for prune")
    group.add_argument("--exclude", action="append", default=[], metavar="GLOB", help="likewise")


def execute_plan(arguments: argparse.Namespace, tune: Callable[[ModelLayers], TuneReport]) -> None:
    """Measure by ``tune``, print, write the plan."""
    if arguments.embed or arguments.json:
        raise NmpackError("--density makes a plan, which --output names: leave the others out")
    if arguments.target == "qemu":
        raise NmpackError("a plan is of times, and QEMU has none")
    patterns = patterns_of(
        arguments.density, arguments.tiles or _numbers(_TILES), arguments.blocks or [1]
    )
    harm = load_sensitivity(arguments.accuracy_model) if arguments.accuracy_model else None
    with progress(f"opening {arguments.model}"):
        source = open_source(arguments)
        questions = questions_of(
            source, patterns, select=arguments.select, exclude=arguments.exclude
        )
    work = to_measure(questions)
    report = tune(work)
    if report.error and not any(item.decision for item in report.results):
        raise NmpackError(report.error)
    answers = answers_of(questions, report, harm)
    console().print(plan_table(answers, patterns, report))
    if arguments.output:
        save_plan(arguments.output, plan_of(answers, report))
        console().print(f"wrote {arguments.output}")
    if report.error:
        raise NmpackError(f"{report.error}; what is known so far is above, and in the records")


def refuse_plan_options(arguments: argparse.Namespace) -> None:
    """Check that nothing is said about a plan that is not asked for.

    Raises:
        NmpackError: there is.
    """
    if given := [name for name in _OPTIONS if getattr(arguments, name)]:
        raise NmpackError(f"--{given[0].replace('_', '-')} is for a plan: give --density too")


def plan_table(
    answers: Sequence[Answer], patterns: Sequence[NMPattern], report: TuneReport
) -> Table:
    """Tabulate what each layer takes with each pattern, and what is proposed."""
    heads = [_short(pattern) for pattern in patterns]
    table = new_table(
        "layer", "what", ">dense", *(f">{head}" for head in heads), "proposed", "runs on", "why"
    )
    for answer in answers:
        calls = answer.question.calls
        chosen = answer.times.get(answer.pattern)
        table.add_row(
            printable(answer.question.name),
            calls.layers[0].label if calls.layers else "",
            _shown(answer, None),
            *(_shown(answer, pattern) for pattern in patterns),
            "dense" if answer.pattern is None else _short(answer.pattern),
            ", ".join(dict.fromkeys(chosen.candidates)) if chosen else "",
            answer.reason,
        )
    table.caption = "\n".join(_lines(answers, patterns, report))
    return table


def _short(pattern: NMPattern) -> str:
    return f"tile {pattern.tile}" + (f"x{pattern.block}" if pattern.block > 1 else "")


def _shown(answer: Answer, pattern: NMPattern | None) -> str:
    timed = answer.times.get(pattern)
    if timed is None:
        return "-" if pattern is None or pattern in answer.question.patterns else ""
    return f"{1e3 * timed.seconds:.4g}" + ("" if timed.finished else "?")


def _lines(
    answers: Sequence[Answer], patterns: Sequence[NMPattern], report: TuneReport
) -> list[str]:
    machine = report.machine
    threads = report.setting.threads
    lines = [
        f"ms of one image on the best candidate, ? not decided yet, - not measured; {machine.cpu} "
        f"({machine.isa}), threads {threads}; {report.used} trials from the records, "
        f"{sum(item.measured for item in report.results)} new, {report.seconds:.1f} s",
        f"proposed: within {100 * TOLERANCE:.0f}% of the fastest pattern the one that harms least, "
        "where that is not known the smallest tile; dense where pruning gains no more than that",
    ]
    known = [answer for answer in answers if None in answer.times]
    dense = sum(answer.times[None].seconds for answer in known)
    totals = [f"dense {1e3 * dense:.4g}"]
    for pattern in patterns:
        spent = sum(answer.times.get(pattern, answer.times[None]).seconds for answer in known)
        totals.append(f"{_short(pattern)} {1e3 * spent:.4g}")
    best = sum(answer.times[answer.pattern].seconds for answer in known)
    lines.append(f"all layers, ms: {', '.join(totals)}; proposed {1e3 * best:.4g}")
    left = [answer for answer in answers if answer.reason.startswith("not ")]
    if missing := [item for item in left if item.question.patterns]:
        lines.append(
            f"{len(missing)} layers stay dense because they were not measured: run it again, the "
            "records go on, or give a higher --budget"
        )
    return lines


def _numbers(text: str) -> list[int]:
    return [positive(part) for part in text.split(",")]
