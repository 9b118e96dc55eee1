# SPDX-License-Identifier: BSD-3-Clause
"""Files whose subgraphs share filters, rewritten: stored sparsely, or pruned."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from subgraph_files import Model, Part, branches, convolve, filters, shared, two_signatures

from nmpack.errors import ModelError
from nmpack.rvv.variants import Variant, prune_file
from nmpack.sparsity.detection import detect_pattern
from nmpack.sparsity.pattern import NMPattern
from nmpack.tflite.file import TFLiteFile
from nmpack.tflite.operator_codes import DENSIFY
from nmpack.tflite.storage import to_sparse_storage

RESOLVERS = [
    OpResolverType.AUTO,
    OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    OpResolverType.BUILTIN_REF,
]


def written(model: Model, folder: Path) -> Path:
    """Write a model."""
    path = folder / "model.tflite"
    path.write_bytes(model.packed())
    return path


def outputs(path: Path, resolver: Any, *inputs: dict[str, Any]) -> dict[str, list[np.ndarray]]:
    """Run every signature with each of the inputs that fit it."""
    interpreter = Interpreter(str(path), experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    found = {}
    for key in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(key)
        shapes = {name: tuple(item["shape"]) for name, item in runner.get_input_details().items()}
        fitting = [
            values for values in inputs
            if {name: np.shape(value) for name, value in values.items()} == shapes
        ]  # fmt: skip
        found[key] = [runner(**values)["out0"].copy() for values in fitting]
    return found


def image(size: int) -> np.ndarray:
    """Draw an image of 32 channels."""
    return np.random.default_rng(size).normal(size=(1, size, size, 32)).astype(np.float32)


def stated(operator: Any) -> dict[str, Any]:
    """Return an operator's options by name."""
    return vars(operator.builtinOptions) if operator.builtinOptions is not None else {}


def test_a_shared_filter_is_stored_once_and_unpacked_by_each(tmp_path: Path) -> None:
    source, target = written(two_signatures(), tmp_path), tmp_path / "sparse.tflite"
    report = to_sparse_storage(source, target)
    # The two filters that are pruned, one of them shared; the unpruned one stays.
    assert (len(report.stored), report.kept) == (2, 1)
    assert report.before - report.after > 2 * 0.7 * filters(0).nbytes
    old, new = TFLiteFile(source), TFLiteFile(target)
    for one, two in zip(old.convolutions, new.convolutions, strict=True):
        assert one.weights is not None
        assert two.weights is not None
        assert np.array_equal(old.array(one.weights), new.array(two.weights))
    weights = [item.weights for item in new.convolutions]
    assert [item.sparse for item in weights] == [True, True, True, False]
    assert weights[0].buffer == weights[2].buffer != weights[1].buffer
    assert all(new.span(item)[0] % 16 == 0 for item in weights)
    codes = [[item.code for item in graph.operators] for graph in new.subgraphs]
    assert [kinds.count(DENSIFY) for kinds in codes] == [2, 1]
    assert [kinds[: kinds.count(DENSIFY)] for kinds in codes] == [[DENSIFY] * 2, [DENSIFY]]


@pytest.mark.parametrize("resolver", RESOLVERS, ids=lambda item: item.name)
@pytest.mark.parametrize("make", [two_signatures, branches])
def test_every_signature_and_branch_computes_the_same(
    make: Callable[[], Model], resolver: Any, tmp_path: Path
) -> None:
    source, target = written(make(), tmp_path), tmp_path / "sparse.tflite"
    assert to_sparse_storage(source, target).after < 0.6 * source.stat().st_size
    inputs: list[dict[str, Any]] = [{"in0": image(8)}, {"in0": image(6)}]
    inputs += [{"in0": np.array([flag]), "in1": image(8)} for flag in (True, False, True)]
    expected, found = (outputs(path, resolver, *inputs) for path in (source, target))
    assert sum(map(len, expected.values())) == (2 if make is two_signatures else 3)
    for key, values in expected.items():
        for one, two in zip(values, found[key], strict=True):
            np.testing.assert_allclose(two, one, rtol=0, atol=1e-5 * np.abs(one).max())
    if make is branches:
        first, second, third = found["serving_default"]
        assert np.abs(second - 2 * first).max() < 1e-4 * np.abs(first).max()
        assert np.array_equal(third, first)


def test_all_else_in_the_file_stays(tmp_path: Path) -> None:
    model = two_signatures()
    model.first.constant(np.arange(9, dtype=np.int32))
    model.metadata = [("note", len(model.first.buffers) - 1)]
    source, target = written(model, tmp_path), tmp_path / "sparse.tflite"
    to_sparse_storage(source, target)
    old, new = (schema.ModelT.InitFromPackedBuf(p.read_bytes(), 0) for p in (source, target))
    note = new.buffers[new.metadata[0].buffer].data
    assert np.array_equal(note.view(np.int32), np.arange(9))
    for one, two in zip(old.signatureDefs, new.signatureDefs, strict=True):
        assert (one.signatureKey, one.subgraphIndex) == (two.signatureKey, two.subgraphIndex)
        for maps in ("inputs", "outputs"):
            pairs = zip(getattr(one, maps), getattr(two, maps), strict=True)
            assert all((a.name, a.tensorIndex) == (b.name, b.tensorIndex) for a, b in pairs)
    for one, two in zip(old.subgraphs, new.subgraphs, strict=True):
        assert (one.name, list(one.inputs), list(one.outputs)) == (
            two.name, list(two.inputs), list(two.outputs),
        )  # fmt: skip
        assert [item.name for item in one.tensors] == [
            item.name for item in two.tensors[: len(one.tensors)]
        ]
        operators = two.operators[len(two.operators) - len(one.operators) :]
        for a, b in zip(one.operators, operators, strict=True):
            assert (a.opcodeIndex, list(a.inputs), list(a.outputs)) == (
                b.opcodeIndex, list(b.inputs), list(b.outputs),
            )  # fmt: skip
            assert stated(a) == stated(b)


