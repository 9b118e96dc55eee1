# SPDX-License-Identifier: BSD-3-Clause
"""What a number was measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nmpack.measure.amx import is_amx_denied

_FEATURES = (
    "avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16",
    "amx_int8", "amx_bf16", "asimd", "asimdhp", "asimddp", "sve",
)  # fmt: skip


def describe_machine() -> dict[str, Any]:
    """Return the processor, its vector features, cores, memory, kernel and present load."""
    info = _read("/proc/cpuinfo")
    fields = {
        key.strip(): value.strip()
        for key, _, value in (line.partition(":") for line in info.split("\n\n")[0].splitlines())
    }
    flags = [
        flag
        for flag in (fields.get("flags") or fields.get("Features") or "").split()
        if not (flag.startswith("amx") and is_amx_denied())
    ]
    memory = next((line for line in _read("/proc/meminfo").splitlines() if "MemTotal" in line), "")
    return {
        "processor": fields.get("model name") or fields.get("uarch") or platform.machine(),
        "model": {key: fields[key] for key in ("cpu family", "model", "stepping") if key in fields},
        "architecture": platform.machine(),
        "features": [flag for flag in _FEATURES if flag in flags] or fields.get("isa", ""),
        "cores": len(os.sched_getaffinity(0)),
        "hypervisor": "hypervisor" in flags,
        "memory_bytes": 1024 * int(memory.split()[1]) if memory else 0,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def busy_note(machine: Mapping[str, Any]) -> str:
    """Say what follows where a machine, as described, was busy; empty where it was not."""
    if machine["load_average"] <= machine["cores"]:
        return ""
    return "The machine was busy with other work: do not quote these times."


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
