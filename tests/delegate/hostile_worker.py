# SPDX-License-Identifier: BSD-3-Clause
"""Runs model files, each in a process of its own, and prints how each process ended.

  python hostile_worker.py DELEGATE|none MODEL...

One line for each model: ``ok``, ``error TEXT``, or ``signal NUMBER``, the last followed by
``with nothing delegated`` where the delegate had left every operator to the interpreter, whose
kernels then ran alone. A run that takes too long ends with SIGALRM.
"""

from __future__ import annotations

import os
import resource
import signal
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType, load_delegate

SECONDS = 20
MEMORY = 6 << 30
NOTHING = "with nothing delegated"


def run(delegate: str, model: str, report: int) -> None:
    """Load the model, fill its inputs with numbers and run it twice."""
    delegates = []
    if delegate != "none":
        path, _, text = delegate.partition("?")
        options = dict(pair.split("=", 1) for pair in text.split(",") if pair)
        delegates = [load_delegate(path, options)]
    interpreter = Interpreter(
        model_path=model,
        experimental_delegates=delegates,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    if not any("Delegate" in node["op_name"] for node in interpreter._get_ops_details()):
        os.write(report, NOTHING.encode())
    for _ in range(2):
        for detail in interpreter.get_input_details():
            tensor = interpreter.tensor(detail["index"])()
            tensor[...] = np.arange(tensor.size).reshape(tensor.shape) % 7
            del tensor
        interpreter.invoke()
    for detail in interpreter.get_output_details():
        interpreter.get_tensor(detail["index"]).sum()


def child(delegate: str, model: str, report: int) -> None:
    """Run one model and write what came of it to the pipe ``report``."""
    if "asan" not in os.environ.get("LD_PRELOAD", ""):
        # That reserves terabytes, and limits what is allocated by an option of its own.
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(SECONDS)
    try:
        run(delegate, model, report)
        text = "ok"
    except Exception as error:
        text = "error " + " ".join(str(error).split())[:200]
    os.write(report, f"\n{text}".encode())
    os._exit(0)


def main() -> None:
    """Take the models one after the other."""
    delegate, *models = sys.argv[1:]
    for model in models:
        reader, writer = os.pipe()
        process = os.fork()
        if process == 0:
            child(delegate, model, writer)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            left, _, text = pipe.read().partition("\n")
        _, status = os.waitpid(process, 0)
        if os.WIFSIGNALED(status):
            text = f"signal {os.WTERMSIG(status)} {left}".rstrip()
        print(text, flush=True)


main()
