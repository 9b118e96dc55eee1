# SPDX-License-Identifier: BSD-3-Clause
"""Measure what each part of a model keeps for its backward pass, and where it can be cut.

Two passes over one sample. The first, without gradients, finds which values share storage and
which are changed in place: that decides where a cut is legal. The second runs each stage between
two cuts by itself, forward and backward, and reads the allocator: it never needs more memory than
the largest stage. The model, its buffers, its gradients and the random state are left as found.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nmpack.checkpointing import memory
from nmpack.checkpointing.chain import CheckpointingError
from nmpack.checkpointing.graph import Piece, Program, arguments_of, execute, uncached

# Cuts through several tensors are tried when a stage between simple cuts is larger than this share.
_LARGE_STAGE = 0.25


@dataclass(frozen=True, slots=True)
class Cut:
    """A legal place to cut: the values that live across it, and whether it is one tensor."""

    position: int
    values: tuple[str, ...]
    simple: bool


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of memory that a forward pass makes.

    ``born`` is the stage that makes it, ``saved`` the first stage whose backward pass needs it (or
    None), ``crosses`` the numbers of the cuts it lives across; ``nbytes`` is its storage's size,
    and that of its gradient where it has one.
    """

    nbytes: int
    born: int
    saved: int | None
    crosses: tuple[int, ...]
    differentiable: bool


@dataclass(frozen=True, slots=True)
class Stage:
    """What one stage, between two adjacent cuts, needs beside what was there before it.

    ``forward`` is the most bytes during its forward pass, ``stopped`` the same up to its last saved
    tensor, where a recomputation that ends in this stage stops (None: it saves nothing);
    ``backward`` the most bytes beyond the saved ones during its backward pass, incoming gradient
    included, parameters' gradients not; ``seconds`` is the time of its forward pass.
    """

    forward: int
    stopped: int | None
    backward: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Trace:
    """Stages, the cuts before each of them (the first is the input) and behind, and all blocks."""

    cuts: tuple[Cut, ...]
    stages: tuple[Stage, ...]
    blocks: tuple[Block, ...]
    mutated: tuple[str, ...]
    sized: bool

    @property
    def simple(self) -> bool:
        """Tell whether every cut is through one tensor: the chain of the linear algorithm."""
        return all(cut.simple for cut in self.cuts[1:-1])


def measure(
    model: nn.Module, program: Program, sample: Any, *, inside: bool | None = None
) -> Trace:
    """Measure ``model`` on ``sample`` (a tensor or a tuple of arguments) in training.

    ``inside`` says whether to cut where several tensors are alive, as inside a residual block;
    None does so only when what lies between two simple cuts is large.

    Raises:
        CheckpointingError: there is no legal cut.
    """
    arguments = arguments_of(sample)
    with uncached(), _untouched(model) as (mutated, before):
        cuts = _cuts(model, program, arguments, inside)
        # The first pass ran the model once; the second starts where the first did.
        before()
        stages, blocks = _stages(model, program, arguments, cuts)
    return Trace(cuts, stages, blocks, tuple(mutated), program.sized)


@contextmanager
def _untouched(model: nn.Module) -> Iterator[tuple[list[str], Any]]:
    """Restore buffers, gradients and random state; yields the buffers that changed, at the end."""
    saved = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    devices = sorted({t.device.index or 0 for t in model.parameters() if t.is_cuda})
    mutated: list[str] = []

    def restore() -> None:
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                if not _same(buffer, saved[name]):
                    if name not in mutated:
                        mutated.append(name)
                    buffer.copy_(saved[name])

    for parameter, _ in gradients:
        parameter.grad = None
    try:
        with torch.random.fork_rng(devices=devices):
            yield mutated, restore
    finally:
        restore()
        for parameter, gradient in gradients:
            parameter.grad = gradient


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(((a == b) | ((a != a) & (b != b))).all())


