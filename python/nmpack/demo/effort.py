# SPDX-License-Identifier: BSD-3-Clause
"""How much of everything the demo does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effort:
    """Training images, epochs of training and of fine-tuning; rounds and runs of the timing."""

    images: int
    epochs: int
    tuning_epochs: int
    rounds: int
    repeat: int


FULL = Effort(images=60_000, epochs=2, tuning_epochs=1, rounds=8, repeat=3)
#: Every stage, in two minutes; its accuracies and times say nothing.
QUICK = Effort(images=4_000, epochs=1, tuning_epochs=1, rounds=1, repeat=1)
