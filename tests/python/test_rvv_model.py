# SPDX-License-Identifier: BSD-3-Clause
"""From blocks to traces, prices and sums, on code of a few instructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rvv_samples import GEMM_LOOP, IGEMM_LOOP, block

from nmpack.errors import MissingError, NmpackError
from nmpack.rvv.account import account, scalar_cpi, split_hot
from nmpack.rvv.isa import VectorType, split
from nmpack.rvv.mca import Pricer, Tools, find_tools
from nmpack.rvv.profile import Block, Profile, ProfileError, Run, Segment
from nmpack.rvv.traces import Trace, find_traces, instruction_counts

TYPE, LOAD, FMA = "vsetvli t0, a0, e32, m4, ta, ma", "vle32.v v8, (a1)", "vfmacc.vf v8, fa0, v4"
BACK, AWAY, CALL = "bne a0, a1, -24", "blt a0, a1, 40", "jal ra, 2048"
# At 0 the type; at 4 a loop with a side exit at 12, its branch back at 28; at 32 the return.
HEAD = block(0, TYPE)
LOOP_TOP, LOOP_REST = block(4, LOAD, FMA, AWAY), block(16, FMA, FMA, FMA, BACK)
RETURN = block(32, "ret")


def traces(*blocks: tuple[Block, int]) -> tuple[Trace, ...]:
    return find_traces(*instruction_counts(blocks))


def test_a_side_exit_that_is_never_taken_leaves_a_loop_whole() -> None:
    found = traces((HEAD, 1), (LOOP_TOP, 100), (LOOP_REST, 100), (RETURN, 1))
    assert [trace.start for trace in found] == [0, 4, 32]
    loop = found[1]
    assert loop.loop
    assert (loop.executions, len(loop.instructions), loop.executed) == (100, 7, 700)
    assert loop.vector_type == VectorType(32, "m4")
    assert not loop.guessed
    assert [trace.loop for trace in found] == [False, True, False]


def test_a_side_exit_that_is_taken_cuts_the_loop() -> None:
    found = traces((HEAD, 1), (LOOP_TOP, 100), (LOOP_REST, 40), (RETURN, 1))
    assert [(trace.start, trace.executions) for trace in found] == [
        (0, 1), (4, 100), (16, 40), (32, 1),
    ]  # fmt: skip
    assert not any(trace.loop for trace in found)


def test_blocks_that_overlap_are_counted_once_each() -> None:
    whole = block(4, LOAD, FMA, AWAY, FMA, FMA, FMA, BACK)
    assert traces((HEAD, 1), (whole, 70), (LOOP_TOP, 30), (LOOP_REST, 30)) == traces(
        (HEAD, 1), (whole, 100)
    )


def test_a_jump_joins_what_only_it_leads_to() -> None:
    found = traces((block(100, "nop", "j -30"), 5), (block(72, "nop", "ret"), 5))
    assert [[item.address for item in trace.instructions] for trace in found] == [
        [100, 102, 72, 74]
    ]
    # Something else leads there as well: code above that falls through.
    found = traces(
        (block(100, "nop", "j -30"), 5), (block(70, "nop"), 5), (block(72, "nop", "ret"), 5)
    )
    assert [trace.start for trace in found] == [70, 72, 100]


def test_the_busiest_way_in_decides_the_vector_type() -> None:
    other = block(0, "vsetivli zero, 4, e64, mf2, ta, ma", AWAY)  # falls through, or to 44
    found = traces((other, 10), (block(8, TYPE, "j -30"), 3), (block(44, FMA, "ret"), 7))
    assert {trace.start: trace.vector_type for trace in found}[44] == VectorType(64, "mf2")


def test_an_unknown_vector_type_is_marked() -> None:
    # The callee may have set any type; the code before the call says what is usual.
    found = traces((block(0, TYPE, CALL), 1), (block(8, FMA, "ret"), 1))
    assert (found[1].vector_type, found[1].guessed) == (VectorType(32, "m4"), True)
    (alone,) = traces((block(0, FMA, "ret"), 1))
    assert (alone.vector_type, alone.guessed) == (VectorType(32, "m1"), True)
    # Scalar code needs none, and a trace that sets its own before it needs it neither.
    assert traces((block(0, "nop", "ret"), 1))[0].vector_type is None
    assert traces((block(0, TYPE, FMA, "ret"), 1))[0].vector_type is None


def trace(address: int, executions: int, *names: str) -> Trace:
    return Trace(block(address, *names).instructions, executions, loop=False)


def test_the_hottest_traces_cover_what_is_asked_for() -> None:
    cold, hot, warm = trace(0, 1, "nop"), trace(8, 900, "nop"), trace(16, 99, "nop")
    assert split_hot([cold, hot, warm], 0.9) == ([hot], [warm, cold])
    assert split_hot([cold, hot, warm], 0.901) == ([hot, warm], [cold])
    assert split_hot([cold, hot, warm], 1.0) == ([hot, warm, cold], [])
    assert split_hot([], 0.9) == ([], [])


def test_the_rest_costs_as_scalar_code_does() -> None:
    scalar, vector = trace(0, 10, "nop", "nop"), trace(8, 10, FMA)
    assert scalar_cpi([(scalar, 3.0), (vector, 99.0)]) == 1.5
    assert scalar_cpi([(vector, 99.0)]) == 1.0


def profile(*segments: dict[int, Run]) -> Profile:
    blocks = dict(enumerate((HEAD, LOOP_TOP, LOOP_REST, RETURN)))
    blocks = {number: replace(item, module=-1) for number, item in blocks.items()}
    rows = tuple(Segment(0, index, runs) for index, runs in enumerate(segments))
    return Profile({-1: ""}, blocks, rows)


def runs(*executions: int) -> dict[int, Run]:
    return {
        number: Run(count, 8 * count, count, 1, 0)
        for number, count in enumerate(executions)
        if count
    }


def ten_each(found: Sequence[Trace]) -> list[float]:
    return [10.0 for _ in found]


def test_sums_by_operator() -> None:
    first, second = account(profile(runs(0, 0, 0, 1), runs(2, 200, 200, 2)), ten_each, covered=1.0)
    assert first.totals.instructions == 1
    totals = second.totals
    assert totals.instructions == 2 + 200 * 3 + 200 * 4 + 2 == sum(totals.classes.values())
    assert totals.classes["vector fma"] == 800
    assert totals.classes["branch"] == 402
    assert (totals.loaded, totals.stored, totals.l1_misses, totals.l2_misses) == (3232, 404, 4, 0)
    # One price for each pass of the head, the whole loop and the return.
    assert totals.cycles == 10.0 * (2 + 200 + 2)
    assert totals.unpriced == totals.guessed == 0
    assert second.functions.keys() == {"(no file)"}
    assert second.kernel == "(no file)"


def test_what_is_not_covered_gets_the_mean() -> None:
    (only,) = account(profile(runs(2, 200, 200, 2)), ten_each, covered=0.99)
    assert only.totals.unpriced == 4
    assert only.totals.cycles == 10.0 * 200 + 4 * 1.0


def test_without_prices_there_are_no_cycles() -> None:
    (only,) = account(profile(runs(2, 200, 200, 2)), None)
    assert only.totals.cycles is None
    assert only.totals.instructions == 1404


def test_a_profile_of_no_region_or_two_is_refused() -> None:
    with pytest.raises(ProfileError, match="one marked region that ran once"):
        account(profile(), None)
    twice = Profile({-1: ""}, {}, (Segment(0, 0, {}), Segment(0, 0, {})))
    with pytest.raises(ProfileError, match="one marked region that ran once"):
        account(twice, None)


@pytest.fixture(scope="session")
def tools() -> Tools:
    """LLVM 22; its absence is a failure, not a skip."""
    try:
        return find_tools()
    except MissingError as error:
        pytest.fail(f"this test needs llvm-mca: {error}", pytrace=False)


def loop(code: bytes) -> Trace:
    return Trace(tuple(split(0x1000, code)), 1000, loop=True, vector_type=VectorType(32, "m4"))


@pytest.mark.riscv64
def test_prices_of_upstreams_inner_loops(tools: Tools, tmp_path: Path) -> None:
    igemm, gemm = loop(IGEMM_LOOP), loop(GEMM_LOOP)
    assert len(igemm.instructions) == len(gemm.instructions) == 25
    narrow = replace(igemm, vector_type=VectorType(32, "m1"))
    pricer = Pricer(tools, tmp_path)
    assert pricer.prices([igemm, gemm, igemm]) == [55.0, 43.0, 55.0]
    # The type matters, and is part of what is remembered.
    assert pricer.prices([narrow])[0] < 55.0
    (kept,) = tmp_path.iterdir()
    broken = Tools(("/bin/false",), ("/bin/false",), tools.version)
    again = Pricer(broken, tmp_path, pricer._texts)
    assert again.prices([igemm, gemm]) == [55.0, 43.0]
    kept.write_text("{")
    assert Pricer(tools, tmp_path).prices([gemm]) == [43.0]


@pytest.mark.riscv64
def test_unknown_instructions_are_one_sentence(tools: Tools) -> None:
    unknown = trace(0, 1, "0b000000")  # custom-0
    with pytest.raises(NmpackError, match="reads 1 of 2 executed instructions"):
        Pricer(tools, None).prices([unknown, trace(8, 1, "nop")])


def test_missing_or_old_llvm_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NMPACK_LLVM", str(tmp_path))
    with pytest.raises(MissingError, match=r"no llvm-mca .*run python3 scripts/make_sysroot\.py"):
        find_tools()
    for name in ("llvm-mca", "llvm-mc"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'Debian LLVM version 19.1.7'\n")
        (tmp_path / name).chmod(0o755)
    with pytest.raises(MissingError, match=r"expected LLVM 22 .* got LLVM version 19\.1\.7: run"):
        find_tools()
    (tmp_path / "llvm-mca").write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(NmpackError, match="llvm-mca failed: exit status 3"):
        find_tools()
