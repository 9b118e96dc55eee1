# SPDX-License-Identifier: BSD-3-Clause
"""Children of a process that has interpreters: ``python forks.py CASE`` runs a case of ``CASES``.

Each is a process of its own. In the one that runs all tests other libraries have threads, too, and
some of them warn of forks.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

import parity
from signatures import join
from test_life import SECONDS, assert_same, convolution, image, ours, plain, stock

CASES: dict[str, Callable[[], None]] = {}


def case(function: Callable[[], None]) -> Callable[[], None]:
    CASES[function.__name__] = function
    return function


def in_child(work: Callable[[], bool]) -> None:
    """Run ``work`` in a forked child, which may not take long."""
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        os._exit(0 if work() else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


@case
def a_child_process_runs_its_parents_interpreter() -> None:
    """The threads of a pool do not survive a fork."""
    model = join({"": convolution(12, size=32)})
    x = image(1, (1, 32, 32, 16))
    expected = plain(stock(model), x)
    interpreter = ours(model, num_threads="2")

    def right() -> bool:
        return not parity.difference([plain(interpreter, x)], [expected], 1e-4)

    assert right()
    in_child(right)
    in_child(lambda: right() and _forked_again(right))
    worker = threading.Thread(target=in_child, args=(right,))
    worker.start()
    worker.join(2 * SECONDS)
    assert not worker.is_alive()
    assert right()


def _forked_again(work: Callable[[], bool]) -> bool:
    in_child(work)
    return work()


@case
def a_child_process_lets_go_of_its_parents_interpreter() -> None:
    model = join({"": convolution(13)})
    interpreter = ours(model, num_threads="2")
    plain(interpreter, image(1))

    def destroy() -> bool:
        nonlocal interpreter
        interpreter = None
        return True

    in_child(destroy)
    assert plain(interpreter, image(1)).shape == (1, 8, 8, 32)


@case
def a_fork_during_a_run_leaves_both_able() -> None:
    model = join({"": convolution(14, size=64)})
    x = image(1, (1, 64, 64, 16))
    expected = plain(stock(model), x)
    interpreter, other = (ours(model, num_threads="2") for _ in range(2))
    plain(other, x)
    plain(interpreter, x)
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            interpreter.invoke()

    worker = threading.Thread(target=run)
    worker.start()
    try:
        for _ in range(10):
            in_child(lambda: not parity.difference([plain(other, x)], [expected], 1e-4))
    finally:
        stop.set()
        worker.join(SECONDS)
    assert not worker.is_alive()
    assert_same(plain(interpreter, x), expected)


if __name__ == "__main__":
    CASES[sys.argv[1]]()
