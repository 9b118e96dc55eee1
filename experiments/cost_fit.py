# SPDX-License-Identifier: BSD-3-Clause
"""Fit costs to what layers took, and judge what costs choose."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from cost_samples import Sample
from cost_terms import Costs, predict, read_costs, terms

from nmpack.errors import NmpackError
from nmpack.quiet import import_module
from nmpack.tune.protocol import LAYOUTS

#: Members of struct xnn_nm_costs that are fitted; what the others have stays.
_NHWC = ("nmconv_percent", "nmconv_call", "nhwc_operator", "padding", "padded_element")
_CNHW = (
    "nmspmm_percent", "nmspmm_call", "pack_percent", "strided_pack_percent", "packed_tap",
    "cnhw_operator",
)  # fmt: skip
FITTED = ("dense_column", "dense_weight", "weight_byte", *_NHWC, *_CNHW)
#: How many times as dear as fitted kernels.toml states them: taken where the gain is certain.
_RAISED_NHWC, _RAISED_CNHW = 1.15, 1.25
#: A choice is good where it takes at most this many times as long as the fastest.
GOOD = 1.1
_FOLDS, _STEPS = 3, 8
# Relative errors beyond this count by their size, no more by its square.
_HUBER = 0.1
# How far predictions of one table may be apart: columns are counted there, and chance's here.
_ALIKE = 0.01
# How much the table's number is worth, in layers that say otherwise.
_PRIOR = 0.3
# The best candidates of both layouts against each other: a layer has one such pair.
_LAYOUTS_WEIGHT = 10.0
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Run:
    """One layer: by candidate nanoseconds, how often each cost is paid, and the layout."""

    times: Mapping[str, float]
    paid: Mapping[str, Costs]
    layouts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What costs are worth on some layers, conversions of layout aside.

    Attributes:
        nhwc, cnhw, all: of the layers, the share whose choice is good, in a layout and over all.
        loss: of all layers' choices, the mean of how much longer they take than the fastest.
        worse: share of layers whose choice takes more than 1.1 times what the dense operator takes.
        error: the median of the predictions' relative errors, of candidates within twice the best.
    """

    nhwc: float
    cnhw: float
    all: float
    loss: float
    worse: float
    error: float


def fitted_names(costs: Costs) -> list[str]:
    """Return the costs that are fitted, in the table's order."""
    return [name for name in costs if name.split(" ")[0] in FITTED]


def folds(runs: Sequence[Run], seed: int = 0) -> list[tuple[list[Run], list[Run]]]:
    """Return pairs of runs to fit to and runs that are held out; each is held out once."""
    order = np.random.default_rng(seed).permutation(len(runs)).tolist()
    found = []
    for fold in range(_FOLDS):
        far = set(order[fold::_FOLDS])
        found.append(([runs[i] for i in order if i not in far], [runs[i] for i in sorted(far)]))
    return found


def held_out(runs: Sequence[Run], table: Costs) -> dict[str, Verdict]:
    """Judge a table, and fits to the other folds, on each fold: the mean over the folds."""
    found: dict[str, list[Verdict]] = {"table": [], "fitted": [], "fitted, raised": []}
    for near, far in folds(runs):
        costs, unit = fit(near, table)
        found["table"].append(judge(far, table, unit_of(near, table)))
        found["fitted"].append(judge(far, costs, unit))
        found["fitted, raised"].append(judge(far, raised(costs), unit))
    names = [item.name for item in fields(Verdict)]
    return {
        what: Verdict(*(float(np.mean([getattr(row, name) for row in rows])) for name in names))
        for what, rows in found.items()
    }


def runs_of(samples: Sequence[Sample], cut_by: Costs) -> list[Run]:
    """Return what each layer paid for on each candidate, cut into blocks as it ran.

    Raises:
        NmpackError: the program predicted otherwise: other costs had cut its blocks.
    """
    found, misses = [], []
    for item in samples:
        machine, layer = item.subject.machine, item.subject.layer
        paid = {name: terms(machine.float_isa, layer, name, cut_by) for name in item.levels}
        layouts = {x.name: x.layout for x in item.subject.definition.candidates}
        found.append(Run({name: item.times[name] for name in paid}, paid, layouts))
        predicted = {x.name: x.predicted for x in item.subject.definition.candidates}
        misses += [abs(predict(paid[x], cut_by) / predicted[x] - 1.0) for x in paid]
    if np.median(misses) > _ALIKE:
        raise NmpackError(
            f"expected records of a program with these costs, got predictions "
            f"{100 * np.median(misses):.1f} % apart: name its kernels.toml by --kernels"
        )
    return found


