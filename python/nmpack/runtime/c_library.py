# SPDX-License-Identifier: BSD-3-Clause
"""A system's libtensorflow-lite: found, loaded, the functions of its C interface declared.

Names and types are those of TFLite 2.14.1's ``c_api.h``, ``c_api_experimental.h`` and
``c_api_opaque.h``. A function that reports goes through :class:`Messages`, so that what TFLite says
of a model becomes the message of an error.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import itertools
from collections import deque
from collections.abc import Sequence
from ctypes import POINTER, c_char_p, c_float, c_int, c_int32, c_size_t, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from nmpack.errors import MissingError
from nmpack.locations import named
from nmpack.refusals import one_line

#: Debian's package of it, of the suite and version in ``third_party/sysroot.toml``.
PACKAGE = "libtensorflow-lite2.14.1"
#: Names that the loader is asked for, in this order.
NAMES = ("libtensorflow-lite.so.2.14.1", "libtensorflowlite_c.so")
#: And those that ``find_library`` looks for, of any version.
_STEMS = ("tensorflow-lite", "tensorflowlite_c")
#: Names the file instead.
VARIABLE = "NMPACK_TFLITE_LIBRARY"

OK = 0
_MOST_MESSAGES = 16
_LONGEST_MESSAGE = 1024


class QuantizationParams(ctypes.Structure):
    """``TfLiteQuantizationParams``: one scale and zero point."""

    _fields_ = (("scale", c_float), ("zero_point", c_int32))


class Quantization(ctypes.Structure):
    """``TfLiteQuantization``: 1 is affine, with an :class:`AffineQuantization`."""

    _fields_ = (("type", c_int), ("params", c_void_p))


class AffineQuantization(ctypes.Structure):
    """``TfLiteAffineQuantization``: pointers to arrays that begin with their length."""

    _fields_ = (("scale", c_void_p), ("zero_point", c_void_p), ("quantized_dimension", c_int32))


_Reporter = ctypes.CFUNCTYPE(None, c_void_p, c_char_p, c_void_p)
_INTS = POINTER(c_int)

#: What each function returns and takes.
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "TfLiteVersion": (c_char_p, ()),
    "TfLiteModelCreateWithErrorReporter": (c_void_p, (c_void_p, c_size_t, _Reporter, c_void_p)),
    "TfLiteModelDelete": (None, (c_void_p,)),
    "TfLiteInterpreterOptionsCreate": (c_void_p, ()),
    "TfLiteInterpreterOptionsDelete": (None, (c_void_p,)),
    "TfLiteInterpreterOptionsSetNumThreads": (None, (c_void_p, c_int32)),
    "TfLiteInterpreterOptionsAddDelegate": (None, (c_void_p, c_void_p)),
    "TfLiteInterpreterOptionsSetErrorReporter": (None, (c_void_p, _Reporter, c_void_p)),
    "TfLiteInterpreterCreate": (c_void_p, (c_void_p, c_void_p)),
    "TfLiteInterpreterDelete": (None, (c_void_p,)),
    "TfLiteInterpreterGetInputTensorCount": (c_int32, (c_void_p,)),
    "TfLiteInterpreterInputTensorIndices": (_INTS, (c_void_p,)),
    "TfLiteInterpreterGetOutputTensorCount": (c_int32, (c_void_p,)),
    "TfLiteInterpreterOutputTensorIndices": (_INTS, (c_void_p,)),
    "TfLiteInterpreterGetTensor": (c_void_p, (c_void_p, c_int)),
    "TfLiteInterpreterResizeInputTensor": (c_int, (c_void_p, c_int32, _INTS, c_int32)),
    "TfLiteInterpreterAllocateTensors": (c_int, (c_void_p,)),
    "TfLiteInterpreterInvoke": (c_int, (c_void_p,)),
    "TfLiteInterpreterResetVariableTensors": (c_int, (c_void_p,)),
    "TfLiteInterpreterGetSignatureCount": (c_int32, (c_void_p,)),
    "TfLiteInterpreterGetSignatureKey": (c_char_p, (c_void_p, c_int32)),
    "TfLiteInterpreterGetSignatureRunner": (c_void_p, (c_void_p, c_char_p)),
    "TfLiteSignatureRunnerGetInputCount": (c_size_t, (c_void_p,)),
    "TfLiteSignatureRunnerGetInputName": (c_char_p, (c_void_p, c_int32)),
    "TfLiteSignatureRunnerResizeInputTensor": (c_int, (c_void_p, c_char_p, _INTS, c_int32)),
    "TfLiteSignatureRunnerAllocateTensors": (c_int, (c_void_p,)),
    "TfLiteSignatureRunnerGetInputTensor": (c_void_p, (c_void_p, c_char_p)),
    "TfLiteSignatureRunnerInvoke": (c_int, (c_void_p,)),
    "TfLiteSignatureRunnerGetOutputCount": (c_size_t, (c_void_p,)),
    "TfLiteSignatureRunnerGetOutputName": (c_char_p, (c_void_p, c_int32)),
    "TfLiteSignatureRunnerGetOutputTensor": (c_void_p, (c_void_p, c_char_p)),
    "TfLiteSignatureRunnerDelete": (None, (c_void_p,)),
    "TfLiteTensorType": (c_int, (c_void_p,)),
    "TfLiteTensorNumDims": (c_int32, (c_void_p,)),
    "TfLiteTensorDim": (c_int32, (c_void_p, c_int32)),
    "TfLiteTensorByteSize": (c_size_t, (c_void_p,)),
    "TfLiteTensorData": (c_void_p, (c_void_p,)),
    "TfLiteTensorName": (c_char_p, (c_void_p,)),
    "TfLiteTensorQuantizationParams": (QuantizationParams, (c_void_p,)),
    "TfLiteTensorCopyFromBuffer": (c_int, (c_void_p, c_void_p, c_size_t)),
    "TfLiteOpaqueTensorGetNumDimsSignature": (c_int, (c_void_p, POINTER(c_int32))),
    "TfLiteOpaqueTensorGetDimSignature": (c_int, (c_void_p, c_int32, POINTER(c_int32))),
    "TfLiteOpaqueTensorGetAllocationType": (c_int, (c_void_p,)),
    "TfLiteOpaqueTensorGetQuantization": (Quantization, (c_void_p,)),
}  # fmt: skip


@cache
def load_library() -> Any:
    """Load the library that ``NMPACK_TFLITE_LIBRARY`` names, or the system's; once.

    Raises:
        MissingError: there is none, it does not load, or it has not all functions.
    """
    library, path = _open()
    for name, (result, arguments) in _FUNCTIONS.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise MissingError(
                f"expected TFLite's C interface of version 2.14.1 or later in {path}, found no "
                f"function {name}"
            ) from None
        function.restype, function.argtypes = result, arguments
    return library


def _open() -> tuple[Any, str]:
    if given := named(VARIABLE):
        if not given.is_file():
            raise MissingError(f"{VARIABLE} names {given}, which is not a file")
        return _loaded(str(given)), str(given)
    refused: list[MissingError] = []
    for name in NAMES:
        try:
            return ctypes.CDLL(name), name
        except OSError as error:
            # The rest of the text is in the program's language. Of what is absent it begins with
            # the name alone; else with the path of what is damaged, or with what a library lacks.
            if str(error).partition(":")[0].split()[-1:] != [name]:
                refused.append(MissingError(_unloadable(name, error)))
    for stem in _STEMS:
        if found := ctypes.util.find_library(stem):
            return _loaded(found), found
    if refused:
        raise refused[0]
    raise MissingError(
        "found no TFLite interpreter: neither the Python package ai-edge-litert (pip install "
        f"'nmpack[interpreter]') nor the library {NAMES[0]}, which Debian has (apt-get install "
        f"{PACKAGE}); {VARIABLE} may name its file"
    )


def _loaded(path: str) -> Any:
    try:
        return ctypes.CDLL(path)
    except OSError as error:
        raise MissingError(_unloadable(path, error)) from error


def _unloadable(name: str, error: OSError) -> str:
    return f"the TFLite library {Path(name).name} cannot be loaded: {one_line(error)}"


def library_version() -> str:
    """Return the version that the library states of itself."""
    return str(load_library().TfLiteVersion().decode("utf-8", "replace"))


class Messages:
    """What TFLite reports about one model, the last few messages; any thread may report."""

    _known: ClassVar[dict[int, deque[str]]] = {}
    _keys: ClassVar = itertools.count(1)

    def __init__(self) -> None:
        """Start with none."""
        self.key = next(self._keys)
        self._texts: deque[str] = deque(maxlen=_MOST_MESSAGES)
        self._known[self.key] = self._texts

    def take(self, otherwise: str) -> str:
        """Return the messages in one line and forget them; ``otherwise`` where there is none."""
        texts = []
        while self._texts:
            texts.append(one_line(self._texts.popleft()))
        return "; ".join(dict.fromkeys(texts)) or otherwise

    def forget(self) -> None:
        """Free the key: nothing reports any more."""
        self._known.pop(self.key, None)


def _report(key: int | None, form: bytes, arguments: int | None) -> None:
    texts = Messages._known.get(key or 0)
    if texts is not None:
        text = ctypes.create_string_buffer(_LONGEST_MESSAGE)
        _print_formatted(text, _LONGEST_MESSAGE, form, arguments)
        texts.append(text.value.decode("utf-8", "replace"))


# A va_list reaches a function as a pointer, or as a word, wherever Linux runs.
_print_formatted = ctypes.CDLL(None).vsnprintf
_print_formatted.argtypes = (c_char_p, c_size_t, c_char_p, c_void_p)
#: One for all, which is never freed: an interpreter may report until its end.
REPORTER = _Reporter(_report)


def integers(values: Sequence[int]) -> Any:
    """Return an array of C's int."""
    return (c_int * len(values))(*values)
