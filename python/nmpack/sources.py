# SPDX-License-Identifier: BSD-3-Clause
"""Where the command line's models come from, and how pruned ones are saved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmpack.errors import MissingError, ModelError, SelectionError
from nmpack.files import written_whole
from nmpack.models import ZOO, build
from nmpack.quiet import import_keras, import_module, silenced
from nmpack.refusals import one_line

_TORCH = (".pt", ".pth")
_KERAS = (".keras", ".h5")


@dataclass(frozen=True, slots=True)
class Source:
    """A model in memory: ``framework`` is torch or keras; ``arch`` names a zoo model or is None.

    ``input_shape`` is that of an image, channels last, 0 where it may have any size; a Keras model
    that takes anything else than one image has an empty one.
    """

    framework: str
    model: Any
    arch: str | None
    num_classes: int
    input_shape: tuple[int, ...]


def load_source(
    text: str,
    *,
    arch: str | None = None,
    checkpoint: str | Path | None = None,
    num_classes: int | None = None,
    seed: int = 0,
) -> Source:
    """Open what the command line names.

    Args:
        text: a zoo name (``resnet50``), ``keras:ResNet50`` (an architecture of
            keras.applications), a ``.pt``/``.pth`` checkpoint or a ``.keras``/``.h5`` model.
        arch: the zoo model that a bare checkpoint belongs to.
        checkpoint: weights for a zoo name or an architecture of Keras.
        num_classes: outputs, when neither the checkpoint nor the zoo's default says it.
        seed: of random weights, where there is no checkpoint.

    Raises:
        ModelError, SelectionError, MissingError: it cannot be opened; the message says why.
    """
    suffix = Path(text).suffix.lower()
    if suffix in _KERAS:
        return _keras_source(_load_keras(text))
    if text.startswith("keras:"):
        return _keras_source(_keras_application(text, checkpoint, num_classes, seed))
    if suffix in _TORCH:
        if checkpoint is not None:
            raise SelectionError(f"{text} is a checkpoint already; leave --checkpoint out")
        return _torch_source(arch, text, num_classes, seed)
    if text not in ZOO:
        raise SelectionError(
            f"expected a model of the zoo ({', '.join(ZOO)}), keras:NAME, or a file ending in "
            f"{', '.join(_TORCH + _KERAS)}, got {text!r}"
        )
    return _torch_source(text, checkpoint, num_classes, seed)


def save_source(source: Source, path: str | Path) -> None:
    """Write a pruned model: a ``.pt`` with its architecture's name, or a ``.keras`` file."""
    endings = _TORCH if source.framework == "torch" else _KERAS[:1]
    if Path(path).suffix.lower() not in endings:
        raise SelectionError(
            f"a {source.framework} model is saved as {' or '.join(endings)}, got {path}"
        )
    with written_whole(path) as temporary:
        if source.framework == "keras":
            with silenced():
                source.model.save(str(temporary))
            return
        torch = import_module("torch", "torch")
        content = {
            "arch": source.arch,
            "num_classes": source.num_classes,
            "input_shape": list(source.input_shape),
            "state_dict": source.model.state_dict(),
        }
        torch.save(content, temporary)


def _torch_source(
    arch: str | None, checkpoint: str | Path | None, num_classes: int | None, seed: int
) -> Source:
    torch = import_module("torch", "torch")
    state, shape = None, None
    if checkpoint is not None:
        content = _load_torch(torch, checkpoint)
        state = content.get("state_dict", content)
        _require_values(checkpoint, state)
        arch = arch or content.get("arch")
        shape = _shape(checkpoint, content.get("input_shape"))
        if arch is None:
            raise SelectionError(f"{checkpoint} does not say its architecture: give --arch NAME")
        head = f"{ZOO[arch].head}.weight" if arch in ZOO else ""
        classifier = state.get(head) if isinstance(state, dict) else None
        num_classes = int(classifier.shape[0]) if classifier is not None else num_classes
    assert arch is not None
    torch.manual_seed(seed)
    model = build(arch, num_classes=num_classes, input_shape=shape)
    if state is not None:
        try:
            model.load_state_dict(state)
        except (RuntimeError, TypeError, AttributeError) as error:
            raise ModelError(f"{checkpoint} does not fit {arch}: {one_line(error)}") from error
    spec = ZOO[arch]
    classes = num_classes or spec.num_classes
    return Source("torch", model, arch, classes, shape or spec.input_shape)


def _shape(path: str | Path, value: Any) -> tuple[int, int, int] | None:
    """Check the shape of an image that a checkpoint states; older ones state none."""
    if value is None:
        return None
    sizes = value if isinstance(value, list | tuple) else ()
    if len(sizes) != 3 or not all(type(size) is int and 1 <= size <= 4096 for size in sizes):
        raise ModelError(f"{path}: expected an input shape of three sizes, got {value!r}")
    height, width, channels = sizes
    return height, width, channels


def _load_torch(torch: Any, path: str | Path) -> dict[str, Any]:
    _require_file(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        said = one_line(error, 1)
        raise ModelError(f"{path}: not a checkpoint of plain tensors: {said}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: expected a state dict, got {type(content).__name__}")
    return content


def _require_values(path: str | Path, state: Any) -> None:
    for name, value in state.items() if isinstance(state, dict) else ():
        if getattr(value, "is_meta", False):
            raise ModelError(f"{path}: {name} has no values: it was saved from the meta device")


def _load_keras(path: str) -> Any:
    _require_file(path)
    with silenced():
        keras = import_keras()
        try:
            return keras.models.load_model(path, compile=False, safe_mode=True)
        except Exception as error:
            raise ModelError(f"{path}: not a readable Keras model: {one_line(error, 1)}") from error


def _keras_application(
    text: str, weights: str | Path | None, num_classes: int | None, seed: int
) -> Any:
    name = text.removeprefix("keras:")
    if weights is not None:
        _require_file(weights)
    with silenced():
        keras = import_keras()
        builder = getattr(keras.applications, name, None)
        if builder is None or not callable(builder):
            raise SelectionError(f"keras.applications has no {name!r}; ResNet50 is one it has")
        keras.utils.set_random_seed(seed)
        options = {"classes": num_classes} if num_classes else {}
        try:
            return builder(weights=None if weights is None else str(weights), **options)
        except (ValueError, OSError, KeyError) as error:
            raise ModelError(f"{text}: cannot be built: {one_line(error, 1)}") from error


def _keras_source(model: Any) -> Source:
    graph = getattr(model, "_functional", model)
    ends = graph if hasattr(graph, "_nodes_by_depth") else None
    inputs, outputs = (ends.inputs, ends.outputs) if ends is not None else ([], [])
    shape = tuple(int(size or 0) for size in inputs[0].shape[1:]) if len(inputs) == 1 else ()
    classes = outputs[0].shape[-1] if len(outputs) == 1 and outputs[0].shape else 0
    return Source("keras", model, None, int(classes or 0), shape if len(shape) == 3 else ())


def _require_file(path: str | Path) -> None:
    if not Path(path).is_file():
        raise MissingError(f"{path} is not a file")
