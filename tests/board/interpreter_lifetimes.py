# SPDX-License-Identifier: BSD-3-Clause
"""Checks of the interpreter of libtensorflow-lite: views, threads, and in which order things end.

They run as and where ``interpreter_checks.py`` does.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interpreter_checks import opened, path_of

from nmpack.runtime.interpreter import find_delegate


def test_memory_does_not_move_under_a_view() -> None:
    interpreter = opened("small_network")
    index = interpreter.get_input_details()[0]["index"]
    part = interpreter.tensor(index)()[..., :1]
    part[...] = 3.0
    for call in (interpreter.invoke, interpreter.allocate_tensors, interpreter.close):
        with pytest.raises(RuntimeError, match="still looks into the interpreter's memory"):
            call()
    assert (interpreter.get_tensor(index)[..., :1] == 3.0).all()
    del interpreter
    gc.collect()
    assert (part == 3.0).all()
    part[...] = 4.0


class Meddler:
    """A value that does something when it is asked for its numbers."""

    def __init__(self, value: np.ndarray, act: Callable[[], object]) -> None:
        self._value, self._act = value, act

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        self._act()
        return self._value


def test_a_value_may_use_the_interpreter_that_it_is_for() -> None:
    interpreter = opened("open_batch")
    (item,) = interpreter.get_input_details()
    value = np.zeros([50, *item["shape"][1:]], np.float32)

    def resize() -> None:
        interpreter.resize_tensor_input(item["index"], value.shape)
        interpreter.allocate_tensors()

    interpreter.set_tensor(item["index"], Meddler(value, resize))
    runner = interpreter.get_signature_runner("main")
    with pytest.raises(RuntimeError, match="one that was closed"):
        runner(x=Meddler(value, interpreter.close))
    interpreter = opened("open_batch")
    with pytest.raises(RuntimeError, match="one that was closed"):
        interpreter.set_tensor(item["index"], Meddler(value[:3], interpreter.close))


def test_everything_ends_in_any_order(tmp_path: Path) -> None:
    """Also in a cycle and at exit; in a process of its own, for it would crash."""
    code = """if True:
        import gc, itertools, sys, threading, time
        from nmpack.runtime.c_interpreter import Interpreter, load_delegate
        for order in itertools.permutations(range(4)):
            delegate = load_delegate(sys.argv[2], {"nm": "force"})
            first = Interpreter(sys.argv[1], experimental_delegates=[delegate])
            held = [delegate, first, first.get_signature_runner("main"),
                    Interpreter(sys.argv[1], experimental_delegates=[delegate])]
            del delegate, first
            held[1].allocate_tensors(), held[3].allocate_tensors(), held[1].invoke()
            for place in order:
                held[place] = None
                gc.collect()
        delegate = load_delegate(sys.argv[2])
        cycle = [delegate, Interpreter(sys.argv[1], experimental_delegates=[delegate])]
        cycle.append(cycle)
        del delegate, cycle
        gc.collect()
        delegate = load_delegate(sys.argv[2], {"nm": "force", "profile": sys.argv[3]})
        kept = Interpreter(sys.argv[1], experimental_delegates=[delegate])
        kept.allocate_tensors(), kept.invoke()
        view = kept.tensor(kept.get_input_details()[0]["index"])()
        def work(interpreter):
            while True:
                interpreter.invoke()
        # At the exit threads are within long runs, one on TFLite's kernels, one in a delegate.
        for delegates in [], [load_delegate(sys.argv[2], {"nm": "force"})]:
            busy = Interpreter(sys.argv[1], experimental_delegates=delegates)
            item = busy.get_input_details()[0]
            busy.resize_tensor_input(item["index"], [4000, *item["shape"][1:]])
            busy.allocate_tensors()
            threading.Thread(target=work, args=(busy,), daemon=True).start()
        time.sleep(0.2)
        print("end")
    """
    profile = tmp_path / "profile.json"
    files = path_of("open_batch"), find_delegate(), profile
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, files)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr
    assert profile.is_file()  # a delegate writes it at its end


def test_threads_may_share_an_interpreter() -> None:
    interpreter = opened("small_network", delegated=True)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(20):
                interpreter.invoke()
                interpreter.get_output_details()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    interpreter.close()
    for thread in threads:
        thread.join()
    assert [str(error) for error in errors if "one that was closed" not in str(error)] == []