def _cuts(
    model: nn.Module, program: Program, arguments: Sequence[Any], inside: bool | None
) -> tuple[Cut, ...]:
    """Run once without gradients and return the cuts to use, from the input to the output."""
    count = len(program.operations)
    lives = [program.live(position) for position in range(count + 1)]
    owned = {tensor.untyped_storage()._cdata for tensor in _tensors(model)}
    values: dict[Any, Any] = dict(zip(program.inputs, arguments, strict=True))
    storage: dict[Any, int] = {}  # value -> number of its storage
    sizes: list[int] = []
    spoiled: set[tuple[int, int]] = set()  # (operation, storage changed by it)
    kinds: dict[Any, str] = {}

    def look(node: Any) -> Any:
        return execute(model, node, look) if node.op == "get_attr" else values[node]

    def enter(node: Any, value: Any) -> None:
        values[node] = value
        kinds[node] = "other" if not isinstance(value, int | float | bool | None) else "number"
        if isinstance(value, torch.Tensor):
            key = value.untyped_storage()._cdata
            kinds[node] = "owned" if key in owned else "tensor"
            alias = next(
                (
                    storage[other]
                    for other, known in values.items()
                    if other in storage and known.untyped_storage()._cdata == key
                ),
                None,
            )
            if alias is None:
                alias = len(sizes)
                sizes.append(value.untyped_storage().nbytes())
            storage[node] = alias

    for node, value in list(values.items()):
        enter(node, value)
    with torch.no_grad():
        for index, node in enumerate(program.operations):
            versions = {n: v._version for n, v in values.items() if n in storage}
            result = execute(model, node, look)
            spoiled |= {
                (index, storage[n]) for n, was in versions.items() if values[n]._version != was
            }
            enter(node, result)
            del result
            alive = set(lives[index + 1])
            values = {n: v for n, v in values.items() if n in alive}
    inputs = {storage[node] for node in program.inputs if node in storage}
    if any(number in inputs for _, number in spoiled):
        raise CheckpointingError("expected a model that keeps its input, got one that changes it")

    cuts: list[Cut] = []
    previous: frozenset[int] = frozenset()
    for position in range(1, count):
        live = lives[position]
        across = frozenset(storage[n] for n in live if n in storage) - inputs
        illegal = (
            not across
            or across == previous
            or any(kinds[n] in ("other", "owned") for n in live)
            or any(index >= position and number in across for index, number in spoiled)
        )
        if not illegal:
            names = tuple(n.name for n in live)
            cuts.append(Cut(position, names, len(across) == 1 and len(names) == 1))
            previous = across
    first = Cut(0, tuple(n.name for n in lives[0]), simple=True)
    last = Cut(count, tuple(n.name for n in lives[count]), simple=True)
    simple = [cut for cut in cuts if cut.simple]
    if inside is None:
        inside = _largest(simple, program, storage, sizes) > _LARGE_STAGE
    chosen = cuts if inside else simple
    if not chosen:
        raise CheckpointingError(
            f"{type(model).__name__} has no legal cut point: expected a place between two "
            "operations that tensors cross unchanged, got none"
        )
    return (first, *chosen, last)


def _largest(
    cuts: Sequence[Cut], program: Program, storage: dict[Any, int], sizes: Sequence[int]
) -> float:
    """Return the share of all outputs that lies in the largest stage between ``cuts``."""
    bounds = [0, *(cut.position for cut in cuts), len(program.operations)]
    made: dict[int, int] = {}
    for index, node in enumerate(program.operations):
        if node in storage:
            made.setdefault(storage[node], index)
    totals = [
        sum(sizes[number] for number, index in made.items() if start <= index < stop)
        for start, stop in itertools.pairwise(bounds)
    ]
    return max(totals) / max(1, sum(totals))


class _Source(torch.autograd.Function):
    """End of a stage: takes its outputs, and makes their gradients when asked, as a stage would."""

    @staticmethod
    def forward(ctx: Any, *outputs: torch.Tensor) -> torch.Tensor:
        ctx.like = [(o.shape, o.stride(), o.dtype, o.device) for o in outputs]
        return outputs[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: torch.Tensor) -> Any:
        return tuple(
            torch.empty_strided(shape, stride, dtype=dtype, device=device).zero_()
            for shape, stride, dtype, device in ctx.like
        )


@dataclass(slots=True)
class _Saved:
    """Storages that a stage's backward pass needs: their keys and sizes."""

    sizes: dict[int, int]
    last: int = 0

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        self.last = time.time_ns()
        storage = tensor.untyped_storage()
        self.sizes[storage._cdata] = storage.nbytes()
        return tensor.detach()


def _stages(
    model: nn.Module, program: Program, arguments: Sequence[Any], cuts: Sequence[Cut]
) -> tuple[tuple[Stage, ...], tuple[Block, ...]]:
    device = next((t.device for t in (*arguments, *model.parameters()) if _is_tensor(t)), None)
    if device is None:
        raise CheckpointingError("expected a sample with a tensor, got none")
    values: dict[Any, Any] = dict(zip(program.inputs, arguments, strict=True))
    numbers: dict[Any, int] = {}  # value -> block number; inputs have none
    blocks: list[dict[str, Any]] = []
    outcomes: list[_Outcome] = []
    with memory.record(device) as recording:
        for stage, (cut, following) in enumerate(itertools.pairwise(cuts)):
            piece = program.piece(model, cut.position, following.position)
            live = set(program.live(following.position))
            passing = sum(
                values[n].untyped_storage().nbytes()
                for n in live
                if n in numbers and values[n].requires_grad
            )
            outcome = _run(model, piece, values, numbers, blocks, stage, recording)
            outcome.passing = passing
            outcomes.append(outcome)
            values = {n: v for n, v in values.items() if n in live}
            for node in values:
                if node in numbers:
                    crossed = blocks[numbers[node]]["crosses"]
                    if stage + 1 not in crossed:
                        crossed.append(stage + 1)
    stages = _read(recording, outcomes, blocks)
    return stages, tuple(
        Block(b["nbytes"], b["born"], b["saved"], tuple(b["crosses"]), b["differentiable"])
        for b in blocks
    )


