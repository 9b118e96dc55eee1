# SPDX-License-Identifier: BSD-3-Clause
"""What :mod:`nmpack.runtime.c_interpreter` holds of TFLite's C library, and in which order it ends.

Finalizers hold what must outlive the object that they end: the interpreter's hold the model's bytes
and the delegates. So Python's objects may be dropped in any order, in a cycle, or at exit.
"""

from __future__ import annotations

import ctypes
import mmap
import threading
import weakref
from collections.abc import Mapping, Sequence
from ctypes import POINTER, c_char_p, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

from nmpack.refusals import one_line
from nmpack.runtime.c_library import OK, REPORTER, Messages, load_library

#: XNNPACK and others read constants in units of this many bytes.
_ALIGNMENT = 16
_Said = ctypes.CFUNCTYPE(None, c_char_p)
#: Delegates of interpreters that a thread was still in when the process ended.
_in_use_at_exit: set[int] = set()


class Delegate:
    """A delegate from a plugin; it ends with the last interpreter that uses it."""

    def __init__(self, library: str, options: Mapping[Any, Any] | None = None) -> None:
        """Load the plugin ``library`` and create its delegate.

        Raises:
            ValueError: it is not a plugin, or refuses an option; the message is its own.
        """
        try:
            plugin = ctypes.CDLL(library)
            create = plugin.tflite_plugin_create_delegate
            destroy = plugin.tflite_plugin_destroy_delegate
        except (OSError, AttributeError) as error:
            raise ValueError(f"{library} is not a delegate: {one_line(error)}") from error
        create.restype = c_void_p
        create.argtypes = (POINTER(c_char_p), POINTER(c_char_p), c_size_t, _Said)
        destroy.restype, destroy.argtypes = None, (c_void_p,)
        texts: list[str] = []
        said = _Said(lambda text: texts.append((text or b"").decode("utf-8", "replace")))
        pairs = [(str(key).encode(), str(value).encode()) for key, value in (options or {}).items()]
        keys = (c_char_p * len(pairs))(*(key for key, _ in pairs))
        values = (c_char_p * len(pairs))(*(value for _, value in pairs))
        pointer = create(keys, values, len(pairs), said)
        if not pointer:
            reason = "; ".join(texts) or "the delegate cannot be created and does not say why"
            raise ValueError(f"Failed to load delegate from {library}\n{reason}")
        self._pointer = int(pointer)
        # At exit this comes after the ends of interpreters, which were made later.
        self._end = weakref.finalize(self, _end_delegate, destroy, self._pointer, said)

    def _get_native_delegate_pointer(self) -> int:
        """Return the ``TfLiteDelegate``, as the Python interpreters' delegates do."""
        return self._pointer


def _end_delegate(destroy: Any, pointer: int, _said: object) -> None:
    if pointer not in _in_use_at_exit:
        destroy(pointer)