def test_a_filter_that_something_else_reads_stays(tmp_path: Path) -> None:
    """It could not be left out of the file, so sparse storage would come on top."""
    model = two_signatures()
    decode = model.parts[1].graph
    weights = decode.tensors[1]
    extra = decode.tensor(weights.shape, buffer=weights.buffer)
    total = decode.add("NEG", [extra], decode.tensor(weights.shape))
    model.parts[1].outputs = [*model.parts[1].outputs, total]
    source = written(model, tmp_path)
    report = to_sparse_storage(source, tmp_path / "sparse.tflite")
    assert (len(report.stored), report.kept) == (1, 3)
    expected, found = (
        outputs(path, RESOLVERS[1], {"in0": image(8)}, {"in0": image(6)})
        for path in (source, tmp_path / "sparse.tflite")
    )
    assert np.array_equal(expected["decode"][0], found["decode"][0])


def test_one_buffer_of_two_shapes_and_an_output_stay(tmp_path: Path) -> None:
    model = two_signatures()
    decode = model.parts[1].graph
    decode.tensors[1].shape = [96, 3, 1, 32]
    bias = decode.constant(np.zeros(96, np.float32))
    decode.operators[0].inputs[2] = bias
    model.parts[0].outputs = [*model.parts[0].outputs, 5]
    report = to_sparse_storage(written(model, tmp_path), tmp_path / "sparse.tflite")
    assert (report.stored, report.kept) == ((), 4)
    assert (tmp_path / "sparse.tflite").read_bytes() == (tmp_path / "model.tflite").read_bytes()


def test_what_would_be_lost_is_refused(tmp_path: Path) -> None:
    source, target = written(two_signatures(), tmp_path), tmp_path / "sparse.tflite"
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr("labels.txt", "cat\ndog\n")
    with pytest.raises(ModelError, match="files packed behind the model would be lost"):
        to_sparse_storage(source, target)
    model = two_signatures()
    model.metadata = [("model_control_dependencies", 0)]
    with pytest.raises(ModelError, match="operators that state their order"):
        to_sparse_storage(written(model, tmp_path), target)
    assert not target.exists()


def test_many_sharers_repeat_only_the_indices(tmp_path: Path) -> None:
    """Each of forty subgraphs states segments and channels: at some number it is not worth it."""
    sizes = {}
    for count in (1, 4, 40):
        model = Model()
        first = model.graph()
        weights = first.constant(filters(0, 8, 8) * (np.arange(8) % 4 == 0).reshape(8, 1, 1, 1))
        for index in range(count):
            graph = model.graph() if index else first
            own = shared(graph, first, weights) if index else weights
            x = graph.tensor((1, 4, 4, 8))
            model.parts.append(Part(graph, [x], [convolve(graph, x, own, 4, 8)]))
        source = written(model, tmp_path)
        sizes[count] = to_sparse_storage(source, tmp_path / "sparse.tflite")
    assert [len(sizes[count].stored) for count in (1, 4, 40)] == [1, 1, 0]
    assert sizes[40].after == sizes[40].before


def test_pruning_a_copy_keeps_the_first_convolution_of_every_signature(tmp_path: Path) -> None:
    model = two_signatures()
    for buffer in model.first.buffers:
        if buffer.data is not None and len(buffer.data) > 4 * 32:
            buffer.data = filters(5, pruned=False).reshape(-1).view(np.uint8)
    source, target = written(model, tmp_path), tmp_path / "pruned.tflite"
    # The shared filter is the first of both; decode's own is the same numbers, elsewhere.
    assert prune_file(source, target, NMPattern.from_density(0.25, tile=32)) == 2
    file = TFLiteFile(target)
    dense = [detect_pattern(file.array(item.weights)).tile == 0 for item in file.convolutions]
    assert dense == [True, False, True, False]


def test_pruning_a_copy_prunes_the_bodies_of_control_flow(tmp_path: Path) -> None:
    model = branches()
    buffer = model.parts[1].graph.tensors[1].buffer
    model.first.buffers[buffer].data = filters(5, pruned=False).reshape(-1).view(np.uint8)
    source, target = written(model, tmp_path), tmp_path / "pruned.tflite"
    assert prune_file(source, target, NMPattern.from_density(0.25, tile=32)) == 1
    file = TFLiteFile(target)
    fits = [detect_pattern(file.array(item.weights)) for item in file.convolutions]
    assert [fit.element_density for fit in fits] == [0.25, 0.25]


@pytest.mark.riscv64
def test_what_is_counted_is_the_first_subgraph(tmp_path: Path) -> None:
    from nmpack.rvv.measure import measure

    model = two_signatures()
    other = model.parts[0].graph.tensor((1, 2, 2, 32))
    model.parts[0].graph.tensors[other].name = "same"
    found = measure(written(model, tmp_path), Variant("nmpack"), vlen=256, prices=None)
    assert found.note == ""
    assert [row.size for row in found.rows if row.convolution] == [(8, 8), (8, 8)]
    main = branches()
    found = measure(written(main, tmp_path), Variant("nmpack"), vlen=256, prices=None)
    assert found.note.startswith("the model runs other subgraphs in loops or branches")
    assert not any(row.convolution for row in found.rows)