@dataclass(slots=True)
class _Outcome:
    """What a stage's run tells beside the recording.

    ``last`` is the moment of its last saved tensor (0: none), ``kept`` the bytes of outputs that it
    saved itself, ``copies`` those of the copies for the next stage, ``addresses`` are of the
    parameters' gradients, ``passing`` the bytes that cross it, whose gradients wait meanwhile.
    """

    last: int
    kept: int
    copies: int
    addresses: set[int]
    passing: int = 0


def _run(
    model: nn.Module,
    piece: Piece,
    values: dict[Any, Any],
    numbers: dict[Any, int],
    blocks: list[dict[str, Any]],
    stage: int,
    recording: memory.Recording,
) -> _Outcome:
    """Run one stage forward and backward."""
    given = [execute(model, n, _none) if n.op == "get_attr" else values[n] for n in piece.taken]
    for item in given:
        if _is_tensor(item) and item.requires_grad:
            item.grad = None
    keys = {
        item.untyped_storage()._cdata: numbers.get(node)
        for node, item in zip(piece.taken, given, strict=True)
        if _is_tensor(item)
    }
    owned = {tensor.untyped_storage()._cdata for tensor in _tensors(model)}
    saved = _Saved({})
    synchronize(given)
    recording.mark("forward")
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(saved.pack, _as_it_is):
        outputs = piece.module(*given)
    synchronize(given)
    recording.mark("forward end")

    saved_here = {key: size for key, size in saved.sizes.items() if key not in owned}
    for key in saved_here.keys() & keys.keys():
        number = keys[key]
        if number is not None and blocks[number]["saved"] is None:
            blocks[number]["saved"] = stage
    kept = copies = 0
    mine: dict[int, int] = {}
    for node, output in zip(piece.given, outputs, strict=True):
        if not _is_tensor(output):
            values[node] = output
            continue
        key, size = output.untyped_storage()._cdata, output.untyped_storage().nbytes()
        # A copy goes on, so that the original lives as long as a real step keeps it.
        values[node] = output.detach().clone().requires_grad_(output.requires_grad)
        copies += values[node].untyped_storage().nbytes()
        if key in keys:
            known = keys[key]
            if known is not None:
                numbers[node] = known
            continue
        if key not in mine:
            mine[key] = len(blocks)
            is_saved = key in saved_here
            kept += size if is_saved else 0
            blocks.append(
                {
                    "nbytes": size,
                    "born": stage,
                    "saved": stage if is_saved else None,
                    "crosses": [],
                    "differentiable": output.requires_grad,
                }
            )
        numbers[node] = mine[key]

    sinks = [o for o in outputs if _is_tensor(o) and o.requires_grad]
    end = _Source.apply(*sinks) if sinks else None  # type: ignore[no-untyped-call]
    output = None
    del outputs, sinks, output
    synchronize(given)
    recording.mark("backward")
    if end is not None:
        end.backward()
    del end
    synchronize(given)
    recording.mark("backward end")
    # What is left are the gradients of parameters and of this stage's inputs.
    addresses = memory.parameter_gradients(model)
    for parameter in model.parameters():
        parameter.grad = None
    for item in given:
        if _is_tensor(item):
            item.grad = None
    return _Outcome(saved.last, kept, copies, addresses)


def _read(
    recording: memory.Recording, outcomes: Sequence[_Outcome], blocks: list[dict[str, Any]]
) -> tuple[Stage, ...]:
    """Turn the recording into stages, and add to ``blocks`` what stages save inside."""
    stages = []
    for number, outcome in enumerate(outcomes):
        marks = recording.marks[4 * number : 4 * number + 4]
        start, forward_end, backward, end = (moment for _, moment in marks)

        def gradient(
            item: memory.Allocation,
            window: tuple[int, int] = (backward, end),
            addresses: set[int] = outcome.addresses,
        ) -> bool:
            lasts = item.end is None or item.end > window[1]
            return item.address in addresses and lasts and window[0] <= item.begin <= window[1]

        points = recording.curve(gradient, start, end)
        before, most, _ = memory.peak(points, start, forward_end)
        stopped = memory.peak(points, start, outcome.last)[1] - before if outcome.last else None
        at, highest, _ = memory.peak(points, backward, end)
        inner = max(0, at - before - outcome.copies - outcome.kept)
        blocks.append(
            {
                "nbytes": inner,
                "born": number,
                "saved": number,
                "crosses": [],
                "differentiable": False,
            }
        )
        seconds = (forward_end - start) / 1e9
        stages.append(Stage(most - before, stopped, highest - at + outcome.passing, seconds))
    return tuple(stages)


def synchronize(tensors: Sequence[Any]) -> None:
    """Wait for CUDA, where there is any."""
    for device in {t.device for t in tensors if _is_tensor(t) and t.is_cuda}:
        torch.cuda.synchronize(device)


def _none(node: Any) -> Any:
    raise AssertionError(f"an attribute has no argument {node}")


def _as_it_is(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _tensors(model: nn.Module) -> Iterator[torch.Tensor]:
    yield from model.parameters()
    yield from model.buffers()
