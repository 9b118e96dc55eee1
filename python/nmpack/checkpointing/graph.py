# SPDX-License-Identifier: BSD-3-Clause
"""A model as a straight line of operations, and pieces of that line as modules."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import parametrize

from nmpack.checkpointing.chain import CheckpointingError

_SIZES = ("shape", "ndim", "dtype", "device", "is_cuda", "itemsize")
_SIZE_CALLS = ("size", "dim", "numel", "is_floating_point", "nelement", "stride")


class _SizedProxy(fx.Proxy):
    """A proxy that knows the sizes of its value, so that a model may ask for them."""

    def __getattr__(self, name: str) -> Any:
        value = self.node.meta.get("fake")
        if isinstance(value, torch.Tensor) and name in _SIZES + _SIZE_CALLS:
            return getattr(value, name)
        return super().__getattr__(name)

    def __len__(self) -> int:
        return len(self.node.meta["fake"])

    def __bool__(self) -> bool:
        value = self.node.meta.get("fake")
        if isinstance(value, torch.Tensor):
            return super().__bool__()
        return bool(value)


class _Tracer(fx.Tracer):
    """Trace into every module but torch's own; with ``fakes``, for one set of input sizes."""

    def __init__(self, fakes: Sequence[Any] | None = None) -> None:
        super().__init__()
        self._fakes = iter(fakes) if fakes is not None else None
        self._executing = False  # while a fake value is computed, nothing is traced

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> Any:
        if self._executing:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if self._executing:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, nn.Sequential | nn.ModuleList | nn.ModuleDict):
            return False
        return parametrize.is_parametrized(m) or super().is_leaf_module(m, module_qualified_name)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return super().proxy(node) if self._fakes is None else _SizedProxy(node, self)

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        if self._fakes is not None:
            if node.op == "placeholder":
                node.meta["fake"] = next(self._fakes, None)
            elif node.op != "output":
                self._executing = True
                try:
                    node.meta["fake"] = execute(self.root, node, lambda other: other.meta["fake"])
                finally:
                    self._executing = False
        return node


def execute(root: nn.Module, node: fx.Node, value: Callable[[fx.Node], Any]) -> Any:
    """Run one operation of a graph of ``root``; ``value`` looks up its arguments."""
    args = fx.map_arg(node.args, value)
    kwargs = fx.map_arg(node.kwargs, value)
    target: Any = node.target
    if node.op == "call_function":
        return target(*args, **kwargs)
    if node.op == "call_method":
        return getattr(args[0], target)(*args[1:], **kwargs)
    attribute: Any = root
    for part in target.split("."):
        attribute = getattr(attribute, part)
    return attribute(*args, **kwargs) if node.op == "call_module" else attribute


@contextmanager
def uncached() -> Iterator[None]:
    """Keep autocast from caching copies of weights that a later training step must not find."""
    enabled = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(enabled)


def arguments_of(sample: Any) -> tuple[Any, ...]:
    """Return a sample as positional arguments: a tensor is the only one."""
    return tuple(sample) if isinstance(sample, tuple | list) else (sample,)


@dataclass(frozen=True, slots=True)
class Program:
    """Operations of a forward pass in order, with what they pass on.

    ``sized`` tells that the graph holds for the sizes of one sample only.
    """

    graph: fx.Graph
    inputs: tuple[fx.Node, ...]
    operations: tuple[fx.Node, ...]
    sized: bool

    def live(self, position: int) -> tuple[fx.Node, ...]:
        """Return the values made before operation ``position`` and used from there on."""
        index = {node: at for at, node in enumerate(self.operations)}
        made = (*self.inputs, *self.operations[:position])
        return tuple(
            node
            for node in made
            if any(user.op == "output" or index.get(user, -1) >= position for user in node.users)
        )

    def output(self, root: nn.Module) -> Piece:
        """Return what makes the model's output of the last values; it gives that, not a tuple."""
        result = next(node for node in self.graph.nodes if node.op == "output")
        graph = fx.Graph()
        taken = tuple(result.all_input_nodes)
        copies = {node: graph.placeholder(node.name) for node in taken}
        graph.output(fx.map_arg(result.args[0], copies.__getitem__))
        return Piece(fx.GraphModule(root, graph), taken, ())

    def piece(self, root: nn.Module, start: int, stop: int) -> Piece:
        """Return operations ``start`` to ``stop`` as a module that shares ``root``'s layers."""
        operations = self.operations[start:stop]
        inside = set(operations)
        taken = dict.fromkeys(
            node
            for operation in operations
            for node in operation.all_input_nodes
            if node not in inside
        )
        given = tuple(node for node in self.live(stop) if node in inside)
        graph = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {node: graph.placeholder(node.name) for node in taken}
        for operation in operations:
            copies[operation] = graph.node_copy(operation, copies.__getitem__)
        graph.output(tuple(copies[node] for node in given))
        return Piece(fx.GraphModule(root, graph), tuple(taken), given)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a program: a module from the values ``taken`` to a tuple of those ``given``.

    Parameters and buffers that no layer of the piece holds are among the values taken.
    """

    module: fx.GraphModule
    taken: tuple[fx.Node, ...]
    given: tuple[fx.Node, ...]


def _erase(graph: fx.Graph, node: fx.Node) -> None:
    for user in list(node.users):
        _erase(graph, user)
    graph.erase_node(node)


def trace(model: nn.Module, sample: Any) -> Program:
    """Trace ``model``'s forward pass.

    A model that asks for the sizes of its values is traced for those of ``sample``.

    Raises:
        CheckpointingError: the flow depends on the values of tensors.
    """
    arguments = arguments_of(sample)
    names = list(inspect.signature(type(model).forward).parameters.values())[1:]
    concrete = {
        name.name: name.default
        for name in names[len(arguments) :]
        if name.default is not inspect.Parameter.empty
    }
    sized = False
    try:
        tracer = _Tracer()
        graph = tracer.trace(model, concrete_args=concrete or None)
    except Exception:  # any failure of a symbolic trace: control flow, sizes, iteration
        sized = True
        try:
            with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad(), uncached():
                fakes = [
                    mode.from_tensor(item) if isinstance(item, torch.Tensor) else item
                    for item in (*arguments, *concrete.values())
                ]
                graph = _Tracer(fakes).trace(model, concrete_args=concrete or None)
        except Exception as error:
            raise CheckpointingError(
                f"{type(model).__name__} has no legal cut point: expected a forward pass whose "
                f"flow does not depend on values, got {type(error).__name__}: "
                f"{str(error).splitlines()[0] if str(error) else 'no message'}"
            ) from error
    for node in graph.nodes:
        node.meta.pop("fake", None)
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    inputs = tuple(placeholders[: len(arguments)])
    for node in placeholders[len(arguments) :]:
        # An argument left at its default: the tracer checks that it is.
        _erase(graph, node)
    operations = tuple(
        node for node in graph.nodes if node.op not in ("placeholder", "get_attr", "output")
    )
    return Program(graph, inputs, operations, sized)
