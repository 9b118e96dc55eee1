# SPDX-License-Identifier: BSD-3-Clause
"""Runs a model on the reference kernels and through the delegate, and compares."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType, load_delegate

from nmpack.runtime.interpreter import find_delegate

#: How the delegate is asked to run a model.
SETTINGS = tuple((nm, threads) for nm in ("auto", "force") for threads in (1, 2))
LAYOUTS = ("auto", "nhwc", "cnhw")
#: The seed of the drawn models, and how many to draw of each kind by default.
SEED = int(os.environ.get("NMPACK_DRAW_SEED", "1"))
COUNT = int(os.environ.get("NMPACK_DRAW_COUNT", "60"))

Array = np.ndarray


class Refused(Exception):  # noqa: N818  the interpreter's answer, not a fault
    """The interpreter does not run the model."""


class Session:
    """A model in an interpreter, to be run again and again.

    ``nm=None`` is the reference interpreter (``plain``: with its plain kernels, which are faster).
    Otherwise nothing but our delegate and the
    interpreter's plain kernels is there: no other delegate takes what ours leaves.
    """

    def __init__(
        self,
        model: bytes,
        *,
        nm: str | None = None,
        layout: str = "auto",
        threads: int = 1,
        report: Path | None = None,
        delegate: Any = None,
        plain: bool = False,
    ) -> None:
        resolver = OpResolverType.BUILTIN_REF
        if plain or nm is not None:
            resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        delegates = None
        self.report_path = report
        if report is not None:
            report.unlink(missing_ok=True)
        if nm is not None:
            delegates = [delegate or make_delegate(nm, threads, report, layout)]
        try:
            self.interpreter = Interpreter(
                model_content=model,
                experimental_op_resolver_type=resolver,
                experimental_delegates=delegates,
                num_threads=1,
            )
            self.interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise Refused(str(error)) from error

    def resize(self, *shapes: tuple[int, ...]) -> None:
        """Change the shapes of the inputs."""
        try:
            for detail, shape in zip(self.interpreter.get_input_details(), shapes, strict=True):
                self.interpreter.resize_tensor_input(detail["index"], shape)
            self.interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise Refused(str(error)) from error

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Return copies of the outputs."""
        for detail, value in zip(self.interpreter.get_input_details(), inputs, strict=True):
            self.interpreter.set_tensor(detail["index"], value)
        self.interpreter.invoke()
        details = self.interpreter.get_output_details()
        return [self.interpreter.get_tensor(detail["index"]) for detail in details]

    def partitions(self) -> list[dict[str, Any]]:
        """Return the delegate's last report; empty if it took nothing."""
        if self.report_path is None or not self.report_path.exists():
            return []
        result: list[dict[str, Any]] = json.loads(self.report_path.read_text())["partitions"]
        return result


def make_delegate(nm: str, threads: int, report: Path | None = None, layout: str = "auto") -> Any:
    """Load our delegate, whose absence is a failure."""
    values = {"nm": nm, "num_threads": str(threads), "layout": layout}
    if report is not None:
        values["report"] = str(report)
    return load_delegate(str(find_delegate()), values)


def attempt(
    model: bytes, inputs: Sequence[Array], **how: Any
) -> tuple[Session, list[Array]] | None:
    """Run a model once, or return None if the interpreter refuses it."""
    try:
        session = Session(model, **how)
    except Refused:
        return None
    return session, session.run(inputs)


def difference(got: Sequence[Array], expected: Sequence[Array], tolerance: Any) -> str:
    """Say how outputs differ, or nothing. Tolerance is a number or one for each channel."""
    for number, (ours, theirs) in enumerate(zip(got, expected, strict=True)):
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            return f"output {number} is {ours.dtype}{ours.shape}, not {theirs.dtype}{theirs.shape}"
        with np.errstate(invalid="ignore"):
            error = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
        # Equal infinities differ by nothing; a comparison with NaN is false.
        bad = ~((error <= tolerance) | (ours == theirs))
        if bad.any():
            at = tuple(int(i) for i in np.argwhere(bad)[0])
            return (
                f"output {number} differs in {int(bad.sum())} of {bad.size} elements, first at "
                f"{at}: expected {theirs[at]}, got {ours[at]}, largest error {np.nanmax(error):g}"
            )
    return ""
