# SPDX-License-Identifier: BSD-3-Clause
"""Files that leave sizes open: what each command takes them as, and what it says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from open_files import any_image, flattened, int8_batch, places, two_inputs

from nmpack.cli import main
from nmpack.errors import InterpreterError, NmpackError
from nmpack.measure.benchmark import bench
from nmpack.measure.inspection import inspect
from nmpack.measure.profile import profile
from nmpack.quantize.samples import read_batches
from nmpack.runtime.child import Signature
from nmpack.runtime.inputs import Inputs
from nmpack.runtime.interpreter import INTERPRETERS, Engine, nmpack_engine
from nmpack.runtime.qemu import shape_arguments
from nmpack.runtime.runner import compare, run
from nmpack.runtime.sizes import Shapes, assumed_sizes, shapes_of, sized, stored
from nmpack.tflite.file import TFLiteFile
from nmpack.tune.layers import layers_of

pytestmark = [pytest.mark.delegate, pytest.mark.usefixtures("delegate")]
STOCK = Engine("built-in")
IMAGE = Signature("image", (1, 1, 1, 3), "float32", stated=(-1, -1, -1, 3))
SIDE = Signature("side", (1, 6), "float32", stated=(-1, 6))
FIXED = Signature("fixed", (2, 6), "float32", stated=(2, 6))
TOLD = "input 'image' is of the open size ?x?x?x3 and was taken as 1x1x1x3; --shape takes another"


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("inputs", "shapes", "arrays", "expected", "assumed"),
    [
        ([IMAGE], None, 0, [(1, 1, 1, 3)], 1),
        ([IMAGE], (2, 8, 9, 3), 0, [(2, 8, 9, 3)], 0),
        ([IMAGE], np.array([2, 8, 9, 3]), 0, [(2, 8, 9, 3)], 0),
        ([IMAGE], None, drawn(5, 8, 9, 3), [(5, 8, 9, 3)], 0),
        ([IMAGE], (1, 8, 9, 3), drawn(5, 8, 9, 3), [(1, 8, 9, 3)], 0),
        ([IMAGE, SIDE], {"image": (4, 2, 2, 3)}, 0, [(4, 2, 2, 3), (1, 6)], 1),
        ([IMAGE, SIDE], {"side": (4, 6)}, [drawn(4, 2, 2, 3), drawn(8, 6)],
         [(4, 2, 2, 3), (4, 6)], 0),
        ([FIXED], None, drawn(8, 6), [(2, 6)], 0),
        ([replace(FIXED, stated=(2, -1))], None, drawn(8, 9), [(2, 9)], 0),
        ([replace(IMAGE, shape=(0, -1, 1, 3))], None, 0, [(1, 1, 1, 3)], 1),
        ([IMAGE, replace(SIDE, name="image")], {"image#2": (7, 6)}, 0, [(1, 1, 1, 3), (7, 6)], 1),
        ([], None, 0, [], 0),
    ],
)  # fmt: skip
def test_who_says_the_sizes(
    inputs: list[Signature],
    shapes: Shapes | None,
    arrays: Inputs,
    expected: list[tuple[int, ...]],
    assumed: int,
) -> None:
    found = sized(inputs, shapes, arrays)
    assert [item.shape for item in found] == expected
    assert len(assumed_sizes(found)) == assumed


@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        ((1, 8, 8, 4), r"'image': expected \?x\?x\?x3, in which only \? is open, got 1x8x8x4"),
        ((1, 8, 3), r"'image': expected 4 sizes, \?x\?x\?x3, got 3, 1x8x3"),
        ((0, 8, 8, 3), r"expected sizes from 1 to 2147483647, got 0x8x8x3"),
        ((1, -8, 8, 3), r"expected sizes from 1 to 2147483647, got 1x-8x8x3"),
        ((1, 1 << 31, 1, 3), r"expected sizes from 1 to 2147483647, got 1x2147483648x1x3"),
        ((1, 1 << 17, 1 << 14, 3), r"expected at most 2147483647 values, got 1x131072x16384x3"),
        ((1, 8.0, 8, 3), r"expected whole numbers as its shape, got \(1, 8\.0, 8, 3\)"),
        ("1x8x8x3", r"expected whole numbers as its shape, got '1x8x8x3'"),
        (5, r"expected a shape, or shapes by the inputs' names, got 5"),
        ({"img": (1, 8, 8, 3)}, r"expected a shape of the inputs image, got one of 'img'"),
    ],
)
def test_shapes_that_do_not_fit_are_one_sentence(shapes: Shapes, says: str) -> None:
    with pytest.raises(NmpackError, match=says):
        sized([IMAGE], shapes, 0)


def test_what_says_nothing_of_its_sizes_is_fixed() -> None:
    fixed = Signature("fixed", (2, 3), "float32")
    assert sized([fixed], None, 0) == (replace(fixed, stated=(2, 3)),)
    with pytest.raises(NmpackError, match="expected 2x3, which the file fixes, got 4x3"):
        sized([fixed], (4, 3), 0)


def test_inputs_without_a_name_are_numbered_as_inputs() -> None:
    nameless = replace(IMAGE, name="")
    assert list(shapes_of([nameless, nameless, SIDE])) == ["input", "input#2", "side"]


def test_nmpack_run_is_told_every_shape_where_one_is_open() -> None:
    """It gives a name's first shape to the first input that has it."""
    one = Signature("", (), "float32")
    same = [replace(FIXED, name="image"), IMAGE, one]
    assert shape_arguments(same) == [
        "--shape=image=2x6", "--shape=image=1x1x1x3", "--shape=="
    ]  # fmt: skip
    assert shape_arguments([FIXED, one]) == []


