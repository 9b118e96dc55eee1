# SPDX-License-Identifier: BSD-3-Clause
"""Time one network in our delegate and in other runtimes, interleaved in one run.

What cannot take part stays in the report with its reason, and so does what is faster than ours.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from nmpack.element_types import DTYPES
from nmpack.errors import ModelError, NmpackError
from nmpack.measure.machine import describe_machine
from nmpack.measure.rounds import interleave, require_counts
from nmpack.peers.contenders import BUILT_IN, INTERPRETERS, OURS, Contender, chosen, computing
from nmpack.peers.network import Network
from nmpack.peers.process import PeerProcess
from nmpack.peers.report import PeerReport, PeerTiming
from nmpack.progress import Progress, silent
from nmpack.refusals import one_line
from nmpack.runtime.child import ChildProcess, Signature
from nmpack.runtime.inputs import Array, prepare_inputs
from nmpack.runtime.interpreter import Engine, nmpack_engine
from nmpack.runtime.process import EngineProcess
from nmpack.runtime.runner import compare, require_close


def compare_peers(
    model: str | Path,
    peers: Sequence[str] | None = None,
    *,
    threads: int = 1,
    library: str | Path | None = None,
    options: Mapping[str, object] | None = None,
    rounds: int = 10,
    repeat: int = 4,
    warmup: int = 3,
    seed: int = 0,
    tolerance: float = 1e-4,
    preparing: Progress = silent,
    progress: Progress = silent,
) -> PeerReport:
    """Time ``model`` in ai-edge-litert, in our delegate there, and in other runtimes.

    Args:
        model: a ``.tflite`` file, or what :func:`nmpack.sources.load_source` takes. Most peers need
            a network in PyTorch. It takes one image of float32 or int8 and has one output. A file
            that is int8 already is compared in int8.
        peers: as for :func:`nmpack.peers.contenders.chosen`; all when None.
        threads: of every contender.
        library, options: of our delegate, as in
            :func:`nmpack.runtime.interpreter.nmpack_engine`.
        rounds, repeat, warmup, seed: as for :func:`nmpack.measure.benchmark.bench`.
        tolerance: relative difference of the outputs that a float32 contender may have from the
            interpreter's; others' is reported.
        preparing: called with (contenders opened, contenders).
        progress: called with (rounds done, rounds).

    Raises:
        MismatchError: our outputs differ from the interpreter's.
        NmpackError: the model cannot be opened, or ai-edge-litert or our delegate cannot run it.
    """
    require_counts(rounds, repeat, warmup)
    others = chosen(peers)
    # First, for everything else would be in vain without it.
    ours = nmpack_engine(library=library, options=options, threads=threads)
    machine = describe_machine()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="nmpack-peers-"))
        network = Network(str(model), Path(folder))
        first, second, *rest = computing((BUILT_IN, OURS, *others), network.precision)
        others = tuple(rest)
        field = _Field(stack, network, threads, seed, tolerance)
        field.add_ours(first, second, ours)
        for number, contender in enumerate(others):
            preparing(number, len(others))
            field.add(contender)
        preparing(len(others), len(others))
        lost: dict[int, NmpackError] = {}
        times = interleave(
            [child for _, child, _ in field.running],
            rounds=rounds,
            repeat=repeat,
            warmup=warmup,
            progress=progress,
            lost=lost,
        )
        found = dict(field.refused)
        for index, (contender, child, gap) in enumerate(field.running):
            if index in lost:
                found[contender] = PeerTiming(contender, reason=one_line(lost[index]))
            else:
                found[contender] = _timing(contender, child, gap, times[index])
        return PeerReport(
            tuple(found[item] for item in (first, second, *others)),
            network.label,
            threads,
            seed,
            field.versions,
            machine,
        )


class _Field:
    """Those that take part, open and fed, and those that were refused."""

    def __init__(
        self, stack: ExitStack, network: Network, threads: int, seed: int, tolerance: float
    ) -> None:
        self.running: list[tuple[Contender, ChildProcess, float]] = []
        self.refused: dict[Contender, PeerTiming] = {}
        self.versions: dict[str, str] = {}
        self._stack = stack
        self._network = network
        self._threads = threads
        self._seed = seed
        self._tolerance = tolerance
        self._ours: Engine
        self._image: Array
        self._reference: Array

    def add_ours(self, built_in: Contender, delegated: Contender, ours: Engine) -> None:
        """Open what every report has: the interpreter, which the others are compared with; ours.

        Raises:
            MismatchError: ours disagrees.
            ModelError: the network is of a kind that is not compared.
            InterpreterError: the interpreter refuses it.
        """
        path = self._network.path("tflite")
        self._ours = ours
        stock = Engine(built_in.name, threads=self._threads)
        for contender, engine in ((built_in, stock), (delegated, ours)):
            child = self._stack.enter_context(EngineProcess(path, engine))
            if contender is built_in:
                _require_one_image(child.inputs, child.outputs)
                self._image = prepare_inputs(child.inputs, self._seed)[0][0]
            child.feed([self._image])
            output = child.map(1)[0][0]
            if contender is built_in:
                self._reference = output
            self._accept(contender, child, child.versions, output)

    def add(self, contender: Contender) -> None:
        """Open a peer, or note why it cannot take part."""
        with ExitStack() as own:
            try:
                child, versions = self._open(contender, own)
                child.feed([self._image])
                self._accept(contender, child, versions, child.map(1)[0][0])
            except NmpackError as error:
                reason = one_line(error)
                self.refused[contender] = PeerTiming(contender, reason=reason)
                return
            self._stack.push(own.pop_all())

    def _open(self, contender: Contender, own: ExitStack) -> tuple[ChildProcess, dict[str, str]]:
        if contender.lacking:
            raise NmpackError(contender.lacking)
        path = self._network.first(contender.forms)
        if contender.runtime == OURS.runtime:
            delegated = own.enter_context(EngineProcess(path, self._ours))
            return delegated, delegated.versions
        if contender.runtime in INTERPRETERS:
            engine = Engine(contender.name, contender.runtime, threads=self._threads)
            interpreter = own.enter_context(EngineProcess(path, engine))
            return interpreter, interpreter.versions
        child = own.enter_context(PeerProcess(contender.name, threads=self._threads))
        child.load(contender, path, self._image.shape, self._threads)
        return child, child.versions

    def _accept(
        self, contender: Contender, child: ChildProcess, versions: dict[str, str], output: Array
    ) -> None:
        reference, given = {"output": self._reference}, {"output": output}
        if contender.precision == "float32":
            gap = require_close(reference, given, self._tolerance, contender.name)
        else:
            gap = compare(reference, given)
        self.running.append((contender, child, gap.relative))
        # numpy is each environment's own.
        self.versions |= {key: value for key, value in versions.items() if key != "numpy"}


def _timing(
    contender: Contender, child: ChildProcess, gap: float, rounds: list[tuple[float, ...]]
) -> PeerTiming:
    return PeerTiming(
        contender,
        tuple(rounds),
        peak_memory=child.peak_memory(),
        memory_before=child.memory_before,
        difference=gap,
        cores_used=child.cores_used,
        settings=child.settings,
    )


def _require_one_image(inputs: Sequence[Signature], outputs: Sequence[Signature]) -> None:
    """Check that the network is of the kind that every peer is handed.

    Raises:
        ModelError: it is of another.
    """
    kinds = [f"{item.dtype} {list(item.shape)}" for item in inputs]
    image = len(inputs) == 1 and len(inputs[0].shape) == 4 and inputs[0].dtype in DTYPES
    if not image or inputs[0].shape[0] != 1 or len(outputs) != 1:
        raise ModelError(
            f"peers are compared on one image of {' or '.join(DTYPES)}, "
            "[1, height, width, channels], and one output, "
            f"this network has {len(outputs)} outputs and takes {', '.join(kinds) or 'nothing'}"
        )
