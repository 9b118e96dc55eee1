# SPDX-License-Identifier: BSD-3-Clause
"""What operators become: the cheapest form, nothing at all, or one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from drawn_integers import TABLED, Model, steps_of
from host_programs import HostPrograms, reference
from tflite_graph import Quantization, options

from nmpack.errors import ModelError
from nmpack.mcu.compiler import Program, compile_model
from nmpack.mcu.operators.boundary import thresholds
from nmpack.mcu.operators.fixed_point import VALUES, fitted_sum

IMAGE = [1, 4, 4, 8]
STEPS = Quantization([0.05], 3)


class Plain(Model):
    """A model whose inputs are the network's own."""

    def input(self, shape, steps, **_: bool) -> int:
        dtype = np.float32 if steps is None else np.int8
        self.inputs.append(self.graph.tensor(shape, dtype, steps))
        return self.inputs[-1]


def _compiled(folder: Path, build: Callable[[Plain], list[int]], seed: int = 0) -> Program:
    model = Plain(np.random.default_rng(seed))
    path = folder / f"model_{seed}.tflite"
    path.write_bytes(model.file(build(model))[1])
    return compile_model(path)


def _constant(model: Plain, shape, steps: Quantization = STEPS, low: int = -128) -> int:
    values = model.generator.integers(low, 128, shape).astype(np.int8)
    return model.graph.constant(values, steps)


def test_sums_of_drawn_scales_need_one_shift() -> None:
    generator = np.random.default_rng(3)
    missing = 0
    for _ in range(40):
        ratios = np.exp(generator.uniform(-2.5, 0.7, 2))
        zero = generator.uniform(-100, 100)
        real = VALUES[:, None] * ratios[0] + VALUES[None, :] * ratios[1] + zero
        table = np.clip(np.floor(real + 0.5), -128, 127).astype(np.int8)
        found = fitted_sum(table, float(ratios[0]), float(ratios[1]))
        missing += found is None
        if found is not None:
            sums = VALUES[:, None] * found["x_factor"] + VALUES[None, :] * found["y_factor"]
            sums += found["offset"]
            assert np.abs(sums).max() < 2**31
            result = np.clip(sums >> found["shift"], found["min"], found["max"])
            np.testing.assert_array_equal(result, table)
    assert missing <= 1


def test_a_table_that_is_no_sum_has_no_factors() -> None:
    table = np.random.default_rng(1).integers(-128, 128, (256, 256)).astype(np.int8)
    assert fitted_sum(table, 0.5, 0.5) is None


def test_thresholds_are_where_results_change() -> None:
    scale, zero_point = float(np.float32(0.037)), -11
    found = thresholds(scale, zero_point)
    bits = np.where(found < 0, found ^ 0x7FFFFFFF, found).astype(np.int32)
    at = bits.view(np.float32)

    def stored(values: np.ndarray) -> np.ndarray:
        steps = values / np.float32(scale)
        return np.sign(steps) * np.floor(np.abs(steps) + 0.5) + zero_point

    np.testing.assert_array_equal(stored(at), np.arange(-127, 128))
    np.testing.assert_array_equal(
        stored(np.nextafter(at, np.float32(-np.inf))), np.arange(-128, 127)
    )


@pytest.mark.parametrize("name", ["ADD", "MUL", "MAXIMUM", "SQUARED_DIFFERENCE"])
def test_an_operand_of_one_value_makes_a_table(tmp_path: Path, name: str) -> None:
    def build(model: Plain) -> list[int]:
        one = model.graph.constant(np.full((1, 1), 77, np.int8), STEPS)
        return model.add(name, [model.input(IMAGE, STEPS), one], [(IMAGE, STEPS)])

    (step,) = _compiled(tmp_path, build).steps
    assert (step.function, step.weight_bytes, step.in_place) == ("nm_lookup_s8", 256, 0)


def test_shapes_are_no_steps_and_constants_are_folded(tmp_path: Path) -> None:
    def build(model: Plain) -> list[int]:
        source = model.input([2, 32], STEPS)
        moved = model.add("RESHAPE", [source, model.list([8, 8])], [([8, 8], STEPS)])
        known = model.add(
            "TRANSPOSE", [_constant(model, [8, 8]), model.list([1, 0])], [([8, 8], STEPS)]
        )
        both = model.add("CONCATENATION", [*known, *known], [([16, 8], STEPS)],
                         options("ConcatenationOptions"))  # fmt: skip
        half = model.add(
            "SLICE", [*both, model.list([4, 0]), model.list([8, 8])], [([8, 8], STEPS)]
        )
        sums = model.add("ADD", [*half, *half], [([8, 8], steps_of(model.generator, 0.2))])
        ends = Quantization([0.3], -7)
        return model.add("ADD", [*moved, *sums], [([8, 8], ends)], options("AddOptions"))

    program = _compiled(tmp_path, build)
    assert [step.kind for step in program.steps] == ["ADD"]
    generator = np.random.default_rng(5)
    fed, wanted = reference(program, generator)
    assert HostPrograms(tmp_path, [program]).run([(0, fed)]) == [wanted]


