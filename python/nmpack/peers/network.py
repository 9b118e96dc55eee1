# SPDX-License-Identifier: BSD-3-Clause
"""One network in the forms that runtimes open, each made when it is first asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nmpack.convert import keras_to_tflite, torch_to_tflite
from nmpack.element_types import F32, type_of
from nmpack.errors import MissingError, NmpackError
from nmpack.peers.process import PeerProcess
from nmpack.sources import load_source, save_source
from nmpack.tflite.file import TFLiteFile


@dataclass(frozen=True, slots=True)
class Form:
    """A file that a child process makes.

    Attributes:
        source: the form that it is made from.
        file: its name in the network's folder.
        ours: whether what makes it is in nmpack's own environment, not in the peers'.
    """

    source: str
    file: str
    ours: bool = False


#: ``torch`` and ``tflite`` are what everything else is made from.
FORMS = {
    "onnx": Form("torch", "network.onnx"),
    "onnx-int8": Form("onnx", "network-int8.onnx"),
    "ncnn": Form("torch", "network.ncnn.param"),
    "tflite-int8": Form("tflite", "network-int8.tflite", ours=True),
}


class Network:
    """The forms of one network, in a folder."""

    def __init__(self, model: str, folder: Path) -> None:
        """Open what the command line names, and convert it to TFLite unless it is that.

        Args:
            model: a ``.tflite`` file, or what :func:`nmpack.sources.load_source` takes.
            folder: for the files.

        Raises:
            NmpackError: the model cannot be opened or converted.
        """
        self.label = Path(model).stem
        self._folder = folder
        self._found: dict[str, Path | NmpackError] = {}
        if Path(model).suffix == ".tflite":
            if not Path(model).is_file():
                raise MissingError(f"{model} is not a file")
            self._found["tflite"] = Path(model).resolve()
            return
        source = load_source(model)
        target = folder / "network.tflite"
        if source.framework == "torch":
            height, width, channels = source.input_shape
            torch_to_tflite(source.model, target, (height, width, channels))
            self._found["torch"] = folder / "network.pt"
            save_source(source, folder / "network.pt")
        else:
            keras_to_tflite(source.model, target)
        self._found["tflite"] = target

    @property
    def precision(self) -> str:
        """What the TFLite file computes its layers in, as ``float32``."""
        for graph in TFLiteFile(self.path("tflite")).subgraphs:
            for item in graph.layers:
                kind = type_of(graph.tensors[graph.operators[item.node].inputs[0]].dtype)
                if kind is not None:
                    return kind.dtype
        return F32.dtype

    def first(self, forms: tuple[str, ...]) -> Path:
        """Return the first of ``forms`` to be had.

        Raises:
            NmpackError: there is none; says why the first cannot be made.
        """
        reasons = []
        for form in forms:
            try:
                return self.path(form)
            except NmpackError as error:
                reasons.append(error)
        raise reasons[0]

    def path(self, form: str) -> Path:
        """Return the file of ``form``.

        Raises:
            NmpackError: it cannot be made.
        """
        if form not in self._found:
            try:
                self._found[form] = self._make(form)
            except NmpackError as error:
                self._found[form] = error
        found = self._found[form]
        if isinstance(found, NmpackError):
            raise found
        return found

    def _make(self, name: str) -> Path:
        if name not in FORMS:
            raise MissingError(
                "it needs the network in PyTorch, a zoo name or a .pt file, and was given another"
            )
        form = FORMS[name]
        source, target = self.path(form.source), self._folder / form.file
        with PeerProcess(f"making {name}", ours=form.ours) as child:
            child.make(name, source, target)
        return target
