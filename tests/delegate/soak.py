#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs drawn sequences of loads, resizes, runs, deletions, threads and forks with the delegate.

  python tests/delegate/soak.py --sequences 2000 --seed 1
  python tests/delegate/soak.py --seconds 3600
  python tests/delegate/soak.py --sequences 1 --seed 77      # one again, from its seed

Sequence N of a soak has the seed of the soak plus N. Fails when an output is not the stock
interpreter's, when the process or a child of it crashes or hangs, when memory, threads or files
stay behind, and when too few runs reach our operators.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import IO

sys.path.insert(0, str(Path(__file__).parent))

import soak_memory
from soak_steps import draw
from soak_world import Counts, perform

#: A step that takes longer hangs; a child's own limit is shorter.
SECONDS = 200
#: Of the runs of which a report speaks, those that must have run N:M convolutions.
LEAST_PRUNED = 0.25
#: With fewer runs a share says little.
RUNS = 200


def work(first: int, sequences: int, seconds: float, *, stock: bool) -> int:
    """Do sequences in this process, and say at each step where it is."""
    faulthandler.enable()
    # What was imported stays; collecting need not look at it again.
    gc.freeze()
    counts, memory = Counts(), soak_memory.Memory()
    started = time.monotonic()
    seed = first
    while seed - first < sequences and time.monotonic() - started < seconds:
        try:
            perform(draw(seed), counts, _say_where, stock=stock)
        except Exception:
            traceback.print_exc()
            return 1
        memory.look(counts.sequences)
        seed += 1
    complaints = [*memory.complaints(), *_too_few(counts, stock=stock)]
    lines = [
        f"{counts.sequences} sequences from seed {first}, {counts.steps} steps, {counts.invokes} "
        f"runs, {counts.forks} forks, {time.monotonic() - started:.0f} s",
        f"N:M convolutions in {counts.pruned} and the delegate in {counts.delegated} of the "
        f"{counts.reported} runs that a report tells of",
        str(memory),
        *(f"FAILED: {one}" for one in complaints),
    ]
    os.write(1, "".join(f"{line}\n" for line in lines).encode())
    return 1 if complaints else 0


def _say_where(seed: int, step: int) -> None:
    os.write(1, f"at {seed} {step}\n".encode())


def _too_few(counts: Counts, *, stock: bool) -> list[str]:
    if stock or counts.reported < RUNS or counts.pruned >= LEAST_PRUNED * counts.reported:
        return []
    return [f"expected N:M convolutions in {LEAST_PRUNED:.0%} of the runs that a report tells of, "
            f"got {counts.pruned} of {counts.reported}"]  # fmt: skip


class Watched:
    """A process that says where it is, its last words, and how it ended."""

    def __init__(self, command: list[str], errors: IO[str], patience: float = SECONDS) -> None:
        """Run it to its end, or until it says nothing for ``patience`` seconds."""
        self.seed: int | None = None
        self.step: int | None = None
        self.said: list[str] = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process:
            assert process.stdout is not None
            hung = not self._listen(process.stdout, patience)
            if hung:
                process.send_signal(signal.SIGABRT)
            code = process.wait()
        self.fault = ""
        if hung:
            self.fault = f"nothing happened for {patience:g} s"
        elif code < 0:
            self.fault = f"the process ended by {signal.Signals(-code).name}"
        elif code > 0:
            self.fault = f"exit status {code}"

    def _listen(self, pipe: IO[bytes], patience: float) -> bool:
        """Read lines until they end; return False if they stop."""
        rest = b""
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while selector.select(patience):
                block = os.read(pipe.fileno(), 1 << 16)
                if not block:
                    return True
                *lines, rest = (rest + block).split(b"\n")
                for line in lines:
                    self._hear(line.decode())
        return False

    def _hear(self, line: str) -> None:
        if line.startswith("at "):
            self.seed, self.step = (int(word) for word in line.split()[1:])
        else:
            # All sequences are done.
            self.seed = None
            self.said.append(line)


def report(watched: Watched, errors: str) -> str:
    """Say what went wrong, in which sequence, and how to see it again."""
    lines = [*watched.said, *errors.splitlines()[-60:], f"soak: {watched.fault}"]
    if watched.seed is not None:
        lines += [
            f"soak: in step {watched.step} of the sequence with seed {watched.seed}",
            str(draw(watched.seed)),
            f"again: python tests/delegate/soak.py --sequences 1 --seed {watched.seed}",
        ]
    return "\n".join(lines)


def main() -> int:
    """Watch a process that does the sequences."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sequences", type=int, default=sys.maxsize, help="at most so many")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="none begins later")
    parser.add_argument("--seed", type=int, default=1, help="of the first (default: 1)")
    parser.add_argument(
        "--stock", action="store_true", help="without the delegate: what the interpreter leaks"
    )
    parser.add_argument("--show", action="store_true", help="print the sequences instead")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.sequences == sys.maxsize and chosen.seconds == float("inf"):
        parser.error("expected --sequences, --seconds or both")
    if chosen.show:
        for seed in range(chosen.seed, chosen.seed + chosen.sequences):
            print(draw(seed))
        return 0
    if chosen.work:
        return work(chosen.seed, chosen.sequences, chosen.seconds, stock=chosen.stock)
    with tempfile.TemporaryFile("w+") as errors:
        watched = Watched([sys.executable, __file__, "--work", *sys.argv[1:]], errors)
        errors.seek(0)
        said = errors.read()
    if watched.fault:
        print(report(watched, said))
        return 1
    print("\n".join(watched.said))
    return 0


if __name__ == "__main__":
    sys.exit(main())