def test_layer_norm_and_gelu_in_pieces(tmp_path: Path) -> None:
    """As a converter leaves them: eleven operators, tables where one operand is one value."""
    shape, row = [1, 6, 24], [1, 6, 1]

    def build(model: Plain) -> list[int]:
        def one(value: int, scale: float) -> int:
            return model.graph.constant(np.full((1,), value, np.int8), Quantization([scale], 0))

        def op(name: str, inputs: list[int], size: list[int], scale: float, zero: int = 0) -> int:
            return model.add(name, inputs, [(size, Quantization([scale], zero))], tables.get(name))[
                0
            ]

        tables = {"MEAN": options("ReducerOptions", keepDims=True)}
        x = model.input(shape, STEPS)
        mean = op("MEAN", [x, model.list([2])], row, 0.02)
        apart = op("SQUARED_DIFFERENCE", [x, mean], shape, 0.2, -128)
        variance = op("MEAN", [apart, model.list([-1])], row, 0.1, -128)
        moved = op("ADD", [variance, one(1, 1e-3)], row, 0.1, -128)
        factor = op("RSQRT", [moved], row, 0.01, -128)
        centred = op("SUB", [x, mean], shape, 0.05)
        normal = op("MUL", [centred, factor], shape, 0.02)
        gain = model.graph.constant(
            model.generator.integers(20, 127, [24]).astype(np.int8), Quantization([0.01], 0)
        )
        y = op("MUL", [normal, gain], shape, 0.02)
        half = op("MUL", [y, one(64, 1 / 128)], shape, 0.01)
        bent = model.add("TANH", [y], [(shape, Quantization([1 / 128], 0))])[0]
        return [op("MUL", [half, bent], shape, 0.01)]

    program = _compiled(tmp_path, build)
    assert len(program.steps) == 11
    generator = np.random.default_rng(5)
    vectors = [reference(program, generator) for _ in range(5)]
    networks = HostPrograms(tmp_path, [program])
    assert networks.run([(0, fed) for fed, _ in vectors]) == [wanted for _, wanted in vectors]


def _sum_of_tables(model: Plain) -> list[int]:
    x, y, z = TABLED
    inputs = [model.input([1, 64, 256, 4], x), model.input([1, 64, 256, 4], y)]
    return model.add("ADD", inputs, [([1, 64, 256, 4], z)], options("AddOptions"))


def test_sums_that_no_factors_give_are_those_of_two_tables(tmp_path: Path) -> None:
    program = _compiled(tmp_path, _sum_of_tables)
    assert [step.function for step in program.steps] == ["nm_table_sum_s8"]
    generator = np.random.default_rng(11)
    vectors = [reference(program, generator) for _ in range(4)]
    networks = HostPrograms(tmp_path, [program])
    assert networks.run([(0, fed) for fed, _ in vectors]) == [wanted for _, wanted in vectors]


def _add_of_far_scales(model: Plain) -> list[int]:
    far = Quantization([1e-9], 0)
    inputs = [model.input(IMAGE, STEPS), model.input(IMAGE, STEPS)]
    return model.add("ADD", inputs, [(IMAGE, far)], options("AddOptions"))


def _sum(model: Plain) -> list[int]:
    return model.add("SUM", [model.input(IMAGE, STEPS), model.list([1])], [([1, 4, 8], STEPS)])


def _concatenation_of_two_scales(model: Plain) -> list[int]:
    inputs = [model.input(IMAGE, STEPS), model.input(IMAGE, Quantization([0.06], 3))]
    return model.add(
        "CONCATENATION", inputs, [([2, 4, 4, 8], STEPS)], options("ConcatenationOptions")
    )


def _gather_outside(model: Plain) -> list[int]:
    inputs = [model.input(IMAGE, STEPS), model.list([0, 9])]
    return model.add("GATHER", inputs, [([2, 4, 4, 8], STEPS)], options("GatherOptions"))


def _softmax_of_another_scale(model: Plain) -> list[int]:
    table = options("SoftmaxOptions", beta=1.0)
    return model.add("SOFTMAX", [model.input(IMAGE, STEPS)], [(IMAGE, STEPS)], table)