def fit(runs: Sequence[Run], table: Costs) -> tuple[Costs, float]:
    """Fit costs to runs by robust least squares of relative errors, and of their differences.

    Numbers of ``table`` stay where the runs say little, and where they are not fitted.

    Returns:
        The costs, and nanoseconds of their unit.
    """
    unit = unit_of(runs, table)
    # What a table leaves out may turn out to be as large as what FMA3's has.
    known = read_costs("fma3")
    names = [name for name in fitted_names(table) if table[name] or known[name]]
    scale = unit * np.array([table[name] or known[name] for name in names])
    prior = unit * np.array([table[name] for name in names])
    equations = [row for item in runs for row in _equations(item, names)]
    rows, target, weights = (np.array(column) for column in zip(*equations, strict=True))
    solved = _solve(rows, target, weights, prior, scale)
    fitted = dict(zip(names, solved.tolist(), strict=True))
    unit = _unit_cost(dict(table) | fitted) / _unit_cost(table)
    return dict(table) | {name: value / unit for name, value in fitted.items()}, unit


def _equations(item: Run, names: Sequence[str]) -> Iterator[tuple[Array, float, float]]:
    """Yield rows, what they are to be, and weights: what nobody would choose matters less."""
    times = item.times
    best = min(times, key=lambda name: times[name])
    rows = {
        name: np.array([item.paid[name].get(cost, 0.0) for cost in names]) / time
        for name, time in times.items()
    }
    for name, row in rows.items():
        yield row, 1.0, times[best] / times[name]
    # What is wrong by one factor for all candidates of a layer misleads nobody: differences count.
    for layout in LAYOUTS:
        group = [name for name in times if item.layouts[name] == layout]
        first = min(group, key=lambda name: times[name], default=best)
        for name in group:
            if name != first:
                yield rows[name] - rows[first], 0.0, times[first] / times[name]
        if first != best:
            yield rows[first] - rows[best], 0.0, _LAYOUTS_WEIGHT * times[best] / times[first]


def _unit_cost(costs: Costs) -> float:
    return costs["dense_column"] + costs["unit_weights"] * costs["dense_weight"]


def unit_of(runs: Sequence[Run], costs: Costs) -> float:
    """Return nanoseconds of the unit by the dense operators alone."""
    found = [
        item.times["dense"] / predict(item.paid["dense"], costs)
        for item in runs
        if "dense" in item.times
    ]
    if not found:
        raise NmpackError("no layer was timed on the dense operator: there is no unit")
    return float(np.median(found))


def _solve(rows: Array, target: Array, weights: Array, prior: Array, scale: Array) -> Array:
    """Minimise Huber's loss of ``rows @ x - target`` over x of 0 and more; returns x.

    How far x is from ``prior`` counts in ``scale``.
    """
    lsq_linear = import_module("scipy.optimize", "torch").lsq_linear
    held = _HUBER * math.sqrt(_PRIOR) * np.eye(len(prior))
    solved = prior
    for _ in range(_STEPS):
        misses = np.abs(rows @ solved - target)
        robust = np.sqrt(weights * np.minimum(1.0, _HUBER / np.maximum(misses, 1e-12)))
        left = np.vstack([rows * scale * robust[:, None], held])
        right = np.concatenate([target * robust, held @ (prior / scale)])
        solved = lsq_linear(left, right, bounds=(0.0, np.inf)).x * scale
    return solved


def judge(runs: Sequence[Run], costs: Costs, unit: float) -> Verdict:
    """Compare what costs choose with what was measured."""
    good: dict[str, list[bool]] = {name: [] for name in (*LAYOUTS, "all")}
    losses, worse, errors = [], [], []
    for item in runs:
        times = item.times
        predicted = {name: predict(item.paid[name], costs) for name in times}
        for group, found in good.items():
            names = [name for name in times if group in ("all", item.layouts[name])]
            if names:
                choice = min(names, key=lambda name: predicted[name])
                found.append(times[choice] <= GOOD * min(times[name] for name in names))
        best, choice = min(times.values()), min(times, key=lambda name: predicted[name])
        losses.append(times[choice] / best - 1.0)
        worse.append(times[choice] > GOOD * times.get("dense", math.inf))
        errors += [
            abs(unit * predicted[name] / time - 1.0)
            for name, time in times.items()
            if time <= 2.0 * best
        ]
    shares = [float(np.mean(good[group])) for group in (*LAYOUTS, "all")]
    return Verdict(*shares, float(np.mean(losses)), float(np.mean(worse)), float(np.median(errors)))


def raised(costs: Costs) -> Costs:
    """Return costs whose N:M operators are dearer, so that what is in doubt stays dense."""
    factors = {**dict.fromkeys(_NHWC, _RAISED_NHWC), **dict.fromkeys(_CNHW, _RAISED_CNHW)}
    return {name: value * factors.get(name.split(" ")[0], 1.0) for name, value in costs.items()}
