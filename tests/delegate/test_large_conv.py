# SPDX-License-Identifier: BSD-3-Clause
"""Convolutions whose windows have 2^31 elements or more: the interpreter's kernel refuses them.

XNNPACK runs them, built into the interpreter and as our delegate.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import parity
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType, load_delegate
from tflite_graph import Graph, options

from nmpack.runtime.interpreter import find_delegate
from nmpack.tune.layers import layers_of

pytestmark = pytest.mark.delegate
KERNEL, CHANNELS = 31, 22


def large(size: int) -> bytes:
    """Return a convolution of 31x31 on ``size`` x ``size`` pixels, three of four columns zero."""
    random = np.random.default_rng(parity.SEED)
    weights = random.normal(size=(4, KERNEL, KERNEL, CHANNELS)).astype(np.float32)
    weights.reshape(4, -1)[:, np.arange(weights[0].size) % 4 != 0] = 0
    graph = Graph()
    x = graph.tensor((1, size, size, CHANNELS))
    graph.tensors[x].shapeSignature = [1, -1, -1, CHANNELS]
    constants = [graph.constant(weights), graph.constant(np.ones(4, np.float32))]
    how = options("Conv2DOptions", padding=0, strideH=1, strideW=1, dilationHFactor=1,
                  dilationWFactor=1, fusedActivationFunction=0)  # fmt: skip
    y = graph.add("CONV_2D", [x, *constants], graph.tensor((1, size, size, 4)), how)
    return graph.model([x], [y])


def opened(model: bytes, *, delegated: dict[str, str] | None, plain: bool) -> Any:
    kinds = OpResolverType
    return Interpreter(
        model_content=model,
        experimental_delegates=None
        if delegated is None
        else [load_delegate(str(find_delegate()), delegated)],
        experimental_op_resolver_type=kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        if plain
        else kinds.AUTO,
    )


def output(interpreter: Any, image: np.ndarray) -> list[np.ndarray]:
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return [interpreter.get_tensor(interpreter.get_output_details()[0]["index"])]


@pytest.mark.parametrize("nm", ["force", "off"])
def test_it_runs_as_in_the_interpreters_own_xnnpack(nm: str) -> None:
    size = 320
    assert KERNEL**2 * CHANNELS * size**2 >= 1 << 31
    model = large(size)
    shape = (1, size, size, CHANNELS)
    image = np.random.default_rng(parity.SEED).uniform(-1, 1, shape).astype(np.float32)
    expected = output(opened(model, delegated=None, plain=False), image)
    got = output(opened(model, delegated={"nm": nm, "num_threads": "2"}, plain=True), image)
    assert not parity.difference(got, expected, 1e-4)
    with pytest.raises(RuntimeError, match="im2col"):
        opened(model, delegated=None, plain=True).allocate_tensors()


def test_it_is_tuned_where_its_size_is_open(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(large(8))
    (found,) = layers_of(path, shapes=(1, 320, 320, CHANNELS)).layers
    assert (found.layer.input_height, found.layer.input_width) == (320, 320)


def test_where_xnnpack_has_no_room_either_the_kernel_says_why() -> None:
    """After a resize the same interpreter goes on."""
    interpreter = opened(large(8), delegated={}, plain=True)
    index = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(index, (1, 400, 400, CHANNELS))
    with pytest.raises(RuntimeError, match="im2col"):
        interpreter.allocate_tensors()
    interpreter.resize_tensor_input(index, (1, 8, 8, CHANNELS))
    image = np.ones((1, 8, 8, CHANNELS), np.float32)
    stock = output(opened(large(8), delegated=None, plain=True), image)
    assert not parity.difference(output(interpreter, image), stock, 1e-4)
