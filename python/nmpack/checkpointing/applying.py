# SPDX-License-Identifier: BSD-3-Clause
"""Run a model's training step in the segments of a plan, on ``torch.utils.checkpoint``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from nmpack.checkpointing.chain import CheckpointingError
from nmpack.checkpointing.graph import Piece, trace
from nmpack.checkpointing.planning import Plan, memory_budget, plan, shapes_of

# Called with "segment" or "recompute" and the segment's number when either begins.
Observer = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class _Part:
    """A segment that can run; values are known by name, ``attributes`` are the model's own."""

    module: nn.Module
    number: int
    recomputed: bool
    taken: tuple[str, ...]
    attributes: tuple[Callable[[], Any] | None, ...]
    given: tuple[str, ...]
    dropped: tuple[str, ...]
    buffers: tuple[tuple[nn.Module, str], ...]


_Prepared = tuple[tuple[str, ...], list[_Part], _Part]


class Checkpointed:
    """The forward pass of a model under a plan; :func:`apply_` puts it in the model's place.

    It holds no layer of its own: ``state_dict``, ``to``, ``deepcopy``, pickling and DDP see the
    model as it was.
    """

    def __init__(self, model: nn.Module, chosen: Plan) -> None:
        """Prepare ``model`` for the plan ``chosen``."""
        self.model = model
        self.plan = chosen
        self.observer: Observer | None = None
        self._parts: dict[Any, _Prepared] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is made again from the model and the plan."""
        return {"model": self.model, "plan": self.plan, "observer": None, "_parts": {}}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model: in segments when it trains, else as before."""
        model = self.model
        if not (model.training and torch.is_grad_enabled()):
            return type(model).forward(model, *args, **kwargs)
        if kwargs or len(args) != len(self.plan.program.shapes):
            raise CheckpointingError(
                f"expected {len(self.plan.program.shapes)} positional arguments as in the plan's "
                f"sample, got {len(args)} and {len(kwargs)} by name"
            )
        inputs, parts, last = self.prepare(args)
        values: dict[str, Any] = dict(zip(inputs, args, strict=True))
        compiling = torch.compiler.is_compiling()
        for part in parts:
            taken = _taken(part, values)
            for name in part.dropped:
                del values[name]
            if part.recomputed and compiling:
                # The compiler recomputes without a second side effect by itself.
                results = checkpoint(part.module, *taken, use_reentrant=False)
            elif part.recomputed:
                contexts = partial(self._contexts, part)
                self._observe("segment", part.number)
                results = checkpoint(part.module, *taken, use_reentrant=False, context_fn=contexts)
            else:
                if not compiling:
                    self._observe("segment", part.number)
                results = part.module(*taken)
            del taken
            values.update(zip(part.given, results, strict=True))
            del results
        return last.module(*_taken(last, values))

    def prepare(self, arguments: tuple[Any, ...]) -> _Prepared:
        """Return input names, parts and what makes the output; traced at the first use.

        Raises:
            CheckpointingError: the model is no longer the one that was planned for.
        """
        key = shapes_of(arguments) if self.plan.trace.sized else ()
        if key not in self._parts:
            self._parts[key] = self._build(arguments)
        return self._parts[key]

    def _build(self, arguments: tuple[Any, ...]) -> _Prepared:
        model, chosen = self.model, self.plan
        program = trace(model, arguments)
        if tuple(node.name for node in program.operations) != chosen.program.operations:
            raise CheckpointingError(
                "expected the forward pass that was planned for, got another; plan again"
            )
        mutated = set(chosen.program.mutated)
        parts = []
        for number, bound in enumerate(chosen.bounds):
            piece = program.piece(model, bound.start, bound.stop)
            stay = set(program.live(bound.stop))
            alive = (*program.live(bound.start),)
            layers = {node.target for node in piece.module.graph.nodes if node.op == "call_module"}
            buffers = [
                (layer, name)
                for path, layer in model.named_modules()
                for name in layer._buffers
                if f"{path}.{name}".lstrip(".") in mutated
                and any(path == target or path.startswith(f"{target}.") for target in layers)
            ]
            parts.append(
                _Part(
                    piece.module,
                    number,
                    bound.recomputed,
                    tuple(node.name for node in piece.taken),
                    _attributes(model, piece),
                    tuple(node.name for node in piece.given),
                    tuple(node.name for node in alive if node not in stay),
                    tuple(buffers),
                )
            )

        end = program.output(model)
        last = _Part(
            end.module,
            len(parts),
            False,
            tuple(node.name for node in end.taken),
            _attributes(model, end),
            (),
            (),
            (),
        )
        return tuple(node.name for node in program.inputs), parts, last

    def _contexts(
        self, part: _Part
    ) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Return the contexts of a segment's forward pass and of its recomputation."""
        before = [_buffer(layer, name).detach().clone() for layer, name in part.buffers]
        return nullcontext(), self._recomputing(part, before)

    def _recomputing(self, part: _Part, before: list[torch.Tensor]) -> AbstractContextManager[None]:
        return _Again(lambda: self._swapped(part, before))

    @contextmanager
    def _swapped(self, part: _Part, before: list[torch.Tensor]) -> Iterator[None]:
        """Let the segment find its buffers as they were and change copies: they count once."""
        self._observe("recompute", part.number)
        now = [layer._buffers[name] for layer, name in part.buffers]
        try:
            for (layer, name), buffer in zip(part.buffers, before, strict=True):
                layer._buffers[name] = buffer.clone()
            yield
        finally:
            for (layer, name), kept in zip(part.buffers, now, strict=True):
                layer._buffers[name] = kept

    def _observe(self, what: str, number: int) -> None:
        if self.observer is not None:
            self.observer(what, number)