def test_what_a_file_fixes_or_has_not_cannot_be_said() -> None:
    with pytest.raises(NmpackError, match="expected 2x6, which the file fixes, got 4x6"):
        sized([FIXED], (4, 6), 0)
    with pytest.raises(NmpackError, match="its input, one of image, side, got 1x6 alone"):
        sized([IMAGE, SIDE], (1, 6), 0)
    with pytest.raises(NmpackError, match=r"got 5x8x9x4"):
        sized([IMAGE], None, drawn(5, 8, 9, 4))
    with pytest.raises(NmpackError, match=r"expected sizes from 1 .*, got 0x8x9x3"):
        sized([IMAGE], None, drawn(0, 8, 9, 3))


@pytest.mark.parametrize("interpreter", [*INTERPRETERS[:2], pytest.param("tensorflow",
                         marks=[pytest.mark.keras, pytest.mark.slow])])  # fmt: skip
def test_a_network_that_does_not_run_at_its_placeholders(interpreter: str, tmp_path: Path) -> None:
    model, images = any_image(tmp_path / "m.tflite", valid=True), drawn(3, 9, 7, 3)
    ours, stock = nmpack_engine(interpreter=interpreter), Engine("stock", interpreter)
    for engine in (ours, stock):
        with pytest.raises(InterpreterError, match=r"taken as 1x1x1x3: give it another shape"):
            run(model, engine=engine)
    results = [
        run(model, images, engine=ours),
        run(model, images, engine=stock),
        run(model, images, engine=ours, shapes=(1, 9, 7, 3)),
        run(model, images, engine=ours, shapes={"image": [3, 9, 7, 3]}),
    ]
    assert [result.samples for result in results] == [1, 1, 3, 1]
    assert results[2].inputs[0].shape == (1, 9, 7, 3)
    for result in results:
        assert compare(results[1].outputs, result.outputs).relative < 1e-5


def test_of_two_inputs_one_may_be_resized(tmp_path: Path) -> None:
    """Where the other does not follow, the interpreter says so as without us."""
    model = two_inputs(tmp_path / "m.tflite")
    arrays = {"image": drawn(2, 5, 4, 3), "side": drawn(2, 6)}
    ours, stock = (run(model, arrays, engine=engine) for engine in (None, STOCK))
    assert compare(stock.outputs, ours.outputs).relative < 1e-5
    images = run(model, shapes={"image": (1, 5, 4, 3)})
    assert [item.assumed for item in images.inputs] == [False, True]
    for engine in (nmpack_engine(), STOCK):
        with pytest.raises(InterpreterError, match=r"refuses .*'side' .* \?x6 .*as 1x6: give it"):
            run(model, engine=engine, shapes={"image": (2, 5, 4, 3)})