def _window_that_does_not_fit(model: Plain) -> list[int]:
    table = options("Pool2DOptions", padding=schema.Padding.VALID, strideH=1, strideW=1,
                    filterHeight=5, filterWidth=1)  # fmt: skip
    return model.add("MAX_POOL_2D", [model.input(IMAGE, STEPS)], [([1, 1, 4, 8], STEPS)], table)


def _window_of_too_many_pixels(model: Plain) -> list[int]:
    table = options("Pool2DOptions", padding=schema.Padding.VALID, strideH=1, strideW=1,
                    filterHeight=4096, filterWidth=4096)  # fmt: skip
    image = model.input([1, 4096, 4096, 1], STEPS)
    return model.add("AVERAGE_POOL_2D", [image], [([1, 1, 1, 1], STEPS)], table)


def _matrices_that_do_not_fit(model: Plain) -> list[int]:
    inputs = [model.input([3, 4], STEPS), model.input([5, 6], STEPS)]
    return model.add("BATCH_MATMUL", inputs, [([3, 6], STEPS)], options("BatchMatMulOptions"))


def _axis_outside(model: Plain) -> list[int]:
    return model.add("MEAN", [model.input(IMAGE, STEPS), model.list([4])], [([1, 4, 8], STEPS)])


def _resized_past_the_end(model: Plain) -> list[int]:
    inputs = [model.input([1, 1, 1, 2], STEPS), model.list([97, 97])]
    return model.add("RESIZE_BILINEAR", inputs, [([1, 97, 97, 2], STEPS)],
                     options("ResizeBilinearOptions"))  # fmt: skip


def _order_of_too_few_axes(model: Plain) -> list[int]:
    inputs = [model.input(IMAGE, STEPS), model.list([0, 1, 2])]
    return model.add("TRANSPOSE", inputs, [(IMAGE, STEPS)])


def _float_operand(model: Plain) -> list[int]:
    inputs = [model.input(IMAGE, None), model.input(IMAGE, None)]
    return model.add("MUL", inputs, [(IMAGE, np.float32)], options("MulOptions"))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (_add_of_far_scales, r"ADD \(t2\): expected scales with a factor below 1 between them"),
        (_sum, r"SUM \(t2\): TFLite's reference kernel takes int8 for uint8"),
        (_concatenation_of_two_scales, r"expected one scale and zero point of all inputs"),
        (_gather_outside, r"GATHER \(t2\): expected places from 0 to 0, got 0 to 9"),
        (_softmax_of_another_scale, r"expected an output of scale 1/256 and zero point -128"),
        (_window_that_does_not_fit, r"a window of 5 does not fit into 4 pixels"),
        (_window_of_too_many_pixels, r"at most 16777215 pixels to average, got 4096 x 4096"),
        (_matrices_that_do_not_fit, r"expected an output of \[3, 6\] and 4 products"),
        (_axis_outside, r"MEAN \(t2\): expected axes of \[1, 4, 4, 8\], got \[4\]"),
        (_resized_past_the_end, r"1 pixels resized to 97 would read past the last one"),
        (_order_of_too_few_axes, r"expected an order of 4 axes, got \[0, 1, 2\]"),
        (_float_operand, r"expected x of int8, got float32: convert the network with --int8"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    tmp_path: Path, build: Callable[[Plain], list[int]], message: str
) -> None:
    with pytest.raises(ModelError, match=message) as error:
        _compiled(tmp_path, build)
    assert "\n" not in str(error.value)


def test_what_a_converter_leaves_in_float_is_a_table(tmp_path: Path) -> None:
    def build(model: Plain) -> list[int]:
        source = model.input(IMAGE, STEPS)
        real = model.add("DEQUANTIZE", [source], [(IMAGE, np.float32)])
        less = model.add("NEG", real, [(IMAGE, np.float32)])
        bent = model.add("TANH", less, [(IMAGE, np.float32)])
        one = model.add("QUANTIZE", less, [(IMAGE, Quantization([0.04], -9))])
        other = model.add("QUANTIZE", bent, [(IMAGE, Quantization([0.01], 2))])
        return model.add("MUL", [*one, *other], [(IMAGE, Quantization([0.03], 0))])

    program = _compiled(tmp_path, build)
    assert [step.function for step in program.steps][:2] == ["nm_lookup_s8", "nm_lookup_s8"]
    assert len(program.steps) == 3
    generator = np.random.default_rng(5)
    vectors = [reference(program, generator) for _ in range(5)]
    networks = HostPrograms(tmp_path, [program])
    assert networks.run([(0, fed) for fed, _ in vectors]) == [wanted for _, wanted in vectors]
