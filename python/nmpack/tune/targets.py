# SPDX-License-Identifier: BSD-3-Clause
"""Where nmpack-measure runs: on this machine, under QEMU, on a board (:mod:`nmpack.tune.ssh`)."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nmpack.errors import MissingError, NmpackError
from nmpack.locations import find_measure
from nmpack.runtime.qemu import cpu
from nmpack.tune.counting import Counter
from nmpack.tune.protocol import Machine
from nmpack.tune.session import Command, Session, explain_end


class TargetError(NmpackError):
    """A target cannot be used; the message says why."""


class Target(Protocol):
    """Something that can start nmpack-measure."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def timed(self) -> bool:
        """Whether time means anything there."""

    def start(self) -> Session:
        """Start it; raises what :class:`~nmpack.tune.session.Session` and the target have."""

    def counter(self) -> Counter | None:
        """Return what counts there; None where time means something."""

    def expected_kernels(self) -> str | None:
        """Return the hash of the kernels that the program there is to have; None takes any."""


@dataclass(frozen=True, slots=True)
class NativeTarget:
    """This machine.

    Attributes:
        isa: a lesser instruction set that its processor is taken for; None for its own.
    """

    program: Path
    name: str = "this machine"
    timed: bool = True
    isa: str | None = None

    def start(self) -> Session:
        """Start the program."""
        limit = [] if self.isa is None else ["--isa", self.isa]
        return Session(Command([str(self.program), *limit], self.name, explain_end(self.name)))

    def counter(self) -> None:
        """Return nothing: time is measured."""

    def expected_kernels(self) -> None:
        """Return nothing: the program is this machine's build."""


@dataclass(frozen=True, slots=True)
class QemuTarget:
    """The riscv64 build under user-mode QEMU, where nothing is time.

    Attributes:
        vlen: vector length in bits.
    """

    program: Path
    emulator: Path
    vlen: int
    name: str = "QEMU"
    timed: bool = False

    @property
    def environment(self) -> dict[str, str]:
        """The processor."""
        return {"QEMU_CPU": cpu(self.vlen), "LC_ALL": "C"}

    def start(self) -> Session:
        """Start the program, to ask what there is to count."""
        argv = [str(self.emulator), str(self.program)]
        environment = dict(os.environ) | self.environment
        return Session(Command(argv, self.name, explain_end(self.name), environment))

    def counter(self) -> Counter:
        """Return what counts there.

        Raises:
            MissingError: the plugin, or LLVM 22, is absent.
        """
        return Counter(self.program, self.emulator, self.environment, self.vlen)

    def expected_kernels(self) -> str | None:
        """Return the hash of this machine's build."""
        return own_kernels()


def native_target(isa: str | None = None) -> NativeTarget:
    """Find the program of this machine; ``isa`` as in :class:`NativeTarget`.

    Raises:
        MissingError: it is not built.
    """
    return NativeTarget(find_measure("host"), isa=isa)


def qemu_target(vlen: int) -> QemuTarget:
    """Find the riscv64 program and QEMU.

    Raises:
        MissingError: one of them is absent.
        NmpackError: not a vector length that is tested.
    """
    emulator = shutil.which("qemu-riscv64")
    if emulator is None:
        raise MissingError("qemu-riscv64 is not installed: apt-get install qemu-user")
    cpu(vlen)
    return QemuTarget(find_measure("riscv64"), Path(emulator), vlen)


def own_kernels() -> str | None:
    """Return the hash of the kernels that this machine's build has, None where there is none."""
    with suppress(MissingError), native_target().start() as session:
        return session.machine().kernels
    return None


def require_kernels(machine: Machine, expected: str | None, name: str) -> None:
    """Check that a target's program has the kernels that this machine's build has.

    Raises:
        TargetError: it has others, so that its times would be of something else.
    """
    if expected is not None and machine.kernels != expected:
        raise TargetError(
            f"{name}: nmpack-measure has other kernels ({machine.kernels}) than the build of this "
            f"machine ({expected}): build both from one version"
        )