def test_a_batch_of_int8_is_the_same_to_the_bit(tmp_path: Path) -> None:
    model = int8_batch(tmp_path / "m.tflite")
    (expected,) = run(model, 3, engine=STOCK, shapes=(5, 6, 6, 8)).outputs.values()
    assert expected.shape == (5, 6, 6, 8)
    for nm in ("force", "off"):
        ours = run(model, 3, engine=nmpack_engine(options={"nm": nm}), shapes=(5, 6, 6, 8))
        np.testing.assert_array_equal(*ours.outputs.values(), expected)


def test_calibration_takes_images_of_any_size_where_they_are_open() -> None:
    images = {f"i{size}": drawn(2, size, 5, 3) for size in (4, 7)}
    for array in images.values():
        for given in (array, np.moveaxis(array, -1, 1)):  # channels first, too
            batches = read_batches(given, [IMAGE], 9)
            np.testing.assert_array_equal(np.concatenate([b["image"] for b in batches]), array)
    with pytest.raises(NmpackError, match=r"expected shape \[N, \?, \?, 3\], got \[2, 4, 5, 4\]"):
        read_batches(drawn(2, 4, 5, 4), [IMAGE], 9)


def test_calibration_takes_files_of_several_sizes(tmp_path: Path) -> None:
    for size in (4, 7):
        np.save(tmp_path / f"{size}.npy", drawn(2, size, 5, 3))
    batches = read_batches(tmp_path, [IMAGE], 9)
    assert [b["image"].shape for b in batches] == [(1, 4, 5, 3)] * 2 + [(1, 7, 5, 3)] * 2
    three = replace(IMAGE, shape=(3, 1, 1, 3), stated=(3, -1, -1, 3))
    with pytest.raises(NmpackError, match=r"one size in a batch of 3, got \[4, 5, 3\] and \[7"):
        read_batches(tmp_path, [three], 9)


def test_a_flattened_batch_is_planned_and_its_rows_are_known(tmp_path: Path) -> None:
    """What stands behind a computed shape is planned when the network has run once."""
    report = inspect(flattened(tmp_path / "m.tflite"), shapes=(6, 4, 4, 3))
    assert report.delegated == 2
    assert [row.operator for row in report.layers if row.operator != "interpreter"] == [
        row.operator for row in report.layers
    ]
    assert [row.rows for row in report.layers] == [None, 6]
    result = run(tmp_path / "m.tflite", drawn(6, 4, 4, 3))
    stock = run(tmp_path / "m.tflite", drawn(6, 4, 4, 3), engine=STOCK)
    assert compare(stock.outputs, result.outputs).relative < 1e-5


