# SPDX-License-Identifier: BSD-3-Clause
"""Price traces with llvm-mca's model of the SpacemiT X60 (LLVM 22 or later has one).

The model issues in order and takes every load for a first-level cache hit and every branch for
predicted. A trace is priced as if it followed itself: for a loop that is what happens; for other
code it leaves out how long the last results take to arrive, which overlaps with what follows.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nmpack.errors import MissingError, NmpackError
from nmpack.files import write_json
from nmpack.locations import cache_folder, named
from nmpack.rvv.traces import Trace

CPU = "spacemit-x60"
VLEN = 256
_FEATURES = "-mattr=+m,+a,+f,+d,+c,+v,+zicsr,+zifencei,+zfh,+zvfh"
_FEW, _MANY = 100, 300
_NEWEST_WITHOUT = 21


@dataclass(frozen=True, slots=True)
class Tools:
    """How llvm-mca and llvm-mc of one version are started."""

    mca: tuple[str, ...]
    mc: tuple[str, ...]
    version: str


def find_tools() -> Tools:
    """Find LLVM's tools: in the folder ``NMPACK_LLVM``, or where scripts/make_sysroot.py puts them.

    Raises:
        MissingError: there are none, or they are too old to know the X60.
    """
    root = named("NMPACK_LLVM") or cache_folder() / "llvm"
    remedy = "run python3 scripts/make_sysroot.py llvm, or point NMPACK_LLVM at LLVM 22"
    if (root / "llvm-mca").is_file():
        start: tuple[str, ...] = ()
        folder = root
    else:
        folders = sorted(root.glob("*/usr/lib/llvm-*/bin"))
        folder = folders[-1] if folders else root
        loader = next(folder.parents[1].glob("*/ld-linux-*.so.*"), None)
        # Beside the system: its own loader and libraries, never those of this machine.
        start = (str(loader), "--library-path", str(loader.parent)) if loader else ()
    for name in ("llvm-mca", "llvm-mc"):
        if not (folder / name).is_file():
            raise MissingError(f"no {name} of LLVM 22 under {root}: {remedy}")
    tools = tuple((*start, str(folder / name)) for name in ("llvm-mca", "llvm-mc"))
    said = _call((*tools[0], "--version"), "")
    match = re.search(r"LLVM version (\d+)\.(\S+)", said)
    if match is None or int(match[1]) <= _NEWEST_WITHOUT:
        got = match[0] if match else said.strip()[:60]
        raise MissingError(f"expected LLVM 22 or later, which knows the X60, got {got}: {remedy}")
    return Tools(tools[0], tools[1], f"{match[1]}.{match[2]}")


def _call(command: Sequence[str], text: str) -> str:
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, check=False, timeout=300
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NmpackError(f"{Path(command[-1]).name} does not run: {error}") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise NmpackError(f"{Path(command[0]).name} failed: {lines[0]}")
    return done.stdout


@dataclass(slots=True)
class Pricer:
    """Prices traces; remembers disassembly, and prices across processes.

    Attributes:
        tools: of :func:`find_tools`.
        folder: where prices are kept, None to keep none.
    """

    tools: Tools
    folder: Path | None = field(default_factory=lambda: cache_folder() / "mca")
    _texts: dict[tuple[int, int], str] = field(default_factory=dict)

    def prices(self, traces: Iterable[Trace]) -> list[float]:
        """Return the cycles of one pass of each trace.

        Raises:
            NmpackError: llvm-mca does not run, or does not understand the code.
        """
        listings = self._listings(list(traces))
        known = self._read()
        keys = [hashlib.sha256(text.encode()).hexdigest()[:32] for text in listings]
        wanted = {key: text for key, text in zip(keys, listings, strict=True) if key not in known}
        if wanted:
            few, many = self._cycles(wanted, _FEW), self._cycles(wanted, _MANY)
            fresh = {key: (many[key] - few[key]) / (_MANY - _FEW) for key in wanted}
            known = self._read() | fresh
            if self.folder is not None:
                write_json(self._file(), known)
        return [known[key] for key in keys]

    def _listings(self, traces: list[Trace]) -> list[str]:
        self._disassemble({(i.word, i.size) for trace in traces for i in trace.instructions})
        listings = []
        for trace in traces:
            lines = []
            if trace.vector_type is not None:
                lines.append(f"# LLVM-MCA-RISCV-LMUL {trace.vector_type.lmul.upper()}")
                lines.append(f"# LLVM-MCA-RISCV-SEW E{trace.vector_type.sew}")
            lines += [self._texts[item.word, item.size] for item in trace.instructions]
            listings.append("\n".join(lines) + "\n")
        return listings

    def _disassemble(self, words: set[tuple[int, int]]) -> None:
        missing = sorted(words - self._texts.keys())
        if not missing:
            return
        lines = [
            " ".join(f"{byte:#04x}" for byte in word.to_bytes(size, "little"))
            for word, size in missing
        ]
        command = (
            *self.tools.mc,
            "--disassemble",
            "-triple=riscv64",
            _FEATURES,
            "-M",
            "no-aliases",
        )
        said = _call(command, "\n".join(lines) + "\n").splitlines()
        texts = [line.strip() for line in said if line.strip() and not line.startswith("\t.")]
        if len(texts) != len(missing):
            raise NmpackError(
                f"llvm-mc reads {len(texts)} of {len(missing)} executed instructions: "
                "the program has some that RV64GCV has not"
            )
        self._texts |= dict(zip(missing, texts, strict=True))

    def _cycles(self, listings: Mapping[str, str], iterations: int) -> dict[str, int]:
        source = "".join(
            f"# LLVM-MCA-BEGIN {key}\n{text}# LLVM-MCA-END\n" for key, text in listings.items()
        )
        command = (
            *self.tools.mca, "-mtriple=riscv64", f"-mcpu={CPU}", _FEATURES,
            # A call takes 100 cycles unless told: here it is a predicted branch.
            "--json", f"-iterations={iterations}", "-call-latency=1",
        )  # fmt: skip
        try:
            regions = json.loads(_call(command, source))["CodeRegions"]
            found = {row["Name"]: int(row["SummaryView"]["TotalCycles"]) for row in regions}
        except (ValueError, KeyError, TypeError) as error:
            raise NmpackError(f"llvm-mca's answer cannot be read: {error}") from error
        if missing := listings.keys() - found.keys():
            raise NmpackError(f"llvm-mca prices {len(found)} of {len(missing) + len(found)} traces")
        return found

    def _file(self) -> Path:
        assert self.folder is not None
        return self.folder / f"{CPU}-llvm-{self.tools.version}-{_FEW}-{_MANY}-calls-1.json"

    def _read(self) -> dict[str, float]:
        if self.folder is None:
            return {}
        try:
            kept = json.loads(self._file().read_text(encoding="utf-8"))
            return {str(key): float(value) for key, value in kept.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}  # none yet, or damaged: they are computed again
