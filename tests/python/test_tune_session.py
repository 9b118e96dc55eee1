# SPDX-License-Identifier: BSD-3-Clause
"""nmpack.tune: whatever a program answers, or does not, ends in a value or in one sentence."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tune_samples import DEFINITION, LAYER, MACHINE, session_of

from nmpack.checks import FormatError, parse_object
from nmpack.errors import MissingError, NmpackError
from nmpack.tune import session
from nmpack.tune.protocol import (
    AnswerError,
    RefusedError,
    layer_command,
    read_definition,
    read_machine,
    read_times,
)
from nmpack.tune.session import Command, LostError, Session, explain_end
from nmpack.tune.shapes import Layer, Setting

GOOD = json.dumps(MACHINE.to_dict())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def answering(*lines: str) -> str:
    """A script that gives one answer to each command, then ends."""
    return "".join(f"read command\ncat <<'END'\n{line}\nEND\n" for line in lines)


def test_a_good_program(tmp_path: Path) -> None:
    code = answering(
        GOOD,
        json.dumps({"layer": "a"} | DEFINITION.to_dict()),
        '{"layer": "a", "candidate": "dense", "ns": [5.5, 7]}',
        '{"error": "no such layer"}',
        '{"dropped": "a"}',
    )
    with session_of(tmp_path / "program", code) as program:
        assert program.machine() == MACHINE
        assert program.define("a", LAYER, Setting()) == DEFINITION
        assert program.run("a", "dense", 2) == [5.5, 7.0]
        with pytest.raises(RefusedError, match=r"^here: nmpack-measure refuses: no such layer$"):
            program.run("b", "dense", 2)
        program.drop("a")
        with pytest.raises(LostError, match="ended with status 0"):
            program.machine()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "expected JSON"),
        ("hello", "expected JSON"),
        ("[]", "expected a JSON object"),
        ("[" * 100000, "expected JSON"),
        ('{"protocol": ' + "9" * 5000 + "}", "expected JSON"),
        (GOOD.replace('"vlen": 0', '"vlen": NaN'), "expected numbers, got NaN"),
        (GOOD.replace('"vlen": 0', '"vlen": 0.5'), "'vlen' is to be a whole number"),
        (GOOD.replace('"vlen": 0', '"vlen": true'), "'vlen' is to be a whole number"),
        (GOOD.replace('"vlen": 0', '"vlen": 0, "vlen": 1'), "'vlen' twice"),
        (GOOD.replace('"vlen"', '"length"'), "it has no 'vlen'"),
        (GOOD.replace("{", '{"more": 1,', 1), "it has an unknown 'more'"),
        (GOOD.replace("Some CPU", "a\\u001b[31mb"), "'cpu' is to be a short text"),
        (GOOD.replace("0123456789abcdef", "main"), "16 hex digits"),
        (GOOD.replace('"protocol": 2', '"protocol": 1'), "expected protocol 2, got '1'"),
        (GOOD + "\n" + GOOD, "more than one line"),
        ('{"a": "' + "x" * (1 << 20) + '"}', "a line of more than"),
    ],
    ids=lambda text: text[:24],
)
def test_wrong_answers(tmp_path: Path, answer: str, reason: str) -> None:
    def ask_twice(program: Session) -> None:
        program.machine()
        time.sleep(0.2)
        program.machine()

    code = answering(answer) + "read command"
    program = session_of(tmp_path / "program", code)
    with program, pytest.raises(AnswerError, match=reason) as caught:
        ask_twice(program)
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("exit 3", "here: nmpack-measure ended with status 3"),
        ("echo 'no memory' >&2; exit 1", "here: nmpack-measure ended with status 1: no memory"),
        ("kill -SEGV $$", "here: nmpack-measure crashed with SIGSEGV"),
        ("exec >&-; sleep 60", "here: nmpack-measure crashed with SIGKILL"),
    ],
)
def test_dead_programs(tmp_path: Path, code: str, sentence: str) -> None:
    with session_of(tmp_path / "program", code) as program, pytest.raises(LostError) as caught:
        program.machine()
    assert str(caught.value) == sentence


def test_a_program_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_START_SECONDS", 0.3)
    start = time.monotonic()
    with (
        session_of(tmp_path / "program", "sleep 60 & sleep 60") as program,
        pytest.raises(LostError, match=r"did not answer 'machine' within 0\.3 s"),
    ):
        program.machine()
    assert time.monotonic() - start < 3


def test_what_a_program_says_besides_is_bounded(tmp_path: Path) -> None:
    code = "yes | head -c 50000000 >&2; echo 'the end' >&2; exit 1"
    with (
        session_of(tmp_path / "program", code) as program,
        pytest.raises(LostError, match="ended with status 1: y; y; the end"),
    ):
        program.machine()


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(MissingError, match="nothing cannot be started: No such file"):
        Session(Command(["/nowhere/nothing"], "here", explain_end("here")))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"candidates": []}, "no candidate"),
        ({"candidates": [{"name": "a", "layout": "nchw", "predicted": 1}]}, "a layout is to be"),
        ({"candidates": [{"name": "a b", "layout": "nhwc", "predicted": 1}]}, "candidate's name"),
        ({"candidates": [{"name": "a", "layout": "nhwc", "predicted": 0}]}, "a prediction"),
        ({"candidates": 2 * [{"name": "a", "layout": "nhwc", "predicted": 1}]}, "one name"),
        ({"densities": [0.5, 0.5]}, "three densities"),
        ({"densities": [0.5, 0.5, 1.5]}, "three densities"),
        ({"macs": 1, "kept_macs": 2}, "'kept_macs' is to be a whole number from 0 to 1"),
    ],
)
def test_wrong_definitions(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        read_definition(DEFINITION.to_dict() | changed)


@pytest.mark.parametrize("times", [[1.0], [1.0, 0.0], [1.0, -2.0], [1.0, "2"], [1.0, 10**400], 3])
def test_wrong_times(times: Any) -> None:
    with pytest.raises(FormatError):
        read_times({"candidate": "dense", "ns": times}, "dense", 2)


@given(JSON, st.sampled_from(sorted(MACHINE.to_dict())))
def test_no_value_of_a_key_escapes(value: Any, key: str) -> None:
    with suppress(FormatError):
        read_machine(parse_object(json.dumps(MACHINE.to_dict() | {key: value})))


def test_commands_are_lines_of_words() -> None:
    command = layer_command("a", LAYER, Setting(threads=2))
    assert command.startswith("layer a batch=1 input_height=56 ")
    assert command.endswith(" density=0.25 tile=32 block=1 dtype=f32 seed=1 threads=2")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch", 0), ("padding_top", -1), ("density", 0.0), ("density", 2.0),
        ("kernel_height", 99), ("dtype", "f64"), ("dtype", "f32 seed=2"), ("dtype", 32),
    ],
)  # fmt: skip
def test_impossible_layers(field: str, value: object) -> None:
    with pytest.raises(NmpackError, match=r"a layer's|larger than the padded image"):
        Layer(**(LAYER.to_dict() | {field: value}))


def test_sizes_of_outputs() -> None:
    first = Layer(1, 224, 224, 1, 3, 64, 7, 7, 2, 2, 1, 1, 2, 3, 3, 2)
    assert (first.output_height, first.output_width, first.macs) == (112, 112, 118013952)
    assert first.label == "7x7 /2, 3 to 64, 224x224"
