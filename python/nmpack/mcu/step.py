# SPDX-License-Identifier: BSD-3-Clause
"""The contract between what lowers operators and what lays out memory and writes C."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A constant array of the generated C.

    Attributes:
        name: unique in its step, as ``weights``; C text refers to it as ``{weights}``.
        values: flat, of the C type that its dtype says (``int8_t``, ``uint32_t``, …).
        alignment: bytes.
    """

    name: str
    values: npt.NDArray[Any]
    alignment: int = 4


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One call of one kernel.

    Attributes:
        operator: index of the operator in the file's first subgraph.
        kind: the operator's name in TFLite, as ``CONV_2D``.
        function: C function, declared in ``nm_mcu.h``.
        sources: files below ``mcu/kernels`` that it needs, as ``conv2d_s8.c``; where a target has a
            file of the same name with ``.S`` or ``.c`` in its folder, that is built instead.
        struct: type of its parameters, as ``struct nm_conv2d_s8``.
        parameters: the initializer of that struct, designated, with ``{name}`` for constants.
        constants: arrays that ``parameters`` names.
        inputs: tensors read, in the order of arguments; none of them constant.
        outputs: tensors written.
        scratch_bytes: memory it needs while it runs, 4-byte aligned.
        takes_scratch: whether the function has that argument although this call may need none.
        in_place: index of the input whose memory the only output may share, if that input dies
            here; None where it may not.
        layer: name for the table.
        kernel: word for the table, as ``dense4x4`` or ``col4``.
        pattern: what was found in the weights, as ``1:8 in tiles of 4``.
        macs: multiply-adds that it does.
        dense_macs: those that a dense kernel would do.
        weight_bytes: flash that its constants take, indices included.
        cycles: predicted, by target; see :mod:`nmpack.mcu.cycles`.
    """

    operator: int
    kind: str
    function: str
    sources: tuple[str, ...]
    struct: str
    parameters: str
    constants: tuple[Constant, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    scratch_bytes: int = 0
    takes_scratch: bool = False
    in_place: int | None = None
    layer: str = ""
    kernel: str = ""
    pattern: str = ""
    macs: int = 0
    dense_macs: int = 0
    cycles: dict[str, int] = field(default_factory=dict)

    @property
    def weight_bytes(self) -> int:
        """Bytes of flash that its constants take."""
        return int(sum(constant.values.nbytes for constant in self.constants))


Int8 = npt.NDArray[np.int8]