class Native:
    """A ``TfLiteInterpreter``: one thread at a time is in it.

    Attributes:
        library: its functions.
        lock: held by whoever calls it.
        ready: whether its tensors are allocated for their present shapes.
    """

    def __init__(self, content: Any, delegates: Sequence[Any], threads: int) -> None:
        """Build an interpreter.

        Args:
            content: the model's bytes, as a numpy array that stays as it is.
            delegates: with ``_get_native_delegate_pointer``; kept until the interpreter ends.
            threads: of the kernels.

        Raises:
            ValueError: the model or a delegate is refused; the message is TFLite's.
            MissingError: there is no library.
        """
        self.library = library = load_library()
        self.lock = threading.RLock()
        self.ready = False
        self._views: list[weakref.ref[Any]] = []
        self._runners: dict[bytes, int] = {}
        messages = self._messages = Messages()
        model = library.TfLiteModelCreateWithErrorReporter(
            content.ctypes.data, content.nbytes, REPORTER, messages.key
        )
        if not model:
            messages.forget()
            raise ValueError(messages.take("it is no TFLite model, or a damaged one"))
        options = library.TfLiteInterpreterOptionsCreate()
        library.TfLiteInterpreterOptionsSetNumThreads(options, threads)
        library.TfLiteInterpreterOptionsSetErrorReporter(options, REPORTER, messages.key)
        used = [int(delegate._get_native_delegate_pointer()) for delegate in delegates]
        for pointer in used:
            library.TfLiteInterpreterOptionsAddDelegate(options, pointer)
        pointer = library.TfLiteInterpreterCreate(model, options)
        library.TfLiteInterpreterOptionsDelete(options)
        if not pointer:
            library.TfLiteModelDelete(model)
            messages.forget()
            raise ValueError(messages.take("TFLite cannot build an interpreter of it"))
        self._pointer: int = pointer
        held = (content, tuple(delegates), REPORTER)
        self._end = weakref.finalize(
            self, _end_interpreter, self.lock, library, pointer, model, self._runners, messages,
            used, held,
        )  # fmt: skip

    @property
    def pointer(self) -> int:
        """The interpreter.

        Raises:
            RuntimeError: it was closed.
        """
        if not self._end.alive:
            raise RuntimeError("expected an interpreter that is open, got one that was closed")
        return self._pointer

    def indices(self, kind: str) -> list[int]:
        """Return the indices of the main graph's tensors of a kind, ``Input`` or ``Output``."""
        with self.lock:
            pointer = self.pointer
            count = getattr(self.library, f"TfLiteInterpreterGet{kind}TensorCount")(pointer)
            found = getattr(self.library, f"TfLiteInterpreter{kind}TensorIndices")(pointer)
            return [found[place] for place in range(count)]

    def close(self) -> None:
        """End it, once.

        Raises:
            RuntimeError: an array still looks into its memory.
        """
        with self.lock:
            self.require_no_views()
            self._end()

    def runner(self, key: bytes) -> int | None:
        """Return the ``TfLiteSignatureRunner`` of a signature, None where there is no such one."""
        if key not in self._runners:
            found = self.library.TfLiteInterpreterGetSignatureRunner(self.pointer, key)
            self._messages.take("")
            if not found:
                return None
            self._runners[key] = found
        return self._runners[key]

    def require(self, status: int, failed: str, error: type[Exception] = RuntimeError) -> None:
        """Raise what TFLite said, or that something ``failed``, unless the status is fine."""
        said = self._messages.take(failed)
        if status != OK:
            raise error(said)

    def watch(self, owner: Any) -> None:
        """Keep this alive as long as ``owner``, through which arrays see its memory."""
        owner.nmpack_native = self
        self._views.append(weakref.ref(owner))

    def require_no_views(self) -> None:
        """Refuse to move memory that an array looks into.

        Raises:
            RuntimeError: there is such an array.
        """
        self._views = [view for view in self._views if view() is not None]
        if self._views:
            raise RuntimeError(
                "an array of tensor() still looks into the interpreter's memory: drop it, and "
                "its slices, or use get_tensor"
            )


def _end_interpreter(
    lock: threading.RLock,
    library: Any,
    pointer: int,
    model: int,
    runners: dict[bytes, int],
    messages: Messages,
    delegates: Sequence[int],
    held: object,
) -> None:
    if not lock.acquire(blocking=False):
        # The process ends while a daemon thread is within TFLite, and goes on there: all stays,
        # also when Python clears its modules.
        _in_use_at_exit.update(delegates)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(held))
        return
    try:
        for runner in runners.values():
            library.TfLiteSignatureRunnerDelete(runner)
        library.TfLiteInterpreterDelete(pointer)
        library.TfLiteModelDelete(model)
        messages.forget()
    finally:
        lock.release()


def map_model(path: str | Path) -> Any:
    """Map a file; returns its bytes as a numpy array.

    Raises:
        ValueError: it cannot be read, or is empty.
    """
    try:
        with Path(path).open("rb") as file:
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise ValueError(f"the model {path} cannot be opened: {reason}") from error


def copy_model(content: Any) -> Any:
    """Return bytes as a numpy array that nobody else writes, aligned as a mapped file is."""
    given = np.frombuffer(content, np.uint8)
    if isinstance(content, bytes) and given.ctypes.data % _ALIGNMENT == 0:
        return given
    room = np.empty(given.size + _ALIGNMENT, np.uint8)
    first = -room.ctypes.data % _ALIGNMENT
    copy = room[first : first + given.size]
    copy[:] = given
    return copy
