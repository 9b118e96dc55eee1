# SPDX-License-Identifier: BSD-3-Clause
"""Directories of ``nmpack mcu`` where they are used: names, places, and several in one program."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest
from small_networks import residual, two_ends

from nmpack.cli import main

_TWO = """
#include <cstdio>
#include <cstring>

#include "ends.h"
#include "net.h"

constexpr int bytes = NET_ARENA_BYTES > ENDS_ARENA_BYTES ? NET_ARENA_BYTES : ENDS_ARENA_BYTES;
alignas(8) static int8_t arena[bytes];

int main() {
  static const int8_t image[NET_INPUT_BYTES] = {1, 2, 3};
  static const int8_t pair[ENDS_INPUT_BYTES] = {4, 5, 6};
  int8_t first[NET_OUTPUT_BYTES], again[NET_OUTPUT_BYTES], ends[ENDS_OUTPUT_BYTES];
  int failed = net_run(image, first, arena);
  failed |= ends_run(pair, ends, arena);
  failed |= net_run(image, again, arena);
  std::printf("%d %d\\n", failed, std::memcmp(first, again, sizeof(first)));
}
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.tflite"
    path.write_bytes(residual())
    return path


def test_two_networks_are_linked_into_one_program_of_cpp(model: Path, tmp_path: Path) -> None:
    ends = tmp_path / "ends.tflite"
    ends.write_bytes(two_ends())
    for path in (model, ends):
        folder = tmp_path / path.stem
        assert main(["mcu", str(path), "-o", str(folder)]) == 0
        library = f"build/host/lib{path.stem}.a"
        subprocess.run(["make", "-s", "-C", folder, library], check=True, timeout=300)
    (tmp_path / "two.cc").write_text(_TWO)
    subprocess.run(
        ["clang++-19", "-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Inet", "-Iends",
         "two.cc", "net/build/host/libnet.a", "ends/build/host/libends.a", "-o", "two"],
        cwd=tmp_path, check=True, timeout=300,
    )  # fmt: skip
    done = subprocess.run([tmp_path / "two"], capture_output=True, text=True, check=True, timeout=9)
    assert done.stdout == "0 0\n"


@pytest.mark.parametrize("name", ["test", "build", "string", "features", "Makefile"])
def test_a_file_may_be_named_as_something_that_is_there_already(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.tflite"
    path.write_bytes(residual())
    folder = tmp_path / "made"
    assert main(["mcu", str(path), "-o", str(folder)]) == 0
    for target in ("all", "test"):
        done = subprocess.run(
            ["make", "-s", "-C", folder, target],
            capture_output=True, text=True, check=True, timeout=300,
        )  # fmt: skip
        assert done.stderr == ""
    assert done.stdout.startswith(f"PASS {name}_net")


def test_the_command_to_run_next_is_quoted(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a b; 'c' [red]"
    assert main(["mcu", str(model), "-o", str(folder)]) == 0
    command = "".join(capsys.readouterr().out.splitlines()).split("next, ")[1]
    assert shlex.split(command) == ["make", "-C", str(folder), "test"]


@pytest.mark.parametrize("folder", [".", ".."])
def test_the_current_directory_is_not_replaced(
    model: Path, tmp_path: Path, folder: str,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    here = tmp_path / "made" / "here"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    assert main(["mcu", str(model), "-o", folder, "--force"]) == 1
    assert "is the current directory or above it" in capsys.readouterr().err
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("files", [5, None, "net.c", {"net.c": 1}])
def test_a_note_that_is_not_ours_makes_no_directory_ours(
    model: Path, tmp_path: Path, files: object, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    note = json.dumps({"made_by": "nmpack mcu", "files": files})
    (folder / "nmpack.json").write_text(note)
    assert main(["mcu", str(model), "-o", str(folder)]) == 1
    assert "is a directory that nmpack mcu did not make" in capsys.readouterr().err
    assert (folder / "nmpack.json").read_text() == note


@pytest.mark.parametrize("seed", ["-5", "1.5", "²"])
def test_a_seed_is_a_whole_number(
    model: Path, seed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["mcu", str(model), f"--seed={seed}"])
    assert "expected a whole number of at least 0" in capsys.readouterr().err
