# SPDX-License-Identifier: BSD-3-Clause
"""Child processes that answer, babble, die, pause; and rounds that go on without one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nmpack.errors import InterpreterError, MissingError, NmpackError
from nmpack.measure.rounds import interleave
from nmpack.runtime.child import ChildProcess, child_environment
from nmpack.runtime.interpreter import Engine
from nmpack.runtime.process import EngineProcess

Start = Callable[..., ChildProcess]
#: A worker whose every run takes no time; it ends after as many as its first line says.
WORKER = """
import sys
from nmpack.runtime.serving import serve, timed
left = [{runs}]
def run(request):
    left[0] -= 1
    if left[0] < 0:
        sys.exit(3)
    return timed(lambda: None, request)
serve(int(sys.argv[1]), {{"run": run}})
"""


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Return a function that starts a module of the given text as a worker."""

    def call(text: str, name: str = "worker", timeout: float = 30.0) -> ChildProcess:
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        environment = child_environment()
        environment["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{environment['PYTHONPATH']}"
        return ChildProcess(sys.executable, name, name, timeout=timeout, environment=environment)

    return call


@pytest.mark.parametrize("answer", ["hello", "[]", "{}", '{"ok": 1}', "1" * 5000])
def test_an_answer_that_is_none_is_an_error(start: Start, answer: str) -> None:
    text = f"""
    import os, sys
    os.write(int(sys.argv[1]), b'{answer}\\n')
    sys.stdin.read()
    """
    with start(text) as child, pytest.raises(InterpreterError, match="expected an answer in JSON"):
        child.peak_memory()


def test_bytes_that_are_no_text_are_an_error(start: Start) -> None:
    text = r"import os, sys; os.write(int(sys.argv[1]), b'\xff\xfe\n'); sys.stdin.read()"
    with start(text) as child, pytest.raises(InterpreterError, match="expected an answer in JSON"):
        child.peak_memory()


def test_a_child_that_ends_says_how(start: Start) -> None:
    with start("print('no such library'); raise SystemExit(4)") as child:
        with pytest.raises(InterpreterError, match=r"worker: the runtime's process ended with"):
            child.time(1)
        assert "no such library" in child.log()


@pytest.mark.parametrize(("seconds", "written"), [(0.05, False), (60.0, True)])
def test_what_a_child_does_at_its_end_is_waited_for(
    start: Start, tmp_path: Path, seconds: float, written: bool
) -> None:
    text = f"""
    import atexit, os, sys, time
    from pathlib import Path
    atexit.register(lambda: (time.sleep(1.0), Path({str(tmp_path / "end")!r}).touch()))
    os.fdopen(int(sys.argv[1]), "rb").read()
    """
    with start(text) as child:
        child.seconds_to_end = seconds
    assert (tmp_path / "end").exists() == written


def _state(pid: int) -> str:
    text = Path(f"/proc/{pid}/stat").read_text("ascii", errors="replace")
    return text.rpartition(")")[2].split()[0]


def test_a_paused_child_does_nothing_until_it_is_resumed(start: Start) -> None:
    with start(WORKER.format(runs=9)) as child:
        child.pause()
        limit = time.monotonic() + 20
        while _state(child._child.pid) != "T":
            assert time.monotonic() < limit
            time.sleep(0.01)
        child.resume()
        assert len(child.time(3)) == 3
        child.pause()
    assert child._child.returncode == 0


def test_a_paused_child_does_not_outlive_its_parent(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(WORKER.format(runs=1))
    code = (
        "import sys, time; from nmpack.runtime.child import ChildProcess; "
        "child = ChildProcess(sys.executable, 'worker', 'w', timeout=30.0); "
        "child.pause(); print(child._child.pid, flush=True); time.sleep(60)"
    )
    environment = child_environment()
    environment["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{environment['PYTHONPATH']}"
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        parent.send_signal(signal.SIGKILL)
    limit = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and _state(pid) != "Z":
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_rounds_go_on_without_who_is_lost(start: Start) -> None:
    lost: dict[int, NmpackError] = {}
    with (
        start(WORKER.format(runs=99), "well") as well,
        start(WORKER.format(runs=2), "frail") as frail,
    ):
        times = interleave([well, frail], rounds=3, repeat=2, warmup=1, lost=lost)
        assert [len(row) for row in times[0]] == [2, 2, 2]
        assert [len(row) for row in times[1]] == [2, 0, 0]
        assert "frail: the runtime's process ended with status 3" in str(lost[1])
        assert list(lost) == [1]
        assert well.cores_used > 0


def test_without_a_list_of_the_lost_the_first_failure_is_raised(start: Start) -> None:
    with start(WORKER.format(runs=1)) as child, pytest.raises(InterpreterError, match="status 3"):
        interleave([child], rounds=3, repeat=2, warmup=1)


@pytest.mark.parametrize(("frozen", "executable"), [(True, "/opt/app"), (False, "")])
def test_a_program_that_embeds_python_does_not_start_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, frozen: bool, executable: str
) -> None:
    """It would run from its beginning, again and again; PyInstaller sets these."""
    model = tmp_path / "any.tflite"
    model.write_bytes(b"any")
    monkeypatch.setattr(sys, "frozen", frozen, raising=False)
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("it was started"))
    with pytest.raises(MissingError, match="got a program that embeds one"):
        EngineProcess(model, Engine("nmpack"))
