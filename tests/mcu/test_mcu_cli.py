# SPDX-License-Identifier: BSD-3-Clause
"""``nmpack mcu``: the directory that it writes builds, passes its self-test, and harms no other."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from small_networks import residual, two_ends

from nmpack.cli import main
from nmpack.tflite.builder import packed, unpacked

WARNINGS = "-O1 -Werror"
SANITIZERS = "-O1 -Werror -fsanitize=address,undefined -fno-sanitize-recover=all"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "small net.tflite"
    path.write_bytes(residual())
    return path


def make(folder: Path, *words: str, status: int = 0) -> str:
    done = subprocess.run(
        ["make", "-s", "-C", str(folder), *words],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def failing(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Run a command that fails; returns its one line."""
    assert main(["mcu", *map(str, arguments)]) == 1
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert said.out == ""
    return said.err


@pytest.mark.parametrize("compiler", ["gcc", "clang-19"])
def test_the_directory_builds_and_passes_its_self_test(
    model: Path, tmp_path: Path, compiler: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "net"
    assert main(["mcu", str(model), "-o", str(folder), "--golden", "3"]) == 0
    assert "wrote" in capsys.readouterr().out
    said = make(folder, "test", f"CC={compiler}", f"CFLAGS={SANITIZERS}")
    assert said.strip() == "PASS small_net: bit for bit TFLite's reference kernels"


def test_where_there_is_no_cc_clang_builds(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, tools = tmp_path / "net", tmp_path / "bin"
    assert main(["mcu", str(model), "-o", str(folder)]) == 0
    tools.mkdir()
    for tool in ("ar", "clang-19", "ld", "make", "mkdir", "rm", "sh"):
        where = shutil.which(tool)
        assert where is not None
        (tools / tool).symlink_to(where)
    monkeypatch.setenv("PATH", str(tools))
    assert make(folder, "test").startswith("PASS small_net")


def test_the_program_maps_raw_inputs_to_raw_outputs(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    assert main(["mcu", str(model), "-o", str(folder), "--name", "tiny"]) == 0
    make(folder, f"CFLAGS={SANITIZERS}")
    interpreter = Interpreter(str(model), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    source, result = (
        interpreter.get_input_details()[0], interpreter.get_output_details()[0],
    )  # fmt: skip
    inputs = np.random.default_rng(4).integers(-128, 128, (5, 12, 12, 8)).astype(np.int8)
    expected = []
    for image in inputs:
        interpreter.set_tensor(source["index"], image[None])
        interpreter.invoke()
        expected.append(interpreter.get_tensor(result["index"]))
    run = [str(folder / "tiny")]
    done = subprocess.run(run, input=inputs.tobytes(), capture_output=True, check=True, timeout=60)
    assert done.stdout == np.concatenate(expected).tobytes()
    short = subprocess.run(
        run, input=inputs.tobytes()[:-1], capture_output=True, check=False, timeout=60
    )
    assert short.returncode == 1
    assert b"tiny: expected inputs of 1152 bytes, the last has 1151" in short.stderr


def test_a_wrong_golden_vector_fails(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    assert main(["mcu", str(model), "-o", str(folder)]) == 0
    text = (folder / "golden.c").read_text()
    head, tail = text.split("_golden_outputs", 1)
    brace = tail.index("{") + 1
    first = tail[brace:].split(",", 1)[0].strip()
    changed = str(int(first) - 1 if int(first) > 0 else int(first) + 1)
    tail = tail[:brace] + tail[brace:].replace(first, changed, 1)
    (folder / "golden.c").write_text(head + "_golden_outputs" + tail)
    assert "FAIL small_net: an output differs" in make(folder, "test", status=2)


@pytest.mark.parametrize("target", ["rv32imc", "xcv", "xcv-nm", "zve32x"])
def test_it_builds_for_every_target_without_warnings(
    model: Path, tmp_path: Path, target: str
) -> None:
    folder = tmp_path / "net"
    assert main(["mcu", str(model), "-o", str(folder), "--target", target]) == 0
    assert make(folder, f"TARGET={target}", f"CFLAGS={WARNINGS}") == ""
    assert (folder / "build" / target / "libsmall_net.a").is_file()
    listed = subprocess.run(
        ["nm", "-u", str(folder / "build" / target / "libsmall_net.a")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    missing = {line.split()[-1] for line in listed.splitlines() if " U " in line}
    library = {name for name in missing if not name.startswith(("nm_", "small_net"))}
    assert library <= {"memmove", "memset", "memcpy"}


def test_an_unknown_target_of_the_makefile_is_named(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    assert main(["mcu", str(model), "-o", str(folder)]) == 0
    said = make(folder, "TARGET=arm", status=2)
    assert "TARGET is one of host, rv32imc, xcv, xcv-nm, zve32x, got arm" in said


CALLER = """
#include "small_net.h"
#include <stdio.h>
#include <string.h>
static int8_t input[SMALL_NET_INPUT_BYTES], output[SMALL_NET_OUTPUT_BYTES];
static int64_t arena[SMALL_NET_ARENA_BYTES / 8 + 2];
static void hook(void *context, int layer, const void *written, size_t bytes) {
  int *calls = context;
  if (layer != *calls || written == NULL || bytes == 0) {
    *calls = -100;
  }
  ++*calls;
  printf("%s\\n", small_net_layer_names[layer]);
}
int main(void) {
  int calls = 0;
  if (small_net_run(NULL, output, arena) == 0 || small_net_run(input, NULL, arena) == 0 ||
      small_net_run(input, output, NULL) == 0 || small_net_run(input, output, (int8_t *) arena + 2) == 0) {
    return 1;
  }
  if (small_net_run_with_hook(input, output, arena, hook, &calls) != 0 || calls != SMALL_NET_LAYERS) {
    return 2;
  }
  if (SMALL_NET_INPUT_0_ZERO_POINT != -5 || SMALL_NET_INPUT_0_SCALE != 0.02f || SMALL_NET_OUTPUTS != 1) {
    return 3;
  }
  memset(arena, 0, sizeof(arena));
  return small_net_run(input, output, arena);
}
"""  # noqa: E501


def test_the_interface_is_that_of_the_header(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    assert main(["mcu", str(model), "-o", str(folder)]) == 0
    make(folder, f"CFLAGS={SANITIZERS}")
    (tmp_path / "caller.c").write_text(CALLER)
    command = [
        "gcc", "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", *SANITIZERS.split(),
        f"-I{folder}", str(tmp_path / "caller.c"), str(folder / "build/host/libsmall_net.a"),
        "-o", str(tmp_path / "caller"),
    ]  # fmt: skip
    subprocess.run(command, check=True, timeout=120)
    done = subprocess.run(
        [str(tmp_path / "caller")], check=False, timeout=60, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    names = done.stdout.splitlines()
    assert len(names) == 6
    assert names[0].startswith("CONV_2D ")


def test_json_has_the_numbers_of_the_header(model: Path, tmp_path: Path) -> None:
    folder, report = tmp_path / "net", tmp_path / "net.json"
    assert main(["mcu", str(model), "-o", str(folder), "--json", str(report)]) == 0
    numbers = json.loads(report.read_text())
    header = (folder / "small_net.h").read_text()
    for field in ("arena_bytes", "input_bytes", "output_bytes", "weight_bytes"):
        assert f"#define SMALL_NET_{field.upper()} {numbers[field]}\n" in header
    layers = numbers["layers"]
    assert [item["operator"] for item in layers] == [0, 1, 2, 3, 5, 6]
    assert sum(item["weight_bytes"] for item in layers) == numbers["weight_bytes"]
    assert sum(item["macs"] for item in layers) == numbers["macs"] < numbers["dense_macs"]
    assert numbers["arena_bytes"] >= numbers["arena_lower_bound"]
    own = json.loads((folder / "nmpack.json").read_text())
    assert {key: own[key] for key in numbers} == numbers
    listed = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert set(own["files"]) == listed


def test_the_table_alone_writes_nothing(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.iterdir())
    assert main(["mcu", str(model)]) == 0
    said = capsys.readouterr().out
    assert sorted(tmp_path.iterdir()) == before
    for word in ("1:8 in tiles of 4", "arena:", "flash:", "multiply-adds:", "SOFTMAX"):
        assert word in said


def test_the_same_model_becomes_the_same_files(model: Path, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        assert main(["mcu", str(model), "-o", str(folder)]) == 0
    files = [
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")
         if path.is_file()}
        for folder in folders
    ]  # fmt: skip
    assert files[0] == files[1]


def test_a_stranger_s_directory_stays_as_it_is(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "README.txt").write_text("mine")
    said = failing(capsys, model, "-o", folder)
    assert "is a directory that nmpack mcu did not make" in said
    assert [path.name for path in folder.iterdir()] == ["README.txt"]
    (folder / "deep").mkdir()
    (folder / "deep" / "file").write_text("kept")
    assert main(["mcu", str(model), "-o", str(folder), "--force"]) == 0
    assert (folder / "deep" / "file").read_text() == "kept"
    assert (folder / "README.txt").read_text() != "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small net.tflite", "theirs"]


def test_writing_again_replaces_what_was_written_and_keeps_the_rest(
    model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "net"
    assert main(["mcu", str(model), "-o", str(folder), "--name", "old"]) == 0
    make(folder)
    (folder / "firmware.c").write_text("mine")
    (folder / "kernels" / "notes.txt").write_text("mine")
    assert main(["mcu", str(model), "-o", str(folder), "--name", "new"]) == 0
    assert (folder / "firmware.c").read_text() == "mine"
    assert (folder / "kernels" / "notes.txt").read_text() == "mine"
    assert not list(folder.glob("old*"))
    assert not (folder / "build").exists()
    assert "PASS new" in make(folder, "test")


def test_an_empty_directory_and_a_link_to_one_are_written_to(model: Path, tmp_path: Path) -> None:
    empty, link = tmp_path / "empty", tmp_path / "link"
    empty.mkdir()
    link.symlink_to(empty)
    assert main(["mcu", str(model), "-o", str(link)]) == 0
    assert link.is_symlink()
    assert (empty / "small_net.h").is_file()


def test_a_file_in_the_way_is_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    said = failing(capsys, model, "-o", tmp_path / "file", "--force")
    assert "expected a directory to write to, got a file" in said
    assert (tmp_path / "file").read_text() == "mine"


def test_nothing_is_written_for_what_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(residual()[:-200])
    failing(capsys, path, "-o", tmp_path / "net")
    assert [item.name for item in tmp_path.iterdir()] == ["broken.tflite"]


def test_kernels_that_are_missing_are_named(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("NMPACK_MCU_KERNELS", str(tmp_path))
    assert "has no nm_mcu.h: set NMPACK_MCU_KERNELS" in failing(
        capsys, model, "-o", tmp_path / "net"
    )
    assert [item.name for item in tmp_path.iterdir()] == ["small net.tflite"]


def test_several_inputs_and_outputs_have_offsets(tmp_path: Path) -> None:
    path = tmp_path / "ends.tflite"
    path.write_bytes(two_ends())
    folder = tmp_path / "net"
    assert main(["mcu", str(path), "-o", str(folder)]) == 0
    header = (folder / "ends.h").read_text()
    assert "#define ENDS_INPUT_1_OFFSET 15\n" in header
    assert "#define ENDS_OUTPUT_2_OFFSET 30\n" in header
    assert "PASS ends" in make(folder, "test", f"CFLAGS={SANITIZERS}")


def test_names_of_a_file_end_no_comment(tmp_path: Path) -> None:
    """Tensor and file names reach C, JSON and the terminal as harmless text."""
    path = tmp_path / 'a"b\\n*.tflite'
    path.write_bytes(residual())
    _, model = unpacked(path)
    for index, tensor in enumerate(model.subgraphs[0].tensors):
        tensor.name = f'{index}*/ \\ \n#error "?" %s \x1b[31m é ??/'
    path.write_bytes(packed(model))
    folder = tmp_path / "net"
    assert main(["mcu", str(path), "-o", str(folder), "--name", "odd"]) == 0
    assert "PASS odd" in make(folder, "test", f"CFLAGS={WARNINGS}")


def test_a_cross_gcc_builds_it(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    assert main(["mcu", str(model), "-o", str(folder)]) == 0
    make(folder, "TARGET=rv32imc", "CC=riscv64-unknown-elf-gcc", f"CFLAGS={WARNINGS}")
    assert (folder / "build/rv32imc/libsmall_net.a").is_file()
