# SPDX-License-Identifier: BSD-3-Clause
"""``nmpack checkpoint``."""

from __future__ import annotations

import argparse
from typing import Any

from nmpack.cli.common import Subparsers, add_source, add_verb, open_source, positive
from nmpack.cli.progress import console, progress
from nmpack.errors import NmpackError
from nmpack.files import write_json
from nmpack.quiet import import_module


def add(verbs: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        verbs,
        "checkpoint",
        "Say how little memory a training step of a PyTorch model needs: choose the activations\n"
        "to keep, the rest is computed again. Trains two steps on random images and compares the\n"
        "predicted with the measured peak. Sizes are those of activations: parameters, their\n"
        "gradients and optimizer states come on top and do not depend on the plan.",
        """
        nmpack checkpoint resnet152 --batch 8
        nmpack checkpoint resnet50 --batch 32 --memory 800MiB
        nmpack checkpoint r50.pt --method sqrt --plot memory.svg
        """,
        execute,
    )
    add_source(parser, keras=False)
    parser.add_argument(
        "--batch", type=positive, default=8, metavar="N", help="images a step (default 8)"
    )
    parser.add_argument(
        "--memory",
        metavar="auto|BYTES",
        help="recompute as little as this memory allows: bytes such as 800MiB, or auto for what "
        "is free; without it, the least peak",
    )
    parser.add_argument(
        "--method",
        default="revised",
        metavar="M",
        help="revised (default), static, sqrt, every:K or none",
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="threads (torch's default)")
    parser.add_argument("--plot", metavar="FILE", help="draw memory over time (.png, .svg, .pdf)")
    parser.add_argument("--compare", action="store_true", help="measure a step without a plan too")
    parser.add_argument("--json", metavar="FILE", help="write the report there")


def execute(arguments: argparse.Namespace) -> None:
    """Plan, measure, and print."""
    torch: Any = import_module("torch", "torch")
    from nmpack import checkpointing

    source = open_source(arguments)
    if source.framework != "torch":
        raise NmpackError(f"expected a PyTorch model, got {arguments.model} of {source.framework}")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    model = source.model.train()
    height, width, channels = source.input_shape
    images = torch.randn(arguments.batch, channels, height, width)
    labels = torch.randint(source.num_classes, (arguments.batch,))

    def loss(logits: Any) -> Any:
        return torch.nn.functional.cross_entropy(logits, labels)

    budget = None
    if arguments.memory is not None:
        budget = checkpointing.memory_budget(model, arguments.memory)
    with progress(f"tracing {arguments.model}, batch {arguments.batch}"):
        planner = checkpointing.Planner(model, images)
        plan = planner.plan(arguments.method, budget=budget)
    reports = {}
    with progress("measuring a step"):
        reports[plan.method] = checkpointing.report(model, images, plan, loss)
        if arguments.compare and plan.method != "none":
            none = planner.plan("none")
            reports["none"] = checkpointing.report(model, images, none, loss)
    for report in reports.values():
        console().print(f"{report}; {report.step.seconds:.2f} s a step", soft_wrap=True)
    names = ", ".join(plan.checkpoints) or "none"
    console().print(f"segments begin at: {names}", soft_wrap=True)
    if arguments.json:
        rows = [report.to_dict() for report in reports.values()]
        write_json(arguments.json, {"schema": 1, "budget": budget, "reports": rows})
    if arguments.plot:
        checkpointing.plot(reports, arguments.plot)
        console().print(f"wrote {arguments.plot}")