class _Again(AbstractContextManager[None]):
    """A context that can be entered many times: a graph may be propagated back more than once."""

    def __init__(self, make: Callable[[], AbstractContextManager[None]]) -> None:
        self._make = make
        self._open: list[AbstractContextManager[None]] = []

    def __enter__(self) -> None:
        self._open.append(self._make())
        self._open[-1].__enter__()

    def __exit__(self, *error: Any) -> bool | None:
        return self._open.pop().__exit__(*error)


def apply_(model: nn.Module, chosen: Plan) -> nn.Module:
    """Train ``model`` in the segments of a plan from now on, in place; returns ``model``.

    Outputs, gradients, batch-norm statistics and the random state are the same as without, bit for
    bit on CPU. Parameters and their names do not change. Applying again replaces the plan. Wrap in
    DDP or ``torch.compile`` afterwards. Hooks of modules other than torch's own layers are not
    called by the segments, and ``nn.DataParallel`` is not supported.

    Raises:
        CheckpointingError: the model is not the one that was planned for.
    """
    if "forward" in vars(model) and applied(model) is None:
        raise CheckpointingError("expected a model with its own forward pass, got a replaced one")
    runner = Checkpointed(model, chosen)
    key = chosen.program
    if None not in key.types or not chosen.trace.sized:
        # Shapes are all that a trace needs; other arguments are seen at the first step.
        tensors = [*model.parameters(), *model.buffers()]
        device = tensors[0].device if tensors else torch.device("cpu")
        pairs = zip(key.shapes, key.types, strict=True)
        runner.prepare(tuple(torch.empty(s, dtype=t, device=device) for s, t in pairs))
    object.__setattr__(model, "forward", runner.forward)
    return model


def remove_(model: nn.Module) -> nn.Module:
    """Take the plan away again, in place; returns ``model``."""
    if applied(model) is not None:
        vars(model).pop("forward")
    return model


def applied(model: nn.Module) -> Checkpointed | None:
    """Return what runs ``model`` in segments, or None."""
    owner = getattr(vars(model).get("forward"), "__self__", None)
    return owner if isinstance(owner, Checkpointed) else None


def fit_(model: nn.Module, sample: Any, memory: str | int = "auto") -> Plan:
    """Make ``model`` train within ``memory`` by the least recomputation, in place.

    ``memory`` is ``auto`` or bytes of activations, see :func:`.planning.memory_budget`. When no
    recomputation is needed none is done.

    Raises:
        CheckpointingError: the budget cannot be met; the message says the least that can.
    """
    chosen = plan(model, sample, budget=memory_budget(model, memory))
    apply_(model, chosen)
    return chosen


def _attribute(model: nn.Module, path: str) -> Any:
    found: Any = model
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _buffer(layer: nn.Module, name: str) -> torch.Tensor:
    buffer = layer._buffers[name]
    assert buffer is not None
    return buffer


def _attributes(model: nn.Module, piece: Piece) -> tuple[Callable[[], Any] | None, ...]:
    return tuple(
        partial(_attribute, model, str(node.target)) if node.op == "get_attr" else None
        for node in piece.taken
    )


def _taken(part: _Part, values: dict[str, Any]) -> list[Any]:
    return [
        values[name] if attribute is None else attribute()
        for name, attribute in zip(part.taken, part.attributes, strict=True)
    ]
