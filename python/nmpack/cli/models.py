# SPDX-License-Identifier: BSD-3-Clause
"""``nmpack models``."""

from __future__ import annotations

import argparse

from nmpack.cli.common import Subparsers, add_verb
from nmpack.cli.progress import console
from nmpack.models import ZOO
from nmpack.terminal import Table


def add(verbs: Subparsers) -> None:
    """Add the subcommand."""
    add_verb(
        verbs,
        "models",
        "List the networks that need no file. Any architecture of keras.applications works as "
        "well: keras:ResNet50.",
        """
        nmpack models
        nmpack prune resnet18 --checkpoint resnet18-f37072fd.pth --sparsity 0.75 -o r18.pt
        """,
        execute,
    )


def execute(_arguments: argparse.Namespace) -> None:
    """Print the zoo."""
    table = Table("name", "input HWC", "classes", "what it is", header_style="bold")
    for spec in ZOO.values():
        shape = "x".join(map(str, spec.input_shape))
        table.add_row(spec.name, shape, str(spec.num_classes), spec.about)
    console().print(table)