def test_outputs_may_be_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Interpreters refuse to give such an output."""
    model, above = places(tmp_path / "m.tflite"), np.full((3, 4), 9, np.float32)
    (nothing,) = run(model, above).outputs.values()
    assert (nothing.shape, nothing.dtype) == ((0, 2), np.int64)
    above[2, 1] = 51
    (one,) = run(model, above).outputs.values()
    assert one.tolist() == [[2, 1]]
    assert main(["run", str(model), "--shape", "3x4", "--compare"]) == 0
    assert "0x2" in capsys.readouterr().out


def test_a_constant_shape_in_the_middle_is_the_interpreters_error(tmp_path: Path) -> None:
    model = flattened(tmp_path / "m.tflite", fixed=True)
    assert run(model, drawn(1, 4, 4, 3)).samples == 1
    for engine in (nmpack_engine(), Engine("plain", resolver="plain")):
        with pytest.raises(InterpreterError, match=r"num_input_elements != num_output_elements"):
            run(model, engine=engine, shapes=(6, 4, 4, 3))
    # One after the other, it takes as many as there are.
    assert run(model, drawn(6, 4, 4, 3), shapes=(1, 4, 4, 3)).samples == 6


def test_bench_and_profile_measure_at_those_sizes(tmp_path: Path) -> None:
    model = any_image(tmp_path / "m.tflite", valid=True)
    report = bench([model], rounds=1, repeat=1, warmup=0, shapes=(2, 20, 12, 3))
    assert json.loads(json.dumps(report.to_dict()))["inputs"] == {"m": {"image": [2, 20, 12, 3]}}
    products = []
    for height in (10, 18):
        found = profile(model, runs=2, warmup=0, shapes={"image": (1, height, 10, 3)})
        assert found.to_dict()["inputs"] == {"image": [1, height, 10, 3]}
        products.append([row.multiplications for row in found.rows if row.multiplications][:2])
    assert products[1][0] == 2 * products[0][0]


def test_layers_to_tune_are_those_of_the_sizes(tmp_path: Path) -> None:
    found = layers_of(any_image(tmp_path / "m.tflite", valid=True), shapes=(2, 20, 12, 3))
    assert found.skipped == {}
    sizes = [(one.layer.batch, one.layer.input_height, one.layer.input_width)
             for one in found.layers]  # fmt: skip
    assert sizes == [(2, 20, 12), (2, 18, 10), (1, 2, 1)]
    # Of an open batch too, behind a shape that is computed.
    (_, last) = layers_of(flattened(tmp_path / "f.tflite"), shapes=(6, 4, 4, 3)).layers
    assert last.layer.input_height == 6
    file = any_image(tmp_path / "m.tflite")
    (item,) = layers_of(file).inputs
    assert item.assumed
    assert stored(TFLiteFile(file).primary) == (item,)


@pytest.mark.parametrize(
    "verb",
    ["run --compare", "bench --rounds 1", "inspect", "profile --runs 2",
     "tune --budget 1ms --database DB", "report --runs 2 -o DB"],
)  # fmt: skip
def test_every_command_takes_a_shape_and_says_what_it_assumed(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = any_image(tmp_path / "m.tflite")
    name, *more = verb.replace("DB", str(tmp_path / "db")).split()
    for arguments in (["--shape", "image=2x9x7x3"], []):
        assert main([name, str(model), *more, *arguments]) == 0
        text = " ".join(capsys.readouterr().out.split())
        assert (TOLD.partition(";")[0] in text) == (not arguments), text
    assert main([name, str(model), *more, "--shape", "1x9x7x4"]) == 1
    error = capsys.readouterr().err
    assert "got 1x9x7x4" in error
    assert error.count("\n") == 1


def test_what_holds_of_several_models_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = [str(any_image(tmp_path / name)) for name in ("a.tflite", "b.tflite")]
    assert main(["bench", *models, "--rounds", "1"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.count("is of the open size") == 1
    assert TOLD in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("run M --shape 1x2 --shape 2x3", "expected NAME=SIZES where there are several"),
        ("run M --shape a=1x2 --shape a=2x3", "--shape of a is given twice"),
        ("inspect M --no-delegate --shape 1x2", "expected none where it is not asked"),
        ("bench M --peers --shape 1x2", "--peers and --shape do not go together"),
        ("profile M --target riscv64 --shape 1x2", "--target riscv64 counts at the sizes in the"),
        ("tune resnet18 --density 0.5 --shape 1x2", "with --density the network has sizes"),
        ("tune --export x.jsonl --shape 1x2", "name no model and no shape"),
        ("run M --vlen 128", "--vlen is for --target riscv64, got --target host"),
        ("run M --target riscv64 --cpu max", "--cpu is for --target aarch64, got --target risc"),
        ("run M --target riscv64 --delegate M", "--delegate is for --target host, got --target ri"),
        ("run M --target aarch64 --alone", "--alone is for --target host, got --target aarch64"),
        ("run M --target riscv64 --no-delegate --option nm=off", "takes neither --delegate nor --"),
        ("run M --no-delegate --option nm=off", "--no-delegate takes neither --delegate nor --opt"),
        ("profile M --vlen 256", "--vlen is for --target riscv64, got --target host"),
        ("tune M --vlen 512", "--vlen is for --target qemu, got --target native"),
    ],
)
def test_shapes_that_nobody_takes(
    arguments: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = any_image(tmp_path / "m.tflite")
    assert main([str(model) if word == "M" else word for word in arguments.split()]) == 1
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("text", ["", "axb", "1x", "1,2", "x=", "1x99999999999999999999"])
def test_what_is_no_shape_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "m.tflite", f"--shape={text}"])
    assert "--shape: expected a shape as 1x224x224x3, got" in capsys.readouterr().err


def test_names_of_a_file_may_have_any_sign(tmp_path: Path) -> None:
    """TensorFlow's have a colon; an equals sign is the last one."""
    model = any_image(tmp_path / "m.tflite")
    for name in (b"a=b:0", b"1x2\n"):
        path = tmp_path / "named.tflite"
        path.write_bytes(model.read_bytes().replace(b"image", name.ljust(5, b"_")))
        shape = f"{name.ljust(5, b'_').decode()}=1x5x5x3"
        assert main(["run", str(path), "--shape", shape]) == 0
