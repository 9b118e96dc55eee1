# SPDX-License-Identifier: BSD-3-Clause
"""Measuring as on a processor without AMX: Linux refuses it to this process and its children."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nmpack.errors import NmpackError
from nmpack.measure.amx import deny_amx
from nmpack.measure.machine import describe_machine

#: Ask for tile data. Processors without AMX answer that it is not supported (EOPNOTSUPP, or EINVAL
#: of old kernels), not that it is not permitted.
ASK = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
answer = libc.syscall(158, 0x1023, 18)
print(answer != 0 and errno.errorcode[ctypes.get_errno()])
"""
DENY = """
import subprocess, sys
from nmpack.measure.amx import deny_amx
from nmpack.measure.machine import describe_machine
deny_amx()
print([name for name in describe_machine()["features"] if name.startswith("amx")])
sys.stdout.flush()
subprocess.run([sys.executable, "-c", ASK], check=True)
"""


def python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    ).stdout


def test_amx_is_refused_to_a_process_and_its_children() -> None:
    if platform.machine() != "x86_64":
        with pytest.raises(NmpackError, match=f"of x86-64 processors, got {platform.machine()}"):
            deny_amx()
        return
    assert python(f"ASK = {ASK!r}{DENY}{ASK}").split("\n") == ["[]", "EPERM", "EPERM", ""]
    assert python(ASK) != "EPERM\n"


@pytest.mark.torch
@pytest.mark.delegate
def test_bench_measures_without_amx(
    models: Callable[[str], Path],
    tmp_path: Path,
    nmpack_command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = nmpack_command(
        "bench", models("pruned"), "--without-amx", "--rounds", "2", "--json", tmp_path / "b.json"
    )
    if platform.machine() != "x86_64":
        assert "AMX is of x86-64 processors" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    machine = json.loads((tmp_path / "b.json").read_text())["machine"]
    found = describe_machine()["features"]
    assert machine["features"] == [name for name in found if not name.startswith("amx")]


def test_other_processors_have_no_amx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(NmpackError, match="of x86-64 processors, got riscv64"):
        deny_amx()
