# SPDX-License-Identifier: BSD-3-Clause
"""Who takes part: each runtime in each precision, and the form of the network that it opens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

from nmpack.element_types import F32
from nmpack.errors import NmpackError


@dataclass(frozen=True, slots=True)
class Contender:
    """A runtime in one precision.

    Attributes:
        runtime: the package that brings it.
        precision: ``float32``; ``int8``, weights and activations; or ``own``, what the runtime
            chooses by itself.
        forms: names in :data:`nmpack.peers.network.FORMS`; the first one to be had is opened.
        mode: how, where a runtime has several ways.
        lacking: why it cannot take part anywhere, in one sentence.
    """

    runtime: str
    precision: str
    forms: tuple[str, ...]
    mode: str = ""
    lacking: str = ""

    @property
    def name(self) -> str:
        """A label: the parts that tell contenders apart."""
        return " ".join(part for part in (self.runtime, self.mode, self.precision) if part)

    def to_dict(self) -> dict[str, str]:
        """Return what a report says of it."""
        values = asdict(self)
        return {"name": self.name} | {key: values[key] for key in ("runtime", "precision", "mode")}


#: Every report has these two; the first is the baseline.
BUILT_IN = Contender("ai-edge-litert", "float32", ("tflite",), "built-in")
OURS = Contender("nmpack", "float32", ("tflite",))
PEERS = (
    Contender("ai-edge-litert", "int8", ("tflite-int8",), "built-in"),
    Contender("nmpack", "int8", ("tflite-int8",)),
    Contender("tflite-runtime", "float32", ("tflite",), "built-in"),
    Contender("onnxruntime", "float32", ("onnx",)),
    Contender("onnxruntime", "int8", ("onnx-int8",)),
    Contender("openvino", "float32", ("onnx", "tflite")),
    Contender("openvino", "own", ("onnx", "tflite")),
    Contender("openvino", "int8", ("onnx-int8",)),
    Contender("ncnn", "float32", ("ncnn",)),
    Contender(
        "ncnn",
        "int8",
        (),
        lacking="ncnn's quantizer, the programs ncnn2table and ncnn2int8, is in none of its Python "
        "packages",
    ),
    Contender("torch", "float32", ("torch",), "eager"),
    Contender("torch", "float32", ("torch",), "compiled"),
    Contender("torch", "int8", ("torch",), "eager"),
)
#: Those that are interpreters of ``.tflite`` files.
INTERPRETERS = ("ai-edge-litert", "tflite-runtime")
RUNTIMES = tuple(dict.fromkeys(item.runtime for item in PEERS))


def computing(contenders: Iterable[Contender], precision: str) -> tuple[Contender, ...]:
    """Return the contenders for a TFLite file of a precision, each name once.

    Whoever opens a file that is quantized runs it as it is, in whatever else it could.
    """
    found: dict[str, Contender] = {}
    for item in contenders:
        opens = precision != F32.dtype and any(form.startswith("tflite") for form in item.forms)
        one = replace(item, precision=precision, forms=("tflite",)) if opens else item
        found.setdefault(one.name, one)
    return tuple(found.values())


def chosen(names: Sequence[str] | None = None) -> tuple[Contender, ...]:
    """Return the peers of some runtimes, or single ones by their whole name; all when None.

    Raises:
        NmpackError: a name is neither, or there is none.
    """
    if names is None:
        return PEERS
    for name in names or [""]:
        if not any(name in (item.runtime, item.name) for item in PEERS):
            raise NmpackError(
                f"expected peers out of {', '.join(RUNTIMES)}, or a whole name such as "
                f"{PEERS[-1].name!r}, got {name!r}"
            )
    return tuple(item for item in PEERS if item.runtime in names or item.name in names)
