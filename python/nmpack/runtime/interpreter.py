# SPDX-License-Identifier: BSD-3-Clause
"""The stock TFLite interpreters, and our delegate loaded into them."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nmpack.errors import InterpreterError, MissingError
from nmpack.locations import LIBRARY, PACKAGE, REMEDY, ROOT, named
from nmpack.quiet import import_module, import_tensorflow
from nmpack.refusals import one_line

#: Interpreters by the name of the Python package that brings them.
PACKAGES = ("ai-edge-litert", "tflite-runtime", "tensorflow")
#: The one without: the system's library, through its C interface.
C_LIBRARY = "libtensorflow-lite"
INTERPRETERS = (*PACKAGES, C_LIBRARY)


def _default_interpreter() -> str:
    """Return the first one whose package is installed here, or the library."""
    for package in PACKAGES:
        spec = find_spec(package.replace("-", "_"))
        if spec is not None and spec.loader is not None:
            return package
    return C_LIBRARY


DEFAULT_INTERPRETER = _default_interpreter()
#: What :func:`package_version` says of those that are absent.
NOT_INSTALLED = "not installed"
RESOLVERS = ("auto", "plain", "reference")
#: What the interpreters raise when they do not take a model.
_REFUSALS = (ValueError, RuntimeError, TypeError, MemoryError)


@dataclass(frozen=True, slots=True)
class Engine:
    """A way to execute a model.

    Attributes:
        name: label in tables.
        interpreter: one of :data:`INTERPRETERS`.
        library: path of a delegate, or None for the interpreter alone.
        options: the delegate's options.
        resolver: ``auto`` is what users get (the interpreter's built-in XNNPACK takes whatever a
            delegate leaves), ``plain`` switches that off, ``reference`` runs the reference kernels.
        threads: threads of the interpreter; our delegate has an option of its own for that.
    """

    name: str
    interpreter: str = DEFAULT_INTERPRETER
    library: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    resolver: str = "auto"
    threads: int = 1

    def __post_init__(self) -> None:
        """Check the names and the thread count."""
        for what, value, known in (
            ("interpreter", self.interpreter, INTERPRETERS),
            ("resolver", self.resolver, RESOLVERS),
        ):
            if value not in known:
                raise InterpreterError(f"expected one of {', '.join(known)} as {what}: {value!r}")
        if not 1 <= self.threads <= 256:
            raise InterpreterError(f"expected 1 to 256 threads, got {self.threads}")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self) | {"options": dict(self.options)}


def find_delegate() -> Path:
    """Return our delegate: ``$NMPACK_DELEGATE``, the one in the installed package, or our build.

    The package's is ``nmpack/lib/libnmpack_delegate.so``; the build is the host build of the source
    tree that this package lies in. The current directory is not looked at: loading a library runs
    its code, and the directory may be a stranger's.

    Raises:
        MissingError: there is none.
    """
    if given := named("NMPACK_DELEGATE"):
        if not given.is_file():
            raise MissingError(f"NMPACK_DELEGATE names {given}, which is not a file")
        return given.resolve()
    for path in (PACKAGE / "lib" / LIBRARY, ROOT / "build" / "host" / "delegate" / LIBRARY):
        if path.is_file():
            return path
    raise MissingError(f"{LIBRARY} is not built: {REMEDY}, or point NMPACK_DELEGATE at the file")


def _delegate_path(library: str | Path | None) -> Path:
    """Return an absolute path: the loader looks for a bare name wherever LD_LIBRARY_PATH says."""
    path = Path(library).resolve() if library is not None else find_delegate()
    if not path.is_file():
        raise MissingError(f"the delegate {library} is not a file")
    return path


def nmpack_engine(
    *,
    interpreter: str = DEFAULT_INTERPRETER,
    library: str | Path | None = None,
    options: Mapping[str, object] | None = None,
    threads: int = 1,
    alone: bool = False,
    name: str = "nmpack",
) -> Engine:
    """Return our delegate as an engine; ``alone`` switches the interpreter's default delegate off.

    Raises:
        MissingError: the delegate is not built.
    """
    path = _delegate_path(library)
    values = {"num_threads": str(threads)} | option_strings(options)
    resolver = "plain" if alone else "auto"
    return Engine(name, interpreter, str(path), values, resolver, threads)


def option_strings(options: Mapping[str, object] | None) -> dict[str, str]:
    """Turn every value into the string that a delegate takes; True and False become 1 and 0."""
    return {
        str(key): str(int(value)) if isinstance(value, bool) else str(value)
        for key, value in (options or {}).items()
    }


def interpreter_module(name: str) -> Any:
    """Import an interpreter; the result has Interpreter, load_delegate and OpResolverType.

    Raises:
        MissingError: it is not installed in this environment.
        InterpreterError: no such interpreter.
    """
    if name == "ai-edge-litert":
        return import_module("ai_edge_litert.interpreter", "interpreter")
    if name == C_LIBRARY:
        from nmpack.runtime import c_interpreter

        return c_interpreter
    if name == "tensorflow":
        lite = import_tensorflow().lite
        return SimpleNamespace(
            Interpreter=lite.Interpreter,
            load_delegate=lite.experimental.load_delegate,
            OpResolverType=lite.experimental.OpResolverType,
        )
    if name != "tflite-runtime":
        raise InterpreterError(
            f"expected one of {', '.join(INTERPRETERS)} as interpreter: {name!r}"
        )
    try:
        from tflite_runtime import interpreter
    except ImportError as error:
        raise MissingError(
            "tflite-runtime cannot be imported here; it needs numpy < 2 and an environment of "
            "its own (requirements/tflite-runtime.lock)"
        ) from error
    return interpreter


def load_delegate(
    interpreter: str = DEFAULT_INTERPRETER,
    options: Mapping[str, object] | None = None,
    *,
    library: str | Path | None = None,
) -> Any:
    """Load our delegate for an interpreter of this process.

    Pass the result in ``experimental_delegates=[...]`` of that package's ``Interpreter``, and keep
    it alive as long as the interpreter.

    Args:
        interpreter: the package whose interpreter will use it.
        options: ``num_threads`` (1 to 256; the interpreter's own number unless given, and never
            more than the process may use), ``nm`` (auto, off or force), ``layout`` (auto, nhwc or
            cnhw), ``verbose`` (0 or 1), ``report`` and ``profile`` (paths of JSON files to write).
        library: another delegate than :func:`find_delegate`'s.

    Raises:
        InterpreterError: the delegate refuses an option; the message is the delegate's own.
        MissingError: the interpreter is not installed or the delegate not built.
    """
    path = _delegate_path(library)
    module = interpreter_module(interpreter)
    try:
        # The interpreters' own wrappers leave noise behind when a library is not a delegate.
        plugin = ctypes.CDLL(str(path))
        _ = plugin.tflite_plugin_create_delegate, plugin.tflite_plugin_destroy_delegate
    except (OSError, AttributeError) as error:
        raise InterpreterError(f"{path} is not a delegate: {one_line(error)}") from error
    try:
        return module.load_delegate(str(path), option_strings(options))
    except ValueError as error:
        # The wrapper puts a line of its own in front of the delegate's message.
        said = str(error).removeprefix(f"Failed to load delegate from {path}\n")
        raise InterpreterError(one_line(said)) from error


def open_interpreter(model: str | Path, engine: Engine) -> tuple[Any, Any]:
    """Build an interpreter; :func:`allocate` its tensors next.

    Returns:
        ``(interpreter, delegate)``; keep both, the delegate may be None.

    Raises:
        InterpreterError: the interpreter refuses the model, or the delegate its options.
        MissingError: see :func:`load_delegate`.
    """
    module = interpreter_module(engine.interpreter)
    delegate = None
    if engine.library is not None:
        delegate = load_delegate(engine.interpreter, engine.options, library=engine.library)
    resolvers = module.OpResolverType
    resolver = {
        "auto": resolvers.AUTO,
        "plain": resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        "reference": resolvers.BUILTIN_REF,
    }[engine.resolver]
    try:
        interpreter = module.Interpreter(
            model_path=str(model),
            num_threads=engine.threads,
            experimental_delegates=[delegate] if delegate is not None else None,
            experimental_op_resolver_type=resolver,
        )
    except _REFUSALS as error:
        raise _refused(model, engine, error) from error
    return interpreter, delegate


def allocate(
    interpreter: Any,
    model: str | Path,
    engine: Engine,
    shapes: Sequence[Sequence[int]] | None = None,
) -> None:
    """Resize the inputs of an interpreter, then allocate its tensors.

    Args:
        interpreter, model, engine: what was opened, and how.
        shapes: of all inputs; None leaves them as they are.

    Raises:
        InterpreterError: the interpreter refuses it.
    """
    try:
        details = interpreter.get_input_details()
        for item, shape in zip(details, shapes or (), strict=shapes is not None):
            if [int(size) for size in item["shape"]] != list(shape):
                interpreter.resize_tensor_input(item["index"], list(shape))
        interpreter.allocate_tensors()
    except _REFUSALS as error:
        raise _refused(model, engine, error) from error


def _refused(model: str | Path, engine: Engine, error: Exception) -> InterpreterError:
    return InterpreterError(f"{engine.interpreter} refuses {model}: {one_line(error)}")


def prepare_subgraph(interpreter: Any, subgraph: int, signature: str) -> None:
    """Allocate the tensors of a subgraph, as running its signature would first.

    Raises:
        RuntimeError, ValueError: the interpreter refuses it.
    """
    if wrapper := getattr(interpreter, "_interpreter", None):
        # What is public does it on the way to running a signature with inputs.
        wrapper.AllocateTensors(subgraph)
    else:
        interpreter.get_signature_runner(signature).allocate_tensors()


def package_version(name: str) -> str:
    """Return the version of an interpreter's package or library, or :data:`NOT_INSTALLED`."""
    try:
        if name == C_LIBRARY:
            from nmpack.runtime.c_library import library_version

            return library_version()
    except MissingError:
        return NOT_INSTALLED
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return NOT_INSTALLED
